"""What a sample has not shown: a value above its largest, a failure where none was.

A resample holds nothing that the sample does not. But the next of n + 1 like values is the largest
with the probability 1 / (n + 1), whatever their distribution (Hill, JASA 63, 1968), so one task in
n + 1 takes longer than all that were recorded. By how much no sample tells; the least that can be
said is that tails which fall off exponentially have excesses that do, so the mean excess over the
k-th largest is taken, as Bratley, Fox and Schrage ('A Guide to Simulation', 2nd ed., section 5.2.4)
do to put a tail on an empirical distribution. A heavier tail than that stays unknown.

Where n attempts have shown no failure, the rule of three bounds its probability by 3 / n (Hanley
and Lippman-Hand, JAMA 249(13), 1983). Half a failure is added to what was seen, which is Jeffreys'
prior: the probability of one that was not seen is Beta(1/2, n + 1/2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Tail", "tail_of", "unseen_rate"]


@dataclass(frozen=True)
class Tail:
    """What lies beyond the largest of a sample.

    Args:
        chance: the probability of a value beyond it, 1 / (n + 1).
        largest: the largest.
        mean_excess: how far beyond it, on average.
    """

    chance: float
    largest: float
    mean_excess: float

    def beyond(self, u: float) -> float:
        """A value beyond the largest.

        Args:
            u: over 0 to 1, drawn evenly.
        """
        return self.largest - self.mean_excess * math.log(u)


def tail_of(ordered: Sequence[float]) -> Tail:
    """Put a tail on a sample.

    Args:
        ordered: at least one value, none negative, the least first.

    Returns:
        Its tail: the excess is the mean one of the ``sqrt(n)`` largest over the next smaller one,
        which is 0 where there is none.

    Example:
        >>> tail_of([1.0, 2.0, 4.0, 7.0])
        Tail(chance=0.2, largest=7.0, mean_excess=3.5)
    """
    count = len(ordered)
    top = math.ceil(math.sqrt(count))
    foot = ordered[count - top - 1] if top < count else 0.0
    excess = math.fsum(value - foot for value in ordered[count - top :]) / top
    return Tail(1 / (count + 1), ordered[-1], excess)


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
