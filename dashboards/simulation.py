"""Variants of a run over one another: the recorded one, and what would have been."""

from __future__ import annotations

from typing import Final

from dashboards.panels import Panel, Query, Row
from dashboards.promql import attempts_a_task, failure_ratio, gauge, quantile, rate, ratio

__all__ = ["SIMULATION"]

_RUN: Final = "{{instance}}"

SIMULATION: Final = (
    Row(
        "Which setting is better?",
        [
            Panel(
                "Throughput",
                "Tasks that end a second, by run. Where one line stops earlier, that run was over.",
                "ops",
                [Query(rate("tasks_finished", "instance"), _RUN)],
            ),
            Panel(
                "Task time, p95",
                "95% of tasks took less than this from submission to end, by run.",
                "s",
                [Query(quantile(0.95, "task_duration_seconds", "instance"), _RUN)],
            ),
            Panel(
                "Failure ratio",
                "Share of tasks that failed or timed out at last, by run.",
                "percentunit",
                [Query(failure_ratio("instance"), _RUN)],
                most=1,
            ),
        ],
    ),
    Row(
        "At what price?",
        [
            Panel(
                "Attempts a task",
                "The load on what is called: more retries save tasks and add attempts.",
                "short",
                [Query(attempts_a_task("instance"), _RUN)],
            ),
            Panel(
                "Timeouts",
                "Attempts that were abandoned a second because their time was up, by run.",
                "ops",
                [Query(rate("attempts_finished", "instance", 'outcome="timeout"'), _RUN)],
            ),
            Panel(
                "Retries",
                "Retries that are decided a second, by run.",
                "ops",
                [Query(rate("retries_scheduled", "instance"), _RUN)],
            ),
        ],
    ),
    Row(
        "Where is the time spent?",
        [
            Panel(
                "Ready",
                "Tasks that wait for a worker, by run.",
                "short",
                [Query(gauge("queue_depth", "instance", 'state="ready"'), _RUN)],
            ),
            Panel(
                "In backoff",
                "Tasks that wait for their next retry, by run.",
                "short",
                [Query(gauge("queue_depth", "instance", 'state="delayed"'), _RUN)],
            ),
            Panel(
                "Wait for a worker, p95",
                "From ready to start, without backoffs, by run.",
                "s",
                [Query(quantile(0.95, "queue_wait_seconds", "instance"), _RUN)],
            ),
            Panel(
                "Attempt time, p95",
                "How long attempts run. A what-if takes these from the recording, so it should lie "
                "where the recorded run lies.",
                "s",
                [Query(quantile(0.95, "attempt_duration_seconds", "instance"), _RUN)],
            ),
            Panel(
                "Busy workers",
                "Workers that run an attempt, by run.",
                "short",
                [Query(gauge("workers", "instance", 'state="busy"'), _RUN)],
            ),
            Panel(
                "Utilization",
                "Share of the workers' time in which attempts ran, by run.",
                "percentunit",
                [
                    Query(
                        ratio(
                            rate("worker_busy_seconds", "instance"),
                            gauge("workers_limit", "instance"),
                        ),
                        _RUN,
                    )
                ],
                most=1,
            ),
        ],
    ),
)
