"""Confidence intervals of a mean over replications.

The replication is the unit. What happens within one run is not independent (a queue that is long
stays long for a while), so an interval over a run's own tasks is too narrow; one over whole runs,
each with a seed of its own, holds as often as it says (Law, 'Simulation Modeling and Analysis',
5th ed., sections 9.4 and 9.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

__all__ = ["LEVEL", "Interval", "intervals", "normal_quantile", "student", "t_quantile"]

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, and between which values something lies.

    Args:
        mean: the figure itself.
        low: the lower end, NaN where it cannot be estimated.
        high: the upper end; both the mean itself where nothing was random.
        level: how sure, such as 0.95.
        kind: of what: ``mean``, where the true mean lies; ``rate``, where a probability lies;
            ``quantile``, where a quantile lies; ``next run``, where the next real run lies;
            ``paired``, where the difference between two settings lies; ``none``, one run only,
            so nothing is known of how much another differs; ``not estimable``, too few tasks.
    """

    mean: float
    low: float
    high: float
    level: float = LEVEL
    kind: str = "mean"


def intervals(
    replications: Sequence[Mapping[str, float]], level: float = LEVEL
) -> dict[str, Interval]:
    """Each measure's mean over replications, with its confidence interval.

    Args:
        replications: the measures of each.
        level: how sure.

    Returns:
        An interval a measure.

    Raises:
        ModuleNotFoundError: there is more than one replication, and scipy is not there.
    """
    return {name: student([r[name] for r in replications], level) for name in replications[0]}


def student(values: Sequence[float], level: float = LEVEL) -> Interval:
    """A mean, with Student's t interval: ``mean +- t(R-1) * s / sqrt(R)``.

    Args:
        values: one of each replication; at least one.
        level: how sure.

    Returns:
        The interval; it has no width where all values are the same or there is only one.

    Raises:
        ValueError: there is no value.
        ModuleNotFoundError: scipy is needed and not there.

    Example:
        >>> found = student([9.0, 10.0, 11.0])
        >>> found.mean, round(found.high - found.mean, 3)
        (10.0, 2.484)
    """
    if not values:
        raise ValueError("an interval needs at least one replication")
    count = len(values)
    mean = math.fsum(values) / count
    spread = max(values) - min(values)
    if count == 1 or not spread > 0:
        mean = values[0] if not spread > 0 else mean
        return Interval(mean, mean, mean, level)
    half = t_quantile((1 + level) / 2, count - 1) * deviation(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, level)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample, with n - 1 below.

    Args:
        values: at least two.
    """
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def t_quantile(share: float, freedom: float) -> float:
    """A quantile of Student's t.

    Args:
        share: below it, 0 to 1.
        freedom: degrees of freedom.
    """
    from scipy.special import stdtrit  # noqa: PLC0415  # 0.1 s that only this needs

    return float(stdtrit(freedom, share))


def normal_quantile(share: float) -> float:
    """A quantile of the standard normal distribution.

    Args:
        share: below it, 0 to 1.
    """
    return NormalDist().inv_cdf(share)
