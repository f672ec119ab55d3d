"""Where the next value lies, as against where the mean does.

Who compares a prediction with a run that was really made compares with *one* value, not with a mean
over many. The interval of a mean gets as narrow as one likes with more replications; that of the
next value does not, since the next value is as random as any one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulation.statistics.intervals import LEVEL, Interval, deviation, normal_quantile, t_quantile
from simulation.statistics.paired import Difference, paired

__all__ = ["expansion", "least_replications", "next_difference", "next_value"]


def least_replications(level: float = LEVEL) -> int:
    """How many values an interval from their order takes: 39 for 95%.

    Args:
        level: how sure.
    """
    return math.ceil(2 / (1 - level) - 1 - 1e-9)


def next_value(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Between which values the next of the same kind lies.

    With R exchangeable values the next falls into each of the R + 1 gaps with the same probability,
    so between the j-th smallest and the j-th largest with ``1 - 2j / (R + 1)``, whatever their
    distribution (Wilks, Annals of Mathematical Statistics 12(1), 1941); the largest j that reaches
    the level is taken. Fewer than 39 have no such j for 95%: then ``mean +- t(R-1) * s *
    sqrt(1 + 1/R)``, which takes the values for normal (Hahn and Meeker, 'Statistical Intervals',
    section 4.7).

    Args:
        values: one of each replication.
        level: how sure.

    Returns:
        The mean, and the interval of the next value; kind ``none`` for a single value.

    Example:
        >>> found = next_value([float(n) for n in range(1, 80)])
        >>> found.low, found.high
        (2.0, 78.0)
    """
    count = len(values)
    mean = math.fsum(values) / count
    low, high = min(values), max(values)
    if low == high:
        mean = low
    if count == 1:
        return Interval(mean, math.nan, math.nan, level, "none")
    if not low < high:
        return Interval(mean, mean, mean, level, "next run")
    if count < least_replications(level):
        half = t_quantile((1 + level) / 2, count - 1) * deviation(values)
        half *= math.sqrt(1 + 1 / count)
        return Interval(mean, mean - half, mean + half, level, "next run")
    ordered = sorted(values)
    j = math.floor((1 - level) / 2 * (count + 1) + 1e-9)
    return Interval(mean, ordered[j - 1], ordered[-j], level, "next run")


def expansion(sample: int, level: float = LEVEL) -> float:
    """By how much an interval from resampling is to be widened, since the sample was small.

    A resample of n values varies by sqrt((n - 1) / n) too little, and its quantiles are the normal
    ones where Student's would be right, so intervals from few values are too narrow (Hesterberg,
    The American Statistician 69(4), 2015, section 3.5; his mend is the same, put into the levels
    of the quantiles).

    Args:
        sample: how many values were resampled.
        level: of the interval.

    Returns:
        A factor for the distances of the ends from the figure: ``sqrt(n / (n - 1)) * t(n-1) / z``.
        It is that of 2 values for fewer.

    Example:
        >>> round(expansion(300), 3), round(expansion(20), 3)
        (1.006, 1.096)
    """
    n = max(2, sample)
    share = (1 + level) / 2
    return math.sqrt(n / (n - 1)) * t_quantile(share, n - 1) / normal_quantile(share)


def next_difference(
    baseline: Sequence[float], variant: Sequence[float], level: float = LEVEL
) -> Difference:
    """Between which values the next pair's difference lies.

    Args:
        baseline: one value of each replication.
        variant: of the same replications, in the same order.
        level: how sure.

    Returns:
        The mean difference, the next one's interval, and the pairs' correlation. The p-value is
        that of the next pair, not of the mean: with as many replications as one likes any
        difference becomes significant, and a reader wants to know whether a run would show it.

    Raises:
        ValueError: the two are not of one length, or empty.
    """
    of_means = paired(baseline, variant, level)
    differences = [b - a for a, b in zip(baseline, variant, strict=True)]
    following = next_value(differences, level)
    p_value = of_means.p_value
    count = len(differences)
    if min(differences) < max(differences):
        from scipy.special import stdtr  # noqa: PLC0415  # 0.1 s that only this needs

        error = deviation(differences) * math.sqrt(1 + 1 / count)
        p_value = 2 * float(stdtr(count - 1, -abs(of_means.mean) / error))
    return Difference(
        following.mean,
        following.low,
        following.high,
        level,
        "paired" if count > 1 else "none",
        correlation=of_means.correlation,
        p_value=p_value,
    )
