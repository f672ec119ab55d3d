"""The largest of a sample, and what lies beyond them.

A resample holds nothing that the sample does not. But the next of n + 1 like values falls into each
of the n + 1 gaps of the ordered sample with the same probability, whatever their distribution
(Hill, JASA 63, 1968). So one in n + 1 is longer than all that were seen; and where the sample is
thin, among its largest, a value is rather between two of them than one of them again.

That probability is one *on average*. How much really lies beyond the largest is the same unknown
share for all that are drawn in one replication, so it is drawn for each: the gaps' shares are
Dirichlet distributed, all parameters 1 (Banks, Biometrika 75, 1988). With values of which only is
known that they are longer than they were watched, the share that survives each value seen is
multiplied by a Beta(r, 1) variate, r the number that were still watched (the beta-Stacy bootstrap:
Arfè and Muliere, J. Statistical Planning and Inference 222, 2023; without such values it is the
Dirichlet one).

**How far beyond** no sample tells, but what exceeds a high bound is close to a generalised Pareto
distribution, of whatever distribution the sample is (Pickands, Annals of Statistics 3(1), 1975;
Balkema and de Haan, Annals of Probability 2, 1974): its shape is below 0 where there is a longest
value (-1: uniform), 0 where the tail falls off exponentially, above 0 where it is heavier. The
excesses of the ``2 sqrt(n)`` largest seen tell shape and scale in part. What they leave open is
drawn from the posterior, on a grid: flat in the logarithm of the scale, and normal in the shape
around 0.1 with a deviation of 0.15, since so few excesses alone would allow any shape (about as
wide as the 'geophysical prior' of Martins and Stedinger, Water Resources Research 36(3), 2000, and
as much to the right). So a tail much heavier than that is met in part only. Measured beside an
exponential tail and wider priors: ``docs/decisions/0032``.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from simulation.statistics.survival import Lifetimes, kaplan_meier

__all__ = ["Curve", "Tail", "tail_of"]

#: What shapes are like before anything was seen, and on what grid.
_SHAPE, _DEVIATION, _STEEPEST, _SHAPES = 0.1, 0.15, 0.95, 39
#: Scales of the grid, from so much below the mean excess to so much above, in logarithms.
_LOWEST, _HIGHEST, _SCALES = -5.0, 2.5, 61
#: A shape so near to 0 is 0.
_ZERO: Final = 1e-9


@dataclass(frozen=True)
class Curve:
    """A tail that was drawn: one that the sample may as well have come from.

    Args:
        tail: of the sample.
        surviving: the share that is longer than each of ``tail.top``, of what is above the foot.
        shape: of the generalised Pareto distribution of what exceeds ``tail.base``.
        scale: of the same.
    """

    tail: Tail
    surviving: tuple[float, ...]
    shape: float
    scale: float

    def beyond(self, longer_than: float = -1.0) -> float:
        """The probability of a value beyond the largest.

        Args:
            longer_than: it is known to be longer than this.
        """
        share = self._longer_than(longer_than)
        foot, lifetimes = int(self.tail.foot), self.tail.lifetimes
        if longer_than < foot:
            # m values are longer, k of them above the foot: so are m + 1 gaps and k + 1 of them
            gap = 1 / lifetimes.size
            above = lifetimes.share_longer_than(foot) + gap
            share *= (lifetimes.share_longer_than(int(longer_than)) + gap) / above
        return self.surviving[-1] / share

    def draw(self, u: float, longer_than: float = -1.0) -> float:
        """A value above the foot.

        Args:
            u: where, over 0 to 1; less gives a longer one.
            longer_than: it is known to be longer than this.
        """
        top = self.tail.top
        left = self._longer_than(longer_than)
        share = u * left
        if share < self.surviving[-1] or left <= self.surviving[-1]:
            return self.exceed(share / self.surviving[-1], longer_than)
        index = bisect_left(self.surviving, -share, lo=1, key=lambda survive: -survive)
        below, until = top[index - 1], top[index]
        part = (self.surviving[index - 1] - share) / (
            self.surviving[index - 1] - self.surviving[index]
        )
        return max(longer_than, below + part * (until - below))

    def exceed(self, u: float, longer_than: float = -1.0) -> float:
        """A value beyond the largest.

        Args:
            u: where, over 0 to 1; less gives a longer one.
            longer_than: it is known to be longer than this.
        """
        least = max(self.tail.top[-1], longer_than)
        # of a generalised Pareto distribution what exceeds more is one, too, with another scale
        scale = max(0.0, self.scale + self.shape * (least - self.tail.base))
        return least + scale * _excess(u, self.shape)

    def _longer_than(self, value: float) -> float:
        """Of what is above the foot."""
        top = self.tail.top
        index = bisect_right(top, value)
        if index in (0, len(top)):
            return self.surviving[max(0, index - 1)]
        part = (value - top[index - 1]) / (top[index] - top[index - 1])
        return self.surviving[index - 1] + part * (
            self.surviving[index] - self.surviving[index - 1]
        )


@dataclass(frozen=True)
class Tail:
    """What a sample tells of its largest values, and of those beyond.

    Args:
        top: the k = sqrt(n) largest whose end was seen, and the one before them (0 where there is
            none), the least first.
        at_risk: how many values were still watched at each of them but the first.
        lifetimes: how the whole sample is distributed.
        base: below the 2k largest.
        shapes: of the generalised Pareto distributions that what exceeds the base may have.
        scales: their scales.
        likely: the posterior probability of each and all before it.
    """

    top: tuple[float, ...]
    at_risk: tuple[int, ...]
    lifetimes: Lifetimes[None] = field(repr=False)
    base: float = field(repr=False)
    shapes: tuple[float, ...] = field(repr=False)
    scales: tuple[float, ...] = field(repr=False)
    likely: tuple[float, ...] = field(repr=False)

    @property
    def foot(self) -> float:
        """Where it begins."""
        return self.top[0]

    def drawn(self, draw: Callable[[], float]) -> Curve:
        """A tail that the sample may as well have come from.

        Args:
            draw: gives numbers from 0 to below 1, evenly.
        """
        surviving = tuple(
            accumulate(
                ((1.0 - draw()) ** (1 / count) for count in self.at_risk),
                lambda share, survive: share * survive,
                initial=1.0,
            )
        )
        at = min(bisect_right(self.likely, draw() * self.likely[-1]), len(self.likely) - 1)
        return Curve(self, surviving, self.shapes[at], self.scales[at])

    def between(self, value: float, u: float, longer_than: float = -1.0) -> float:
        """A value of the sample, moved into the gap below it where it is one of the largest.

        Args:
            value: of the sample.
            u: 0 to 1, drawn evenly.
            longer_than: it is known to be longer than this.
        """
        at = bisect_left(self.top, value)
        if not 0 < at < len(self.top):
            return value
        below = min(value, max(self.top[at - 1], longer_than))
        return below + (value - below) * u


def tail_of(seen: Sequence[int], watched: Sequence[int] = ()) -> Tail:
    """Put a tail on a sample.

    Args:
        seen: at least one value, none negative, the least first.
        watched: bounds: values of which only is known that they are longer.

    Returns:
        Its tail.

    Raises:
        ModuleNotFoundError: numpy is not there.

    Example:
        >>> tail = tail_of([1, 2, 4, 7], watched=[5])
        >>> tail.top, tail.at_risk
        ((2, 4, 7), (3, 1))
    """
    count = len(seen)
    largest = math.ceil(math.sqrt(count))
    foot = seen[count - largest - 1] if largest < count else 0
    top = seen[count - largest :]
    bounds = sorted(bound for bound in watched if bound > foot)
    at_risk = tuple(
        largest - index + len(bounds) - bisect_left(bounds, value)
        for index, value in enumerate(top)
    )
    lifetimes = kaplan_meier(((value, None) for value in seen), watched)
    fitted = min(2 * largest, count - 1 if count > 2 else count)
    base = seen[count - fitted - 1] if fitted < count else 0
    posterior = _posterior(
        [value - base for value in seen[count - fitted :] if value > base],
        [bound - base for bound in watched if bound > base],
    )
    return Tail((foot, *top), at_risk, lifetimes, base, *posterior)


def _posterior(
    excesses: Sequence[float], watched: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Shapes, scales, and how likely each pair and all before it are, given what exceeds the base.

    Args:
        excesses: over the base, of values that were seen; more than 0.
        watched: over the base, of those that are only known to be longer.
    """
    total = math.fsum(excesses) + math.fsum(watched)
    if total <= 0.0:
        return (0.0,), (0.0,), (1.0,)  # all alike: nothing exceeds anything
    import numpy as np  # noqa: PLC0415  # start-up time

    mean = total / max(0.5, len(excesses))  # Epstein and Sobel, JASA 48, 1953
    shape = np.linspace(-_STEEPEST, _STEEPEST, _SHAPES)[:, None]
    shape[np.abs(shape) < _ZERO] = _ZERO
    scale = (mean * np.exp(np.linspace(_LOWEST, _HIGHEST, _SCALES)))[None, :]
    likelihood = -0.5 * ((shape - _SHAPE) / _DEVIATION) ** 2 - len(excesses) * np.log(scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        for values, power in ((excesses, 1.0 + 1.0 / shape), (watched, 1.0 / shape)):
            for value in values:
                inside = 1.0 + shape * (value / scale)
                likelihood = likelihood - np.where(inside > 0.0, power * np.log(inside), np.inf)
    weights = np.exp(likelihood - likelihood.max())
    shapes, scales = np.broadcast_arrays(shape, scale)
    kept = weights.ravel() > _ZERO
    return (
        tuple(shapes.ravel()[kept].tolist()),
        tuple(scales.ravel()[kept].tolist()),
        tuple(np.cumsum(weights.ravel()[kept]).tolist()),
    )


def _excess(share: float, shape: float) -> float:
    """What so small a share of a generalised Pareto distribution with scale 1 exceeds."""
    if abs(shape) <= _ZERO:
        return -math.log(share)
    return math.expm1(-shape * math.log(share)) / shape
