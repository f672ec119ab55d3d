"""Every name that dashboards and alerts rely on: metrics, labels, buckets. Nowhere else."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "BUCKETS",
    "LAG_BUCKETS",
    "LOSSES",
    "METRICS",
    "MOST_GROUPS",
    "OTHER_GROUP",
    "OUTCOMES",
    "PREFIX",
    "Metric",
]

PREFIX: Final = "workerpool_"
OUTCOMES: Final = ("ok", "error", "timeout", "cancelled")

#: Why a span was lost: the processor's queue was full, the provider had been shut down, a processor
#: raised, or (where a ``WatchedExporter`` sees it) the exporter failed.
LOSSES: Final = ("queue_full", "shut_down", "processor_error", "export_failed")

#: Groups that get a label value of their own; the rest share ``OTHER_GROUP``.
MOST_GROUPS: Final = 100
OTHER_GROUP: Final = "other"

#: Upper bounds of the duration histograms, in seconds.
BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
#: Upper bounds of the timer lag, in seconds.
LAG_BUCKETS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metric(NamedTuple):
    """One metric.

    Args:
        kind: ``counter``, ``gauge`` or ``histogram``.
        labels: its labels.
        help: what it says.
    """

    kind: str
    labels: tuple[str, ...]
    help: str


_GROUP: Final = ("pool", "group")
_POOL: Final = ("pool",)

#: The metrics by name, without the prefix and without a counter's ``_total``.
METRICS: Final[dict[str, Metric]] = {
    "tasks_submitted": Metric("counter", _GROUP, "Tasks accepted."),
    "tasks_rejected": Metric("counter", (*_POOL, "reason"), "Tasks refused at admission."),
    "tasks_finished": Metric("counter", (*_GROUP, "outcome"), "Tasks by their final outcome."),
    "attempts_finished": Metric("counter", (*_GROUP, "outcome"), "Attempts by their outcome."),
    "retries_scheduled": Metric("counter", (*_GROUP, "reason"), "Retries decided, by what failed."),
    "late_results": Metric("counter", _GROUP, "Results of abandoned attempts, dropped."),
    "task_duration_seconds": Metric("histogram", (*_GROUP, "outcome"), "Submission to end."),
    "attempt_duration_seconds": Metric(
        "histogram", (*_GROUP, "outcome"), "Start to end, or to its abandonment."
    ),
    "queue_wait_seconds": Metric(
        "histogram", _GROUP, "Ready to start of an attempt, without backoff."
    ),
    "queue_depth": Metric(
        "gauge", (*_POOL, "state"), "Tasks waiting now, for a worker or a retry."
    ),
    "queue_oldest_age_seconds": Metric(
        "gauge", _POOL, "How long the task has waited for a worker that has waited longest."
    ),
    "workers": Metric("gauge", (*_POOL, "state"), "Workers now, by what they do."),
    "workers_limit": Metric("gauge", _POOL, "The most workers that may be busy."),
    "worker_busy_seconds": Metric(
        "counter", _POOL, "Time that attempts have run, the running ones up to now."
    ),
    "timer_lag_seconds": Metric(
        "histogram", _POOL, "From when a timeout or a retry was due to when it happened."
    ),
    "journal_errors": Metric("counter", _POOL, "Failures to write the journal."),
    "observer_errors": Metric("counter", _POOL, "Observers that raised and were detached."),
    "spans_lost": Metric("counter", (*_POOL, "reason"), "Spans of the pool's that were lost."),
    "build_info": Metric("gauge", (*_POOL, "version", "python", "clock"), "Always 1."),
}
