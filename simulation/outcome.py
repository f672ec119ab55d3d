"""What a run came to, in the numbers that a what-if compares."""

from __future__ import annotations

import math
from typing import Final

from simulation.simulate import Run
from simulation.statistics.quantiles import quantile

__all__ = ["MEASURES", "measure", "task_seconds"]

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


def measure(run: Run) -> dict[str, float]:
    """Measure a run.

    The makespan goes from the first submission to the last end. A task's seconds go from its
    submission to its end, and count for every task that ended other than by cancel. A quantile is
    the smallest value that at least that share of tasks does not exceed. Utilization is the time
    that attempts ran, abandoned ones until they were, over the makespan of all slots, as many as
    there were at each instant.

    Args:
        run: a simulated run, or a recording in the same form.

    Returns:
        The measures by name, NaN where there was nothing to measure.
    """
    completed = failed = cancelled = attempts = started = busy_ns = 0
    first = None
    for end in run.ends:
        if first is None or end.submitted_at_ns < first:
            first = end.submitted_at_ns
        if end.outcome == "ok":
            completed += 1
        elif end.outcome == "cancelled":
            cancelled += 1
        else:
            failed += 1
        attempts += end.attempts
        started += end.attempts > 0
        busy_ns += end.running_ns
    seconds = task_seconds(run)
    ended = len(run.ends)
    last = run.ended_at_ns[-1] if first is not None else 0
    span_ns = last - first if first is not None else 0
    slots_ns = run.slot_ns(first or 0, last)
    return {
        "makespan_seconds": span_ns / 1e9 if ended else math.nan,
        "success_rate": completed / ended if ended else math.nan,
        "attempts": attempts,
        "retries": attempts - started,
        "timeouts": run.timeouts,
        "completed": completed,
        "failed": failed,
        "cancelled": cancelled,
        "task_seconds_p50": quantile(seconds, 0.50),
        "task_seconds_p95": quantile(seconds, 0.95),
        "task_seconds_p99": quantile(seconds, 0.99),
        "utilization": busy_ns / slots_ns if span_ns else math.nan,
    }


def task_seconds(run: Run) -> list[float]:
    """How long the tasks took that ended other than by cancel, from submission to end.

    Args:
        run: a run.

    Returns:
        Seconds, the least first.
    """
    return sorted(
        (at_ns - end.submitted_at_ns) / 1e9
        for at_ns, end in zip(run.ended_at_ns, run.ends, strict=True)
        if end.outcome != "cancelled"
    )
