"""Confidence intervals over replications."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Interval", "intervals"]

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over replications, and where the true one lies.

    Args:
        mean: the mean.
        low: the lower end.
        high: the upper end; both the mean itself where nothing was random.
        level: how sure, such as 0.95.
    """

    mean: float
    low: float
    high: float
    level: float = LEVEL


def intervals(replications: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Each measure's mean over replications, with its confidence interval.

    The replication is the unit: the interval is Student's t with R - 1 degrees of freedom over
    the R replications' values (Law, 'Simulation Modeling and Analysis', 5th ed., section 4.5).

    Args:
        replications: the measures of each.

    Returns:
        An interval a measure.

    Raises:
        ModuleNotFoundError: there is more than one replication, and scipy is not there.
    """
    return {name: _interval([r[name] for r in replications]) for name in replications[0]}


def _interval(values: Sequence[float]) -> Interval:
    count = len(values)
    mean = math.fsum(values) / count
    spread = max(values) - min(values)
    if count == 1 or not spread > 0:
        mean = values[0] if not spread > 0 else mean
        return Interval(mean, mean, mean)
    from scipy.special import stdtrit  # noqa: PLC0415  # 0.1 s that only this needs

    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half)
