"""What a task's function can ask about the attempt that runs it."""

from __future__ import annotations

import threading
from typing import Protocol

from runtime.config import LONGEST_SECONDS, seconds_to_ns
from runtime.engine import Engine, Job
from runtime.errors import TaskCancelledError

__all__ = ["Attempt", "current_attempt", "here"]


class AttemptHost(Protocol):
    """What an attempt needs of the host that runs it."""

    engine: Engine

    def epoch_seconds(self, at_ns: int) -> float:
        """The host's instant as epoch seconds."""

    def sleep(self, job: Job, attempt: int, duration_ns: int) -> None:
        """Let the calling attempt sleep, at most until its token is set."""


class _Here(threading.local):
    host: AttemptHost | None = None
    running: tuple[Job, int, int] | None = None


#: The host that the calling thread works for, and what it runs for it: the job, the attempt's
#: number and the instant of its dispatch.
here = _Here()


class Attempt:
    """The running attempt; made by ``current_attempt``.

    Attributes:
        task_id: the task's id.
        task_name: the task's name.
        number: the attempt's number, from 1.
    """

    __slots__ = ("_host", "_job", "number", "task_id", "task_name")

    def __init__(self, host: AttemptHost, job: Job, number: int) -> None:
        self._host = host
        self._job = job
        self.number = number
        self.task_id = host.engine.task_id(job.spec.task)
        self.task_name = job.spec.name

    @property
    def idempotency_key(self) -> str:
        """One key for all attempts of the task, to pass on to what must not happen twice."""
        extra = self._job.extra
        own = extra.idempotency_key if extra is not None else None
        return own if own is not None else f"{self._host.engine.key_prefix}{self._job.spec.task}"

    @property
    def deadline(self) -> float | None:
        """When the whole task must have ended, in epoch seconds of the pool's clock."""
        at_ns = self._job.spec.deadline_at_ns
        return None if at_ns is None else self._host.epoch_seconds(at_ns)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was abandoned: its result no longer counts."""
        extra = self._job.extra
        return extra is not None and extra.abandoned_through >= self.number

    def raise_if_cancelled(self) -> None:
        """Leave the function when the attempt was abandoned.

        Raises:
            TaskCancelledError: it was.
        """
        if self.cancelled:
            raise TaskCancelledError(
                f"attempt {self.number} of {self.task_id} was abandoned",
                self.task_id,
                self.task_name,
                "abandoned",
            )

    def sleep(self, seconds: float) -> None:
        """Sleep on the pool's clock, so in no time at all where that clock is virtual.

        Args:
            seconds: how long, 0 or more; more than 1e9, or ``math.inf``, is 1e9: 31 years.

        Raises:
            TaskCancelledError: the attempt was abandoned, before or meanwhile.
            TypeError: ``seconds`` is no number.
            ValueError: ``seconds`` is negative.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"seconds={seconds!r}: must be a number")
        if not seconds >= 0:
            raise ValueError(f"seconds={seconds!r}: must be 0 or more")
        self.raise_if_cancelled()
        self._host.sleep(self._job, self.number, seconds_to_ns(min(seconds, LONGEST_SECONDS)))
        self.raise_if_cancelled()


def current_attempt() -> Attempt:
    """The attempt that called this.

    Returns:
        What it may ask: ids, number, idempotency key, deadline, token, ``sleep``.

    Raises:
        RuntimeError: the calling thread runs no task of a pool.

    Example:
        >>> from runtime import WorkerPool, WorkerPoolConfig
        >>> with WorkerPool(WorkerPoolConfig(max_workers=1)) as pool:
        ...     task_id = pool.submit_task("which", lambda: current_attempt().number)
        ...     pool.get_task_result(task_id).result
        1
    """
    host, running = here.host, here.running
    if host is None or running is None:
        raise RuntimeError("current_attempt() was called outside a task of a WorkerPool")
    return Attempt(host, running[0], running[1])
