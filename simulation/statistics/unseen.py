"""What a sample has not shown: a value above its largest, one between two, a first failure.

A resample holds nothing that the sample does not. But the next of n + 1 like values falls into each
of the n + 1 gaps of the ordered sample with the same probability, whatever their distribution
(Hill, JASA 63, 1968). So one in n + 1 takes longer than all that were recorded, and where the
sample is thin, among its largest, a value is rather between two of them than one of them again.

By how much the largest is exceeded no sample tells. The least that can be said is that tails which
fall off exponentially have excesses that do, so the mean excess of the ``k = sqrt(n)`` largest over
the next smaller one is taken, as Bratley, Fox and Schrage ('A Guide to Simulation', 2nd ed.,
section 5.2.4) do to put a tail on an empirical distribution. Heavier tails have mean excesses that
grow with what is exceeded, in a straight line for generalised Pareto ones (Embrechts, Klüppelberg
and Mikosch, 'Modelling Extremal Events', section 6.2.2); so where that of the largest is greater
than that of the upper half, the line through both is followed up to the largest, with a slope of
1/2 at most. The mean excess is an estimate from k excesses, whose sum has a gamma distribution, and
is drawn again accordingly. What a still heavier tail does stays unknown.

Where n attempts have shown no failure, the rule of three bounds its probability by 3 / n (Hanley
and Lippman-Hand, JAMA 249(13), 1983). Half a failure is added to what was seen, which is Jeffreys'
prior: the probability of one that was not seen is Beta(1/2, n + 1/2).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Tail", "tail_of", "unseen_rate"]

_FEWEST: Final = 5
_STEEPEST: Final = 0.5


@dataclass(frozen=True)
class Tail:
    """What lies among the largest of a sample, and beyond them.

    Args:
        chance: the probability of a value beyond the largest, 1 / (n + 1).
        top: the k largest and the one before them (0 where there is none), the least first.
        mean_excess: how far beyond the largest a value is, on average.
    """

    chance: float
    top: tuple[float, ...]
    mean_excess: float

    def drawn_excess(self, u: float) -> float:
        """A mean excess that the k largest may as well have come from.

        Args:
            u: over 0 to below 1, drawn evenly.

        Returns:
            The mean excess times k over a gamma variate of shape k; k is taken to be 5 at least,
            since one or two values would leave room for anything.

        Raises:
            ModuleNotFoundError: scipy is not there.
        """
        from scipy.special import gammaincinv  # noqa: PLC0415  # 0.1 s that only this needs

        count = max(_FEWEST, len(self.top) - 1)
        return self.mean_excess * count / float(gammaincinv(count, u))

    def beyond(self, u: float, mean_excess: float) -> float:
        """A value beyond the largest.

        Args:
            u: over 0 to 1, drawn evenly.
            mean_excess: how far beyond, on average.
        """
        return self.top[-1] - mean_excess * math.log(u)

    def between(self, value: float, u: float) -> float:
        """A value of the sample, moved into the gap below it where it is one of the largest.

        Args:
            value: of the sample.
            u: 0 to 1, drawn evenly.
        """
        at = bisect_left(self.top, value)
        if not 0 < at < len(self.top):
            return value
        below = self.top[at - 1]
        return below + (value - below) * u


def tail_of(ordered: Sequence[float]) -> Tail:
    """Put a tail on a sample.

    Args:
        ordered: at least one value, none negative, the least first.

    Returns:
        Its tail.

    Example:
        >>> tail_of([1.0, 2.0, 4.0, 7.0])
        Tail(chance=0.2, top=(2.0, 4.0, 7.0), mean_excess=3.5)
    """
    count = len(ordered)
    largest = math.ceil(math.sqrt(count))
    foot = ordered[count - largest - 1] if largest < count else 0.0
    top = ordered[count - largest :]
    excess = _mean_excess(ordered, largest)
    if largest < count // 2:
        gained = excess - _mean_excess(ordered, count // 2)
        run = foot - ordered[count - count // 2 - 1]
        slope = min(_STEEPEST, gained / run) if gained > 0 and run > 0 else 0.0
        excess += slope * (ordered[-1] - foot)
    return Tail(1 / (count + 1), (foot, *top), excess)


def _mean_excess(ordered: Sequence[float], count: int) -> float:
    """How far the largest so many are beyond the next smaller one, on average."""
    foot = ordered[len(ordered) - count - 1] if count < len(ordered) else 0.0
    return math.fsum(value - foot for value in ordered[len(ordered) - count :]) / count


def unseen_rate(n: int, u: float) -> float:
    """A probability of what n trials have not shown.

    Args:
        n: trials.
        u: from 0 to below 1, drawn evenly.

    Returns:
        The u quantile of Beta(1/2, n + 1/2).

    Raises:
        ModuleNotFoundError: scipy is not there.
    """
    from scipy.special import betaincinv  # noqa: PLC0415  # 0.1 s that only this needs

    return float(betaincinv(0.5, n + 0.5, u))
