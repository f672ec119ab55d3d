"""What can go wrong with a task or a pool, as its user sees it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AwaitableResultError",
    "ForkedPoolError",
    "PoolBrokenError",
    "PoolClosedError",
    "ReentrantCallError",
    "TaskCancelledError",
    "TaskExecutionError",
    "TaskFailedError",
    "TaskTimeoutError",
    "UnknownTaskIdError",
    "WaitTimeoutError",
    "WouldDeadlockError",
]


class TaskExecutionError(Exception):
    """A task ended other than by success.

    ``__cause__`` is the exception of the last attempt that raised one, with its traceback.

    Args:
        message: what happened to which task.
        task_id: the task's id.
        task_name: the task's name.
        reason: the core's reason, such as ``retries exhausted`` or ``deadline passed``.
        attempts: the exceptions of its attempts, in order; an attempt that timed out has a
            ``TimeoutError`` here.
    """

    def __init__(
        self,
        message: str,
        task_id: str = "",
        task_name: str = "",
        reason: str = "",
        attempts: Sequence[BaseException] = (),
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.task_name = task_name
        self.reason = reason
        self.attempts = tuple(attempts)

    def __reduce__(self) -> tuple[object, ...]:
        return (
            type(self),
            (str(self), self.task_id, self.task_name, self.reason, self.attempts),
            {"__cause__": self.__cause__},
        )


class TaskFailedError(TaskExecutionError):
    """The task's last attempt raised, and no retry was left or allowed."""


class TaskTimeoutError(TaskExecutionError, TimeoutError):
    """The task's last attempt took longer than its timeout, or its deadline passed."""


class TaskCancelledError(TaskExecutionError):
    """The task was cancelled, by itself or by an abort."""


class WaitTimeoutError(TimeoutError):
    """Waiting took longer than allowed. The tasks themselves are untouched and go on.

    Args:
        message: what was waited for, and how long.
        results: the results that were there by then, in submission order.
        open_ids: the ids of the tasks that had not ended.
    """

    def __init__(
        self, message: str, results: Sequence[object] = (), open_ids: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.results = list(results)
        self.open_ids = list(open_ids)


class UnknownTaskIdError(KeyError):
    """No task of this pool has the id that was asked for, which is ``args[0]``."""

    def __str__(self) -> str:
        return f"no task of this pool has the id {self.args[0]!r}"


class AwaitableResultError(TypeError):
    """A function returned a coroutine, or what else has to be awaited: its work is not done. It is
    not retried.
    """


class PoolClosedError(RuntimeError):
    """A task was submitted to a pool that takes no more."""


class PoolBrokenError(RuntimeError):
    """The pool's scheduler was interrupted half-way, by an exception that a signal handler raised
    or by a bug; its decisions can no longer be trusted, so it makes none.
    """


class ReentrantCallError(RuntimeError):
    """A signal handler or a destructor called the pool in the middle of a call of the same thread,
    in a way that would have to wait for that one.
    """


class ForkedPoolError(RuntimeError):
    """The pool was made before a fork and is used in the child, where its threads do not exist."""


class WouldDeadlockError(RuntimeError):
    """A task waits for its own pool, and nobody would be left to do what it waits for."""
