"""What a pool tells of its tasks: results, metrics, totals.

All of it is worked out when somebody asks, from what the engine keeps of ended tasks and the core
of live ones; a task that nobody asks about pays nothing for it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from runtime.core.records import FinishTask
from runtime.core.states import TaskState
from runtime.core.task import Task
from runtime.engine import Engine, Job
from runtime.host import Host
from runtime.results import TaskMetrics, TaskResult, TaskStatus, lazy_result

__all__ = ["Accounts"]

_STATUS_OF_OUTCOME: Final = {
    "ok": TaskStatus.COMPLETED,
    "error": TaskStatus.FAILED,
    "timeout": TaskStatus.FAILED,
    "cancelled": TaskStatus.CANCELLED,
}


class Accounts:
    """Results, metrics and totals of one pool.

    Args:
        engine: its jobs and its core.
        host: its clock, and how to hold decisions off.
        tallies: rejections by reason, journal errors, observer errors.
    """

    def __init__(
        self, engine: Engine, host: Host, tallies: Callable[[], tuple[dict[str, int], int, int]]
    ) -> None:
        self._engine = engine
        self._host = host
        self._tallies = tallies
        self._workers: dict[int, str] = {}  # by slot

    def results(self, jobs: Iterable[Job]) -> list[TaskResult]:
        """The results of those that have ended."""
        result, complete = self.result, self._complete  # one object for all of them
        with _nothing_to_collect():
            return [
                lazy_result(job.value, None, complete, job)
                if end.outcome == "ok"
                else result(job, end)
                for job in jobs
                if (end := job.end) is not None
            ]

    def result(self, job: Job, end: FinishTask) -> TaskResult:
        """The result of a task that has ended."""
        if end.outcome == "ok":
            return lazy_result(job.value, None, self._complete, job)
        job.more().fetched = True
        return lazy_result(None, job.value, self._complete, job)

    def in_order(self) -> list[Job]:
        """Every job in the order of submission; while decisions are held."""
        jobs = self._engine.jobs
        numbers = list(jobs)
        in_order = sorted(numbers)
        if numbers == in_order:  # always, where one thread submits
            return list(jobs.values())
        return [jobs[number] for number in in_order]

    def _complete(self, result: TaskResult, job: Job) -> None:
        """Fill in what a result was made without."""
        result.task_id = self._engine.task_id(job.spec.task)
        result.task_name = job.spec.name
        result.metrics = self.of(job)

    def metrics(self) -> dict[str, TaskMetrics]:
        """See ``WorkerPool.get_metrics``."""

        def look() -> tuple[list[Job], dict[int, TaskMetrics]]:
            now = self._host.now_ns()
            jobs = self.in_order()
            return jobs, {
                job.spec.task: self._live_metrics(job, now) for job in jobs if job.end is None
            }

        jobs, live = self._host.held(look)
        metrics = self.of
        with _nothing_to_collect():
            all_of_them = (live.get(job.spec.task) or metrics(job) for job in jobs)
            return {one.task_id: one for one in all_of_them}

    def summary(self) -> dict[str, Any]:
        """See ``WorkerPool.get_summary_metrics``."""
        return self._host.held(self._summary)

    def _summary(self) -> dict[str, Any]:
        engine = self._engine
        core = engine.core
        counts = core.counts()
        jobs = list(engine.jobs.values())
        ends = [job.end for job in jobs]
        attempts_of_live = [
            (task.attempt, TaskState(task.state))
            for task in map(core.task, core.live())
            if task is not None
        ]
        live = len(attempts_of_live)
        unsent = sum(end is None for end in ends) - live  # submitted, not decided yet
        tried = attempts = running_ns = 0
        for end in ends:
            if end is not None and end.attempts:
                tried += 1
                attempts += end.attempts
                running_ns += end.running_ns
        ended_tried = tried
        retrying = 0
        for attempt, state in attempts_of_live:
            tried += attempt > 0
            attempts += attempt
            retrying += attempt > 0 and state != TaskState.RUNNING
        ended = len(jobs) - live - unsent
        _, journal_errors, observer_errors = self._tallies()
        completed = counts[TaskState.SUCCEEDED]
        return {
            "total_tasks": len(jobs),
            "pending": live - counts[TaskState.RUNNING] - retrying + unsent,
            "running": counts[TaskState.RUNNING],
            "retrying": retrying,
            "completed": completed,
            "failed": counts[TaskState.FAILED] + counts[TaskState.TIMED_OUT],
            "timed_out": counts[TaskState.TIMED_OUT],
            "cancelled": counts[TaskState.CANCELLED],
            "success_rate": completed / ended if ended else 0.0,
            "total_attempts": attempts,
            "total_retries": attempts - tried,
            "total_execution_time_ms": running_ns / 1e6,
            "avg_execution_time_ms": running_ns / 1e6 / ended_tried if ended_tried else 0.0,
            "timeouts": engine.timeouts,
            "late_results": engine.late_results,
            "abandoned_threads": core.abandoned,
            "max_workers": core.workers,
            "busy_workers": core.busy,
            "journal_errors": journal_errors,
            "observer_errors": observer_errors,
        }

    def of(self, job: Job) -> TaskMetrics:
        """The metrics of a task that has ended."""
        end = job.end
        if end is None:
            return self._host.held(lambda: self._live_metrics(job, self._host.now_ns()))
        spec, attempts = job.spec, end.attempts
        started = end.started_at_ns
        epoch_seconds = self._host.epoch_seconds
        return TaskMetrics(
            f"{self._engine.prefix}{end.task}",
            spec.name,
            _STATUS_OF_OUTCOME[end.outcome],
            0.0 if started is None else epoch_seconds(started),
            epoch_seconds(job.ended_at_ns),
            end.running_ns / 1e6,
            attempts - 1 if attempts else 0,
            self._worker(end.slot),
            None if end.outcome == "ok" else str(job.value),
            end.queued_ns / 1e6,
            end.delayed_ns / 1e6 if end.delayed_ns else 0.0,  # one object for nearly all of them
            spec.priority,
            spec.group,
        )

    def _worker(self, slot: int) -> str | None:
        """What a slot is called: one object for all that have run on it."""
        if slot < 0:
            return None
        name = self._workers.get(slot)
        if name is None:
            name = self._workers[slot] = f"worker-{slot + 1}"
        return name

    def _live_metrics(self, job: Job, now_ns: int) -> TaskMetrics:
        """The metrics of a task that has not ended; while decisions are held."""
        number = job.spec.task
        task = self._engine.core.task(number)
        metrics = TaskMetrics(
            f"{self._engine.prefix}{number}",
            job.spec.name,
            TaskStatus.PENDING,
            priority=job.spec.priority,
            group=job.spec.group,
        )
        if task is None:
            if job.end is not None:
                return self.of(job)
            return metrics  # on its way to the core
        _add_live(metrics, task, now_ns)
        if task.started_at_ns is not None:
            metrics.start_time = self._host.epoch_seconds(task.started_at_ns)
        return metrics


def _add_live(metrics: TaskMetrics, task: Task, now_ns: int) -> None:
    """Fill in what the core knows of a live task."""
    metrics.retries_used = max(0, task.attempt - 1)
    metrics.worker_id = f"worker-{task.slot + 1}" if task.slot >= 0 else None
    running, queued, delayed = task.running_ns, task.queued_ns, task.delayed_ns
    match TaskState(task.state):
        case TaskState.RUNNING:
            metrics.status = TaskStatus.RUNNING
            running += now_ns - task.attempt_at_ns
        case TaskState.DELAYED:
            metrics.status = TaskStatus.RETRYING
            delayed += now_ns - task.attempt_at_ns
        case _:
            metrics.status = TaskStatus.RETRYING if task.attempt else TaskStatus.PENDING
            queued += now_ns - task.ready_at_ns
    metrics.execution_time_ms = running / 1e6
    metrics.queue_time_ms = queued / 1e6
    metrics.backoff_time_ms = delayed / 1e6


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Keep the cyclic garbage collector from looking through what is being made.

    Of 200,000 results none is garbage before they are handed over; looking for cycles among them
    again and again takes longer than making them, and more than in proportion.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
