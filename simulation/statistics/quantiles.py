"""Quantiles: where one lies, and when a sample is too small to say.

A bound on a quantile without any assumption comes from the order of the sample: the largest of n
values is above the p quantile unless all n are below it, which has the probability p**n (David and
Nagaraja, 'Order Statistics', 3rd ed., section 7.1). So an upper bound of level L takes
``1 - p**n >= L``: 59 values for a p95, 299 for a p99, at 95%. With fewer, no value of the sample is
a bound, and anything printed as one is made up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from simulation.statistics.intervals import LEVEL, Interval

__all__ = ["estimable", "least_sample", "pooled_quantile", "quantile"]

_MOST_PLACES: Final = 5_000


def least_sample(p: float, level: float = LEVEL) -> int:
    """How many values an upper bound on a quantile needs.

    Args:
        p: which quantile, 0 to 1.
        level: how sure.

    Returns:
        The least n with ``1 - p**n >= level``.

    Raises:
        ValueError: p or level is not between 0 and 1.

    Example:
        >>> least_sample(0.99), least_sample(0.95), least_sample(0.5)
        (299, 59, 5)
    """
    if not 0 < p < 1 or not 0 < level < 1:
        raise ValueError(f"p={p}, level={level}: must be over 0 and below 1")
    n = max(1, math.floor(math.log(1 - level) / math.log(p)))
    while 1 - p**n < level:
        n += 1
    return n


def estimable(p: float, n: int, level: float = LEVEL) -> bool:
    """Whether n values give an upper bound on their p quantile.

    Args:
        p: which quantile, 0 to 1.
        n: values.
        level: how sure.

    Example:
        >>> estimable(0.99, 298), estimable(0.99, 299)
        (False, True)
    """
    return n >= least_sample(p, level)


def quantile(ordered: Sequence[float], p: float) -> float:
    """The least value that at least a share p of the values does not exceed.

    Args:
        ordered: the values, the least first.
        p: which quantile, 0 to 1.

    Returns:
        One of the values; NaN where there is none.
    """
    if not ordered:
        return math.nan
    return ordered[_place(p, len(ordered))]


def pooled_quantile(
    replications: Sequence[Sequence[float]],
    p: float,
    *,
    level: float = LEVEL,
    seed: int = 0,
    resamples: int = 999,
) -> Interval:
    """A quantile over all values of all replications, with a cluster bootstrap's interval.

    A mean of the runs' own quantiles is biased, the more the fewer values a run has; the quantile
    of the pool is not. Its values are not independent within a run, so whole runs are drawn again,
    not values (Davison and Hinkley, 'Bootstrap Methods and their Application', section 3.8;
    Field and Welsh, JRSS B 69(3), 2007).

    Args:
        replications: the values of each run.
        p: which quantile, 0 to 1.
        level: how sure.
        seed: keys what is drawn.
        resamples: how many times the runs are drawn again.

    Returns:
        The quantile and the percentile interval; ``not estimable`` where there are fewer values
        than a bound takes, ``none`` for one run.
    """
    import numpy as np  # noqa: PLC0415  # start-up time

    runs = [np.sort(np.asarray(run, dtype=float)) for run in replications]
    values = np.sort(np.concatenate(runs))
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, level, "not estimable")
    found = float(values[_place(p, len(values))])
    if not estimable(p, len(values), level):
        return Interval(found, math.nan, math.nan, level, "not estimable")
    if len(runs) < 2:
        return Interval(found, math.nan, math.nan, level, "none")
    # whatever is drawn, the quantile is one of these; thinned where there are very many
    places = np.unique(np.linspace(0, len(values) - 1, _MOST_PLACES).astype(int))
    candidates = values[np.union1d(places, _place(p, len(values)))]
    up_to = np.array([np.searchsorted(run, candidates, side="right") for run in runs])
    sizes = np.array([len(run) for run in runs])
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = np.empty(resamples)
    for index in range(resamples):
        chosen = (generator.random(len(runs)) * len(runs)).astype(int)
        times = np.bincount(chosen, minlength=len(runs))
        wanted = max(1, math.ceil(p * (times @ sizes)))
        drawn[index] = candidates[min(np.searchsorted(times @ up_to, wanted), len(candidates) - 1)]
    drawn.sort()
    tail = (1 - level) / 2
    low = drawn[max(1, math.floor(tail * (resamples + 1))) - 1]
    high = drawn[min(resamples, math.ceil((1 - tail) * (resamples + 1))) - 1]
    return Interval(found, float(low), float(high), level, "quantile")


def _place(p: float, count: int) -> int:
    """Where in the order the p quantile of so many values is."""
    return max(0, math.ceil(p * count) - 1)
