"""Durations of which some are known only to exceed a bound: the product-limit estimator.

An attempt that was stopped at its timeout took longer than that, and nobody knows how long; to take
the timeout for its duration, or to leave it out, makes the work look faster than it is. Kaplan and
Meier (J. Amer. Statist. Assoc. 53, 1958) give the distribution all the same: at each duration that
was seen, the share of those still running that ended then. Efron (Proc. 5th Berkeley Symposium,
1967) showed that it is the same as to hand each censored attempt's weight to all that took longer,
in equal parts ('redistribution to the right'); so each observation keeps its own weight here.

What an attempt came to stays with its duration, since a failure may be quick and a success slow:
the weights of those with one outcome add up to the cumulative incidence of Aalen and Johansen
(Scand. J. Statist. 5, 1978), the right estimate where outcomes compete; 1 minus Kaplan-Meier of one
outcome with the others taken for censored would overstate it.

Where the longest bound lies above the longest duration, the weight behind it goes nowhere: the
sample cannot say what is there. ``draw`` answers ``None`` then, and the caller decides.

The estimate is consistent where what stops an attempt has nothing to do with how long it would
have gone on, which a timeout fulfils: it is set beforehand.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Generic, TypeVar

__all__ = ["Lifetimes", "kaplan_meier"]

Mark = TypeVar("Mark")


@dataclass(frozen=True, slots=True)
class Lifetimes(Generic[Mark]):
    """A distribution of durations and what they came to, estimated from a censored sample.

    Args:
        values: the durations seen, ascending, in the sample's own unit.
        marks: what each came to.
        cumulative: the weight of each and all before it; the last is 1 where nothing is beyond.
        size: observations, the censored ones too.
        bound: the longest of the sample, seen or censored: nothing is known above it.
        floor: what is beyond is longer than this: the shortest bound that no duration seen passes,
            or the longest duration.
    """

    values: tuple[int, ...]
    marks: tuple[Mark, ...]
    cumulative: tuple[float, ...]
    size: int
    bound: int
    floor: int

    @property
    def beyond(self) -> float:
        """The share of which the sample says only that it is longer than all that was seen."""
        return 1.0 - self.cumulative[-1] if self.cumulative else 1.0

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each duration seen; with ``beyond`` they add up to 1."""
        return tuple(
            weight - before
            for before, weight in zip((0.0, *self.cumulative), self.cumulative, strict=False)
        )

    def share_longer_than(self, value: int) -> float:
        """The share that takes longer: the survival function.

        Args:
            value: a duration.

        Returns:
            1 to 0; above ``bound`` it stays at ``beyond``, which is an upper bound there.
        """
        return 1.0 - self._up_to(value)

    def draw(self, u: float, longer_than: int = -1) -> tuple[int, Mark] | None:
        """The duration at a place of the distribution, and what it came to.

        Args:
            u: the place, in [0, 1). A larger ``u`` never gives a shorter duration.
            longer_than: take only what is longer than this.

        Returns:
            One of those seen; ``None`` where the place lies beyond what was seen.
        """
        before = self._up_to(longer_than)
        index = bisect_right(self.cumulative, before + u * (1.0 - before))
        first = bisect_right(self.values, longer_than)
        index = max(index, first)  # where rounding would say otherwise
        return (self.values[index], self.marks[index]) if index < len(self.values) else None

    def draw_seen(self, u: float, longer_than: int = -1) -> tuple[int, Mark] | None:
        """The same, of what is not beyond.

        Args:
            u: the place, in [0, 1).
            longer_than: take only what is longer than this.

        Returns:
            One of those seen; ``None`` where none of them is longer.
        """
        first = bisect_right(self.values, longer_than)
        if first == len(self.values):
            return None
        before = self._up_to(longer_than)
        index = bisect_right(self.cumulative, before + u * (self.cumulative[-1] - before))
        index = min(max(index, first), len(self.values) - 1)
        return self.values[index], self.marks[index]

    def with_share(self, belongs: Callable[[Mark], bool], share: float) -> Lifetimes[Mark]:
        """The same with more or less of some outcomes, each as long as it was.

        Args:
            belongs: whether a mark is one of them.
            share: theirs, of what is not beyond.

        Returns:
            Another estimate; this one where none or all belong.
        """
        known = 1.0 - self.beyond
        has = sum(w for w, mark in zip(self.weights, self.marks, strict=True) if belongs(mark))
        if not 0.0 < has < known:
            return self
        more, less = share * known / has, (1.0 - share) * known / (known - has)
        weights = (
            weight * (more if belongs(mark) else less)
            for weight, mark in zip(self.weights, self.marks, strict=True)
        )
        cumulative = [min(1.0, total) for total in accumulate(weights)]
        cumulative[-1] = self.cumulative[-1]
        return replace(self, cumulative=tuple(cumulative))

    def _up_to(self, value: int) -> float:
        index = bisect_right(self.values, value)
        return self.cumulative[index - 1] if index else 0.0


def kaplan_meier(seen: Iterable[tuple[int, Mark]], censored: Iterable[int] = ()) -> Lifetimes[Mark]:
    """Estimate how durations and what they came to are distributed.

    Args:
        seen: durations, each with what it came to; in any order and any one unit.
        censored: bounds: durations of which only is known that they are longer. One that equals a
            duration seen counts as longer than it.

    Returns:
        The estimate; without observations all of it is beyond.

    Example:
        >>> lifetimes = kaplan_meier([(2, "ok"), (5, "ok"), (9, "error")], censored=[4])
        >>> [round(weight, 3) for weight in lifetimes.weights]  # 4's quarter goes to 5 and 9
        [0.25, 0.375, 0.375]
        >>> lifetimes.draw(0.5), lifetimes.draw(0.0, longer_than=5)
        ((5, 'ok'), (9, 'error'))
    """
    ordered = sorted(seen, key=lambda one: one[0])
    bounds = sorted(censored)
    size = len(ordered) + len(bounds)
    cumulative = []
    survival = 1.0
    passed = 0  # of the bounds
    running = size
    index = 0
    while index < len(ordered):
        value = ordered[index][0]
        while passed < len(bounds) and bounds[passed] < value:
            passed += 1
            running -= 1
        ended = index
        while ended < len(ordered) and ordered[ended][0] == value:
            ended += 1
        each = survival / running
        for nth in range(1, ended - index + 1):
            cumulative.append(1.0 - survival + nth * each)
        running -= ended - index
        survival = survival * running / (running + ended - index)
        index = ended
    if cumulative and not running:
        cumulative[-1] = 1.0  # exactly
    longest = ordered[-1][0] if ordered else 0
    behind = bounds[bisect_left(bounds, longest) :]
    return Lifetimes(
        tuple(value for value, _ in ordered),
        tuple(mark for _, mark in ordered),
        tuple(cumulative),
        size,
        bound=max(longest, behind[-1] if behind else 0),
        floor=behind[0] if behind else longest,
    )
