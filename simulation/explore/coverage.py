"""What a search has seen, and whether more of it is worth while.

Counted are pairs of a task's state and a stimulus that met it, and pairs of adjacent decisions (the
causes of two transitions in a row). With n schedules of which f1 features were seen in one only and
f2 in two:

* the chance that the next schedule shows something new is about f1 / n (I. J. Good, 'The population
  frequencies of species and the estimation of population parameters', Biometrika 40, 1953; for
  test generators: M. Boehme, 'STADS', ACM TOSEM 27(2), 2018);
* so a new feature comes about once in n / f1 schedules;
* there are at least about S + (n - 1) / n * f1 (f1 - 1) / (2 (f2 + 1)) features, of which S were
  seen: what this generator of schedules can show at all (A. Chao, 'Estimating the Population Size
  for Capture-Recapture Data with Unequal Catchability', Biometrics 43, 1987, bias-corrected).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

import msgspec

from runtime.core.records import SimultaneousPart
from runtime.core.states import TaskState

__all__ = ["Coverage", "Seen", "Summary"]

#: A feature: a pair of names.
Seen = tuple[str, str]


_STIMULI: Final = frozenset(kind.__name__ for kind in get_args(SimultaneousPart))


class Coverage:
    """Features seen, in how many schedules each.

    Example:
        >>> coverage = Coverage()
        >>> for seen in ([("READY", "a")], [("READY", "a"), ("READY", "b")]):
        ...     coverage.add(seen)
        >>> coverage.features, coverage.unseen_mass
        (2, 0.5)
    """

    def __init__(self) -> None:
        self.schedules = 0
        self.counts: dict[Seen, int] = {}
        self.curve: list[tuple[int, int]] = []

    def add(self, seen: Iterable[Seen]) -> None:
        """Count one schedule's features, each once.

        Args:
            seen: the features; each once.
        """
        self.schedules += 1
        counts, before = self.counts, len(self.counts)
        for feature in seen:
            counts[feature] = counts.get(feature, 0) + 1
        if len(counts) > before:
            self.curve.append((self.schedules, len(counts)))

    @property
    def features(self) -> int:
        """How many were seen."""
        return len(self.counts)

    @property
    def unseen_mass(self) -> float:
        """About how likely the next schedule is to show something new."""
        once = sum(1 for count in self.counts.values() if count == 1)
        return min(1.0, once / self.schedules) if self.schedules else 1.0

    @property
    def reachable(self) -> int:
        """About how many such a search would see at least, if it went on for ever."""
        once = sum(1 for count in self.counts.values() if count == 1)
        twice = sum(1 for count in self.counts.values() if count == 2)
        share = (self.schedules - 1) / self.schedules if self.schedules else 0.0
        return self.features + round(share * once * (once - 1) / (2 * (twice + 1)))

    def summary(self) -> Summary:
        """What a report tells."""
        return Summary(
            self.schedules,
            self.features,
            round(self.unseen_mass, 6),
            list(self.curve),
            self.reachable,
            self.met(),
        )

    def met(self) -> dict[str, list[str]]:
        """Which stimuli each state met, both in the order of the alphabet; '' is 'not there'."""
        pairs = sorted(self.counts)
        states = {state.name for state in TaskState} | {""}
        met: dict[str, list[str]] = {}
        for state, stimulus in pairs:
            if state in states and stimulus in _STIMULI:
                met.setdefault(state, []).append(stimulus)
        return met


class Summary(msgspec.Struct, frozen=True):
    """A search's coverage.

    Args:
        schedules: how many were run.
        features: pairs seen.
        unseen_mass: about how likely the next schedule is to show something new.
        curve: where something new was seen: schedule, and features since then.
        reachable: about how many such a search would see at least, if it went on for ever.
        met: which stimuli the tasks of each state met.
    """

    schedules: int
    features: int
    unseen_mass: float
    curve: list[tuple[int, int]]
    reachable: int
    met: dict[str, list[str]]

    def at(self, schedules: int) -> int:
        """How many features were seen after so many schedules."""
        return next((seen for at, seen in reversed(self.curve) if at <= schedules), 0)
