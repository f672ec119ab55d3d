"""What a run came to, in the numbers that a what-if compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulation.simulate import Run

__all__ = ["MEASURES", "Interval", "intervals", "measure"]

#: The measures of a run, in the order in which they are shown.
MEASURES: Final = (
    "makespan_seconds",
    "success_rate",
    "attempts",
    "retries",
    "timeouts",
    "completed",
    "failed",
    "cancelled",
    "task_seconds_p50",
    "task_seconds_p95",
    "task_seconds_p99",
    "utilization",
)

LEVEL: Final = 0.95


def measure(run: Run) -> dict[str, float]:
    """Measure a run.

    The makespan goes from the first submission to the last end. A task's seconds go from its
    submission to its end, and count for every task that ended other than by cancel. A quantile is
    the smallest value that at least that share of tasks does not exceed. Utilization is the time
    that attempts ran, abandoned ones until they were, over the makespan of all workers.

    Args:
        run: a simulated run, or a recording in the same form.

    Returns:
        The measures by name, NaN where there was nothing to measure.
    """
    completed = failed = cancelled = attempts = started = busy_ns = 0
    seconds = []
    first = None
    for at_ns, end in zip(run.ended_at_ns, run.ends, strict=True):
        if first is None or end.submitted_at_ns < first:
            first = end.submitted_at_ns
        if end.outcome == "ok":
            completed += 1
        elif end.outcome == "cancelled":
            cancelled += 1
        else:
            failed += 1
        if end.outcome != "cancelled":
            seconds.append((at_ns - end.submitted_at_ns) / 1e9)
        attempts += end.attempts
        started += end.attempts > 0
        busy_ns += end.running_ns
    seconds.sort()
    ended = len(run.ends)
    span_ns = run.ended_at_ns[-1] - first if first is not None else 0
    return {
        "makespan_seconds": span_ns / 1e9 if ended else math.nan,
        "success_rate": completed / ended if ended else math.nan,
        "attempts": attempts,
        "retries": attempts - started,
        "timeouts": run.timeouts,
        "completed": completed,
        "failed": failed,
        "cancelled": cancelled,
        "task_seconds_p50": _quantile(seconds, 0.50),
        "task_seconds_p95": _quantile(seconds, 0.95),
        "task_seconds_p99": _quantile(seconds, 0.99),
        "utilization": busy_ns / (span_ns * run.max_workers) if span_ns else math.nan,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


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


def intervals(replications: Sequence[dict[str, float]]) -> dict[str, Interval]:
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
    return {name: _interval([r[name] for r in replications]) for name in MEASURES}


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
