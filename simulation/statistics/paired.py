"""The difference between two settings that were run with the same luck.

Under common random numbers the replications of both settings go in pairs, and the interval is that
of the pairs' differences. Its variance is ``Var(a) + Var(b) - 2 Cov(a, b)``: the more the two go
together, the narrower; the achieved correlation says how much was gained (Law, 'Simulation
Modeling and Analysis', 5th ed., sections 10.2.1 and 11.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.statistics.intervals import LEVEL, Interval, deviation, student

__all__ = ["Difference", "correlation", "paired"]


@dataclass(frozen=True)
class Difference(Interval):
    """Variant minus baseline.

    Args:
        correlation: between the pairs, -1 to 1; NaN where one side did not vary.
        p_value: how likely a difference as large as this is where there is none, two-sided.
    """

    correlation: float = math.nan
    p_value: float = math.nan


def paired(baseline: Sequence[float], variant: Sequence[float], level: float = LEVEL) -> Difference:
    """The mean difference between pairs, with the t interval and test of pairs.

    Args:
        baseline: one value of each replication.
        variant: of the same replications, in the same order.
        level: how sure.

    Returns:
        The difference. Where all pairs differ by the same there is nothing to estimate: no width,
        and a p-value of 1 for no difference and 0 for one.

    Raises:
        ValueError: the two are not of one length, or empty.

    Example:
        >>> found = paired([10.0, 20.0, 30.0], [11.0, 21.5, 31.0])
        >>> round(found.mean, 2), round(found.correlation, 2), found.p_value < 0.05
        (1.17, 1.0, True)
    """
    if len(baseline) != len(variant):
        raise ValueError(f"{len(baseline)} and {len(variant)} replications are no pairs")
    differences = [b - a for a, b in zip(baseline, variant, strict=True)]
    interval = student(differences, level)
    together = correlation(baseline, variant)
    if len(differences) == 1:
        p_value = math.nan
    elif interval.high > interval.low:
        from scipy.special import stdtr  # noqa: PLC0415  # 0.1 s that only this needs

        error = deviation(differences) / math.sqrt(len(differences))
        p_value = 2 * float(stdtr(len(differences) - 1, -abs(interval.mean) / error))
    elif math.isnan(interval.mean):
        p_value = math.nan
    else:
        p_value = 1.0 if interval.mean == 0 else 0.0
    return Difference(
        interval.mean,
        interval.low,
        interval.high,
        level,
        "paired",
        correlation=together,
        p_value=p_value,
    )


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation.

    Args:
        first: values.
        second: as many.

    Returns:
        -1 to 1; NaN where one of them does not vary, or there are fewer than two.
    """
    if len(first) < 2 or not (max(first) > min(first) and max(second) > min(second)):
        return math.nan
    middle_1, middle_2 = math.fsum(first) / len(first), math.fsum(second) / len(second)
    both = math.fsum((a - middle_1) * (b - middle_2) for a, b in zip(first, second, strict=True))
    one = math.fsum((a - middle_1) ** 2 for a in first)
    other = math.fsum((b - middle_2) ** 2 for b in second)
    below = math.sqrt(one) * math.sqrt(other)
    return max(-1.0, min(1.0, both / below)) if below > 0 else math.nan
