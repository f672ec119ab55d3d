"""Recording rules and alerts.

An objective of 99% stands for a pool's error budget, until somebody writes another here: the share
of tasks that end well, of those that nobody cancelled. Burn rates and windows are those of the
Google SRE workbook, chapter 5 (multiwindow, multi-burn-rate alerts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dashboards.promql import failure_ratio, rate, ratio, selector

__all__ = ["ALERTS", "Alert", "alerts", "recording_rules"]

OBJECTIVE: Final = 0.99
_BUDGET: Final = round(1 - OBJECTIVE, 6)
_BY: Final = "job, instance, pool"
_WINDOWS: Final = ("5m", "30m", "1h", "6h")
_RUNBOOK: Final = "dashboards/RUNBOOK.md"


def _rate(name: str, window: str, where: str = "") -> str:
    return rate(name, _BY, where, window, common="")


def _failures(window: str) -> str:
    return f"pool:workerpool_task_failures:ratio_rate{window}"


_UTILIZATION: Final = "pool:workerpool_utilization:ratio_rate5m"
_ATTEMPTS: Final = "pool:workerpool_attempts_a_task:ratio_rate5m"


def recording_rules() -> dict[str, Any]:
    """What alerts and long ranges read.

    Returns:
        The rule file.
    """
    rules = [
        {"record": _failures(window), "expr": failure_ratio(_BY, window, common="")}
        for window in _WINDOWS
    ]
    limit = f"sum by ({_BY}) ({selector('workers_limit', common='')})"
    rules += [
        {"record": _UTILIZATION, "expr": ratio(_rate("worker_busy_seconds", "5m"), limit)},
        {
            "record": _ATTEMPTS,
            "expr": ratio(_rate("attempts_finished", "5m"), _rate("tasks_finished", "5m")),
        },
    ]
    return {"groups": [{"name": "twinclock-recording", "interval": "30s", "rules": rules}]}


@dataclass(frozen=True)
class Alert:
    """One alert.

    Args:
        name: its name, and its section in the runbook.
        expr: when it is true.
        lasts: for how long it has to be.
        severity: ``page`` wakes somebody, ``ticket`` waits for the morning.
        summary: what is wrong, in a line.
        value: how its value is told, a Prometheus template.
    """

    name: str
    expr: str
    lasts: str
    severity: str
    summary: str
    value: str


def _burns(times: float, long: str, short: str) -> str:
    most = round(times * _BUDGET, 6)
    return f"{_failures(long)} > {most} and {_failures(short)} > {most}"


def _sum(name: str, where: str = "") -> str:
    return f"sum by ({_BY}) ({selector(name, where=where, common='')})"


_ABANDONED: Final = _sum("workers", 'state="abandoned"')
_READY: Final = _sum("queue_depth", 'state="ready"')

ALERTS: Final = (
    Alert(
        "WorkerPoolStalled",
        f"{_READY} > 0 and {_rate('attempts_finished', '10m')} == 0",
        "10m",
        "page",
        "Tasks wait and no attempt ends",
        "{{ $value }} tasks are ready",
    ),
    Alert(
        "WorkerPoolQueueTooOld",
        f"max by ({_BY}) ({selector('queue_oldest_age_seconds', common='')}) > 300",
        "5m",
        "page",
        "A task has waited more than 5 minutes for a worker",
        "the oldest has waited {{ $value | humanizeDuration }}",
    ),
    Alert(
        "WorkerPoolSaturated",
        f"{_UTILIZATION} > 0.95 and {_READY} > 0",
        "15m",
        "ticket",
        "All workers are busy and tasks wait",
        "the workers are busy {{ $value | humanizePercentage }} of their time",
    ),
    Alert(
        "WorkerPoolErrorBudgetBurnsFast",
        _burns(14.4, "1h", "5m"),
        "2m",
        "page",
        "At this rate a month's error budget is gone in 2 days",
        "{{ $value | humanizePercentage }} of the tasks fail",
    ),
    Alert(
        "WorkerPoolErrorBudgetBurnsSlowly",
        _burns(6, "6h", "30m"),
        "15m",
        "ticket",
        "At this rate a month's error budget is gone in 5 days",
        "{{ $value | humanizePercentage }} of the tasks fail",
    ),
    Alert(
        "WorkerPoolRetryStorm",
        f"{_ATTEMPTS} > 2",
        "10m",
        "page",
        "Retries double the load on what is called",
        "{{ $value | humanize }} attempts a task",
    ),
    Alert(
        "WorkerPoolWorkersAbandoned",
        f"{_ABANDONED} > 0",
        "15m",
        "ticket",
        "Attempts that have timed out do not come back",
        "{{ $value }} threads still run them",
    ),
    Alert(
        "WorkerPoolJournalFailing",
        f"sum by ({_BY}) (increase({selector('journal_errors', common='')}[15m])) > 0",
        "0m",
        "ticket",
        "A journal could not be written and is incomplete",
        "the pool goes on without it",
    ),
    Alert(
        "WorkerPoolObserverDetached",
        f"sum by ({_BY}) (increase({selector('observer_errors', common='')}[15m])) > 0",
        "0m",
        "ticket",
        "An observer raised and is told nothing more",
        "its spans or log lines are missing from now on",
    ),
    Alert(
        "WorkerPoolSpansLost",
        f"sum by ({_BY}, reason) (increase({selector('spans_lost', common='')}[15m])) > 0",
        "5m",
        "ticket",
        "Spans are lost on their way to the trace store",
        "{{ $value | humanize }} in 15 minutes, reason {{ $labels.reason }}: traces have holes",
    ),
)


def alerts() -> dict[str, Any]:
    """The alerts.

    Returns:
        The rule file.
    """
    return {
        "groups": [
            {
                "name": "twinclock-alerts",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expr,
                        "for": alert.lasts,
                        "labels": {"severity": alert.severity},
                        "annotations": {
                            "summary": f"{alert.summary}: pool {{{{ $labels.pool }}}} of "
                            "{{ $labels.instance }}",
                            "description": alert.value,
                            "runbook_url": f"{_RUNBOOK}#{alert.name.lower()}",
                        },
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
