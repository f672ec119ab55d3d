"""How tasks came: all at once, in a few bursts, or at random at a steady rate.

A Poisson process has two marks, and each is tested: its gaps are exponential (Lilliefors' test, by
bootstrap), and its instants are spread evenly over the time (Kolmogorov-Smirnov).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["ArrivalFit", "Burst", "fit_arrivals"]

#: Share of the makespan within which tasks that come count as coming at once.
_AT_ONCE: Final = 0.01
_MOST_BURSTS: Final = 20
_RESAMPLES: Final = 99


@dataclass(frozen=True)
class Burst:
    """Tasks that come together.

    Args:
        tasks: how many.
        start_seconds: when, from the first submission of all.
    """

    tasks: int
    start_seconds: float


@dataclass(frozen=True)
class ArrivalFit:
    """How a group's tasks come.

    Args:
        kind: ``batch``, ``bursts`` or ``poisson``.
        bursts: when and how many; one for ``batch`` and ``poisson``.
        rate_per_second: of a Poisson process, ``None`` for the others.
        gaps_p_value: how often exponential gaps are as far from exponential; NaN where not tested.
        even_p_value: how often even instants are as uneven; NaN where not tested.
    """

    kind: str
    bursts: list[Burst]
    rate_per_second: float | None
    gaps_p_value: float
    even_p_value: float


def fit_arrivals(instants: Sequence[float], makespan: float, seed: int = 0) -> ArrivalFit:
    """Choose how tasks come.

    Args:
        instants: when they came, in seconds from the first submission of all, ascending.
        makespan: of the whole run, in seconds.
        seed: keys the bootstrap.

    Returns:
        The choice.
    """
    near = _AT_ONCE * makespan
    bursts = _bursts(instants, near)
    if len(bursts) <= max(1, min(_MOST_BURSTS, len(instants) // 3)):
        kind = "batch" if len(bursts) == 1 else "bursts"
        return ArrivalFit(kind, bursts, None, math.nan, math.nan)
    times = np.asarray(instants, dtype=float)
    span = float(times[-1] - times[0])
    rate = (len(times) - 1) / span
    start = max(0.0, float(times[0]) - 1 / rate)
    return ArrivalFit(
        "poisson",
        [Burst(len(times), _short(start))],
        _short(rate),
        _exponential_p_value(np.diff(times), seed),
        _even_p_value(times),
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _bursts(instants: Sequence[float], near: float) -> list[Burst]:
    """Tasks in a row, each within so many seconds of the first of its burst."""
    bursts: list[Burst] = []
    first, count = instants[0], 0
    for at in instants:
        if at - first > near:
            bursts.append(Burst(count, _short(first)))
            first, count = at, 0
        count += 1
    return [*bursts, Burst(count, _short(first))]


def _exponential_distance(values: Any) -> float:
    ordered = np.sort(values)
    below = -np.expm1(-ordered / ordered.mean())
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))


def _exponential_p_value(gaps: Any, seed: int) -> float:
    generator = np.random.Generator(np.random.PCG64(seed))
    distance = _exponential_distance(gaps)
    farther = sum(
        _exponential_distance(generator.exponential(1.0, len(gaps))) >= distance
        for _ in range(_RESAMPLES)
    )
    return (1 + farther) / (1 + _RESAMPLES)


def _even_p_value(times: Any) -> float:
    from scipy.stats import kstest  # noqa: PLC0415  # slow to import

    inner = (times[1:-1] - times[0]) / (times[-1] - times[0])
    return float(kstest(inner, "uniform").pvalue) if len(inner) else math.nan
