"""What a pool tells of a task: its result and its metrics."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["TaskMetrics", "TaskResult", "TaskStatus"]


class TaskStatus(enum.Enum):
    """Where a task is, as its user sees it.

    ``RETRYING`` covers the backoff and the wait for a slot after it.
    """

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True)
class TaskMetrics:
    """What happened to a task, in numbers.

    Args:
        task_id: the task's id.
        task_name: the task's name.
        status: where it is.
        start_time: start of its first attempt in epoch seconds, 0.0 until there is one.
        end_time: its end in epoch seconds, ``None`` until it has ended.
        execution_time_ms: milliseconds spent running, added over its attempts; a running
            attempt counts up to now.
        retries_used: attempts after the first.
        worker_id: the slot of its last attempt, ``worker-1`` and up; ``None`` before the first.
        error_message: why it did not succeed, ``None`` where it did or has not ended.
        queue_time_ms: milliseconds spent ready and waiting for a worker.
        backoff_time_ms: milliseconds spent waiting for a retry.
        priority: as submitted.
        group: as submitted.
    """

    task_id: str
    task_name: str
    status: TaskStatus
    start_time: float = 0.0
    end_time: float | None = None
    execution_time_ms: float = 0.0
    retries_used: int = 0
    worker_id: str | None = None
    error_message: str | None = None
    queue_time_ms: float = 0.0
    backoff_time_ms: float = 0.0
    priority: int = 0
    group: str = "default"


class _Lazy:
    __slots__ = ("_complete", "_job")

    def __init__(self, complete: Callable[[Any, Any], None], job: Any) -> None:
        self._complete = complete
        self._job = job


@dataclass(slots=True)
class TaskResult(_Lazy):
    """How a task ended.

    Args:
        task_id: the task's id.
        task_name: the task's name.
        success: whether it succeeded.
        result: what its function returned; ``None`` where it did not succeed.
        error: a ``TaskExecutionError``, ``None`` where it succeeded.
        metrics: its metrics; worked out when first asked for.

    Example:
        >>> TaskResult("pool-1.1", "Q001", True, 42, None, None).unwrap()
        42
    """

    task_id: str
    task_name: str
    success: bool
    result: Any
    error: Exception | None
    metrics: TaskMetrics | None

    def unwrap(self) -> Any:
        """The function's value, or the task's error raised.

        Returns:
            What the function returned.

        Raises:
            TaskExecutionError: the task did not succeed.
        """
        if self.error is not None:
            raise self.error
        return self.result

    def __getattr__(self, name: str) -> Any:
        # a pool leaves these three out when it makes a result: see lazy_result
        if name in ("task_id", "task_name", "metrics"):
            self._complete(self, self._job)
            return object.__getattribute__(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.task_id, self.task_name, self.success, self.result, self.error)
        return TaskResult, (*fields, self.metrics)


_new = object.__new__


def lazy_result(
    result: Any,
    error: Exception | None,
    complete: Callable[[TaskResult, Any], None],
    job: object,
) -> TaskResult:
    """Make a result of which the rest is filled in when it is first asked for.

    Results are made by the hundred thousand and mostly asked for their value alone; this takes a
    third of the time.

    Args:
        result: what the function returned.
        error: the task's error, ``None`` where it succeeded.
        complete: sets ``task_id``, ``task_name`` and ``metrics``.
        job: what ``complete`` is called with, after the result.

    Returns:
        A result like any other.
    """
    made = _new(TaskResult)
    made.success = error is None
    made.result = result
    made.error = error
    made._complete = complete
    made._job = job
    return made
