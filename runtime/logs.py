"""Log lines: one for each transition that matters, with task, attempt and pool as fields.

The logger is ``twinclock``. Each record carries ``pool``, ``task_id``, ``task_name``, ``group``,
``attempt``, ``worker_id``, ``reason`` and ``at`` (epoch seconds of the transition itself, which may
lie a little before the record's own time), so that a structured formatter can print them.

======== ==========================================================
DEBUG    submitted, started
INFO     succeeded, will be retried, cancelled
WARNING  failed, timed out, attempt abandoned, late result dropped
======== ==========================================================

The core keeps only transitions that somebody will see: with the logger at WARNING, a success costs
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from runtime.core.records import AttemptFailed, Transition
from runtime.core.states import Cause, TaskState
from runtime.engine import Job
from runtime.errors import TaskCancelledError
from runtime.failures import told
from runtime.observers import Detail
from runtime.view import PoolView

__all__ = ["LogObserver", "few", "log_unfetched"]

_NAMED: Final = 5

_log = logging.getLogger("twinclock")

_VERB: Final = {
    TaskState.SUCCEEDED: (logging.INFO, "succeeded"),
    TaskState.FAILED: (logging.WARNING, "failed"),
    TaskState.TIMED_OUT: (logging.WARNING, "timed out"),
    TaskState.CANCELLED: (logging.INFO, "was cancelled"),
}


class LogObserver:
    """Writes log lines."""

    _view: PoolView

    def attach(self, view: PoolView) -> None:
        """Get to know the pool."""
        self._view = view

    def detail(self) -> Detail:
        """Which transitions it needs at present."""
        if _log.isEnabledFor(logging.INFO):
            return "all"
        return "notable" if _log.isEnabledFor(logging.WARNING) else "none"

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Write a line for each transition that the logger lets through."""
        for transition in batch:
            level, what = _describe(transition)
            if _log.isEnabledFor(level):
                self._write(level, what, transition)

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Write a line with the traceback; a function that heeded its token is no news."""
        log_late_exception(self._view.name, task_id, attempt, error)

    def close(self) -> None:
        """Nothing to do."""

    def _write(self, level: int, what: str, transition: Transition) -> None:
        spec = self._view.task(transition.task)
        task_id = self._view.task_id(transition.task)
        slot = transition.slot
        _log.log(
            level,
            "task %r (%s) %s",
            spec.name,
            task_id,
            what,
            extra={
                "pool": self._view.name,
                "task_id": task_id,
                "task_name": spec.name,
                "group": spec.group,
                "attempt": transition.attempt,
                "worker_id": None if slot < 0 else f"worker-{slot + 1}",
                "reason": transition.reason,
                "at": self._view.epoch_seconds(transition.at_ns),
            },
        )


def _describe(transition: Transition) -> tuple[int, str]:
    attempt, cause = transition.attempt, transition.cause
    if cause is None:
        return logging.DEBUG, "was submitted"
    if cause == Cause.STARTED:
        return logging.DEBUG, f"started attempt {attempt}"
    if cause == Cause.BACKOFF_ELAPSED:
        return logging.DEBUG, f"is ready for attempt {attempt + 1}"
    if cause == Cause.LATE_COMPLETION:
        return logging.WARNING, f"late result of abandoned attempt {attempt} dropped"
    detail = transition.detail
    error = f" with {detail.error}" if isinstance(detail, AttemptFailed) else ""
    if transition.after == TaskState.DELAYED:
        until = transition.until_ns or 0
        wait = (until - transition.at_ns) / 1e9
        if transition.abandoned:
            return (
                logging.WARNING,
                f"abandoned attempt {attempt}, which took too long; next in {wait:g} s",
            )
        return logging.INFO, f"failed attempt {attempt}{error}; next in {wait:g} s"
    level, verb = _VERB[transition.after]
    reason = f" ({transition.reason})" if transition.reason else ""
    what = f"{verb} at attempt {attempt}{error}{reason}" if attempt else f"{verb}{reason}"
    if transition.abandoned:
        return logging.WARNING, f"{what}; the attempt was abandoned"
    return level, what


def log_late_exception(pool: str, task_id: str, attempt: int, error: BaseException) -> None:
    """Write a line with the traceback; a function that heeded its token is no news.

    Args:
        pool: the pool's name.
        task_id: whose attempt it was.
        attempt: its number.
        error: what it raised.
    """
    level = logging.DEBUG if isinstance(error, TaskCancelledError) else logging.WARNING
    _log.log(
        level,
        "attempt %d of %s had been abandoned and raised %s",
        attempt,
        task_id,
        told(error),
        exc_info=error,
        extra={"pool": pool, "task_id": task_id, "attempt": attempt},
    )


def log_unfetched(pool: str, jobs: Iterable[Job]) -> None:
    """Let no failure go unnoticed: say which nobody has fetched.

    Args:
        pool: its name.
        jobs: its tasks.
    """
    unfetched = [
        job
        for job in jobs
        if job.end is not None
        and job.end.outcome in ("error", "timeout")
        and not job.more().fetched
    ]
    for job in unfetched:
        job.more().fetched = True
    if unfetched:
        errors = [str(job.value) for job in unfetched if isinstance(job.value, Exception)]
        _log.error(
            "pool %r: the failures of %d tasks were never fetched: %s",
            pool,
            len(unfetched),
            few(errors),
            exc_info=unfetched[-1].value,
        )


def few(texts: Sequence[str]) -> str:
    """The first of some texts, and how many more there are."""
    more = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
