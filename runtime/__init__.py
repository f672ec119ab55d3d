"""The worker pool: the scheduling core, the thread host, the journal."""

from runtime.attempt import Attempt, current_attempt
from runtime.config import WorkerPoolConfig
from runtime.errors import (
    ForkedPoolError,
    PoolBrokenError,
    PoolClosedError,
    TaskCancelledError,
    TaskExecutionError,
    TaskFailedError,
    TaskTimeoutError,
    WaitTimeoutError,
    WouldDeadlockError,
)
from runtime.pool import WorkerPool
from runtime.recorder import JournalTo
from runtime.results import TaskMetrics, TaskResult, TaskStatus

__all__ = [
    "Attempt",
    "ForkedPoolError",
    "JournalTo",
    "PoolBrokenError",
    "PoolClosedError",
    "TaskCancelledError",
    "TaskExecutionError",
    "TaskFailedError",
    "TaskMetrics",
    "TaskResult",
    "TaskStatus",
    "TaskTimeoutError",
    "WaitTimeoutError",
    "WorkerPool",
    "WorkerPoolConfig",
    "WouldDeadlockError",
    "current_attempt",
]
