"""The worker pool: the scheduling core, the thread host, the journal."""

from runtime.attempt import Attempt, current_attempt
from runtime.config import WorkerPoolConfig
from runtime.errors import (
    AwaitableResultError,
    ForkedPoolError,
    PoolBrokenError,
    PoolClosedError,
    ReentrantCallError,
    TaskCancelledError,
    TaskExecutionError,
    TaskFailedError,
    TaskTimeoutError,
    UnknownTaskIdError,
    WaitTimeoutError,
    WouldDeadlockError,
)
from runtime.pool import WorkerPool
from runtime.recorder import JournalTo
from runtime.results import TaskMetrics, TaskResult, TaskStatus
from runtime.signals import stop_on_signals

__all__ = [
    "Attempt",
    "AwaitableResultError",
    "ForkedPoolError",
    "JournalTo",
    "PoolBrokenError",
    "PoolClosedError",
    "ReentrantCallError",
    "TaskCancelledError",
    "TaskExecutionError",
    "TaskFailedError",
    "TaskMetrics",
    "TaskResult",
    "TaskStatus",
    "TaskTimeoutError",
    "UnknownTaskIdError",
    "WaitTimeoutError",
    "WorkerPool",
    "WorkerPoolConfig",
    "WouldDeadlockError",
    "current_attempt",
    "stop_on_signals",
]
