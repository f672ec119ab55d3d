"""What a pool does, for whoever is called at night."""

from __future__ import annotations

from typing import Final

from dashboards.panels import Panel, Query, Row
from dashboards.promql import (
    attempts_a_task,
    failure_ratio,
    gauge,
    quantile,
    rate,
    ratio,
    selector,
)

__all__ = ["OVERVIEW"]

_UTILIZATION: Final = ratio(rate("worker_busy_seconds"), gauge("workers_limit"))


def _quantiles(name: str, by: str = "", where: str = "", *, exemplars: bool = False) -> list[Query]:
    suffix = f" {{{{{by}}}}}" if by else ""
    return [
        Query(quantile(share, name, by, where), f"p{share * 100:.0f}{suffix}", exemplars)
        for share in (0.5, 0.95, 0.99)
    ]


OVERVIEW: Final = (
    Row(
        "Is it well?",
        [
            Panel(
                "Throughput",
                "Tasks that end a second, whatever their outcome.",
                "ops",
                [Query(rate("tasks_finished"), "tasks")],
                "stat",
                4,
            ),
            Panel(
                "Failure ratio",
                "Share of tasks that failed or timed out at last, of those that nobody cancelled.",
                "percentunit",
                [Query(failure_ratio(), "failed")],
                "stat",
                4,
                1,
                (0.01, 0.05),
            ),
            Panel(
                "Task time, p95",
                "95% of tasks that end now took less than this from submission to end, queue and "
                "backoffs included.",
                "s",
                [Query(quantile(0.95, "task_duration_seconds"), "p95")],
                "stat",
                4,
            ),
            Panel(
                "Waiting",
                "Tasks that wait for a worker or for their next retry.",
                "short",
                [Query(gauge("queue_depth"), "waiting")],
                "stat",
                4,
            ),
            Panel(
                "Oldest waiting",
                "How long the task that has waited longest for a worker has done so. It grows "
                "without end where workers are stuck.",
                "s",
                [Query(gauge("queue_oldest_age_seconds", function="max"), "oldest")],
                "stat",
                4,
                steps=(60, 300),
            ),
            Panel(
                "Utilization",
                "Share of the workers' time in which attempts ran. Near 100% more workers would "
                "help, unless what they call is the bottleneck.",
                "percentunit",
                [Query(_UTILIZATION, "busy")],
                "stat",
                4,
                1,
                (0.9, 0.98),
            ),
        ],
    ),
    Row(
        "What becomes of tasks?",
        [
            Panel(
                "Tasks by outcome",
                "Tasks that end a second, by their final outcome. A task that a retry has saved is "
                "ok.",
                "ops",
                [Query(rate("tasks_finished", "outcome"), "{{outcome}}")],
                "stack",
            ),
            Panel(
                "Failure ratio by group",
                "Share of a group's tasks that failed or timed out. One group alone points at what "
                "it calls; all at once, at something shared.",
                "percentunit",
                [Query(failure_ratio("group"), "{{group}}")],
                most=1,
            ),
            Panel(
                "Task time",
                "From submission to end, queue and backoffs included. The dots are traces: click "
                "one to see why that task was late.",
                "s",
                _quantiles("task_duration_seconds", exemplars=True),
            ),
        ],
    ),
    Row(
        "What do attempts meet?",
        [
            Panel(
                "Attempts by outcome",
                "Attempts that end a second. Errors and timeouts here that do not show among tasks "
                "were saved by retries.",
                "ops",
                [Query(rate("attempts_finished", "outcome"), "{{outcome}}")],
                "stack",
            ),
            Panel(
                "Retries by reason",
                "Retries that are decided a second, by what the attempt before met.",
                "ops",
                [Query(rate("retries_scheduled", "reason"), "{{reason}}")],
                "stack",
            ),
            Panel(
                "Attempts a task",
                "The load that retries add: 1 is none, 2 doubles what the service behind meets.",
                "short",
                [Query(attempts_a_task(), "attempts a task")],
            ),
            Panel(
                "Attempt time",
                "How long attempts run, as a heat map. Two bands are two kinds of call, or a "
                "timeout that cuts one off.",
                "s",
                [
                    Query(
                        f"sum by (le) (rate({selector('attempt_duration_seconds', '_bucket')}"
                        "[$__rate_interval]))",
                        "{{le}}",
                    )
                ],
                "heatmap",
                16,
            ),
            Panel(
                "Late results",
                "Results of abandoned attempts that came home a second, and were dropped: work "
                "that a longer timeout would have kept.",
                "ops",
                [Query(rate("late_results", "group"), "{{group}}")],
            ),
        ],
    ),
    Row(
        "Where do they wait, and who works?",
        [
            Panel(
                "Queue",
                "Tasks that wait: ready for a worker, or delayed by a backoff.",
                "short",
                [Query(gauge("queue_depth", "state"), "{{state}}")],
                "stack",
            ),
            Panel(
                "Wait for a worker",
                "From ready to start, without backoffs. Where this grows and the attempts' time "
                "does not, workers are missing.",
                "s",
                _quantiles("queue_wait_seconds", exemplars=True),
            ),
            Panel(
                "Oldest waiting",
                "The age of the task that has waited longest for a worker, by pool.",
                "s",
                [Query(gauge("queue_oldest_age_seconds", "pool", function="max"), "{{pool}}")],
            ),
            Panel(
                "Workers",
                "Workers by what they do, and the limit. Abandoned ones still run an attempt that "
                "has timed out: nobody can end a thread.",
                "short",
                [
                    Query(gauge("workers", "state"), "{{state}}"),
                    Query(gauge("workers_limit"), "limit"),
                ],
            ),
            Panel(
                "Utilization",
                "Share of the workers' time in which attempts ran, by pool.",
                "percentunit",
                [
                    Query(
                        ratio(rate("worker_busy_seconds", "pool"), gauge("workers_limit", "pool")),
                        "{{pool}}",
                    )
                ],
                most=1,
            ),
            Panel(
                "Timer lag, p99",
                "From when a timeout or a retry was due to when it happened. Above some "
                "milliseconds the process does not get to run: too little CPU, or code that holds "
                "the interpreter's lock.",
                "s",
                [Query(quantile(0.99, "timer_lag_seconds", "pool"), "{{pool}}")],
            ),
            Panel(
                "Refused",
                "Tasks that were refused a second, by reason.",
                "ops",
                [Query(rate("tasks_rejected", "reason"), "{{reason}}")],
                width=12,
            ),
            Panel(
                "Journal and observers",
                "Failures to write the journal, observers that were detached, and spans that were "
                "lost, a second. Anything above 0 means that a run is not wholly on record.",
                "ops",
                [
                    Query(rate("journal_errors", "pool"), "journal {{pool}}"),
                    Query(rate("observer_errors", "pool"), "observers {{pool}}"),
                    Query(rate("spans_lost", "pool, reason"), "spans {{pool}} {{reason}}"),
                ],
                width=12,
            ),
        ],
    ),
)
