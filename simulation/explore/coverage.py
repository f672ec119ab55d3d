"""What a search has seen, and whether more of it is worth while.

Counted are pairs of a task's state and a stimulus that met it, and pairs of adjacent decisions (the
causes of two transitions in a row). With n schedules of which f1 features were seen in one only,
the chance that the next schedule shows something new is about f1 / n (I. J. Good, 'The population
frequencies of species and the estimation of population parameters', Biometrika 40, 1953; for
test generators: M. Boehme, 'STADS', ACM TOSEM 27(2), 2018).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["Coverage", "Seen", "Summary"]

#: A feature: a pair of names.
Seen = tuple[str, str]


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

    def summary(self) -> Summary:
        """What a report tells."""
        return Summary(self.schedules, self.features, round(self.unseen_mass, 6), list(self.curve))


class Summary(msgspec.Struct, frozen=True):
    """A search's coverage.

    Args:
        schedules: how many were run.
        features: pairs seen.
        unseen_mass: about how likely the next schedule is to show something new.
        curve: where something new was seen: schedule, and features since then.
    """

    schedules: int
    features: int
    unseen_mass: float
    curve: list[tuple[int, int]]
