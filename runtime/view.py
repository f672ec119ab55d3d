"""What an observer may look at: a pool's constants, its tasks' names, and how it is at present."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runtime.core import Core, CoreSettings
from runtime.core.records import TaskSubmitted
from runtime.core.states import TaskState
from runtime.host import Host

__all__ = ["PoolView", "Present", "present"]


@dataclass(frozen=True)
class Present:
    """A pool at one instant.

    Args:
        now_ns: when, on the pool's clock.
        ready: tasks that wait for a worker.
        delayed: tasks in backoff.
        oldest_ready_at_ns: since when the one that has waited longest waits, ``None`` for none.
        running_since_ns: when each attempt that runs was started.
        idle: workers that have nothing to do.
        abandoned: abandoned attempts that still run.
        rejected: submissions that were refused, by reason.
        journal_errors: how often the journal could not be written.
        observer_errors: observers that raised.
    """

    now_ns: int
    ready: int
    delayed: int
    oldest_ready_at_ns: int | None
    running_since_ns: list[int]
    idle: int
    abandoned: int
    rejected: dict[str, int]
    journal_errors: int
    observer_errors: int


class PoolView:
    """What an observer may look at; given to it once, when its pool is made.

    Args:
        host: the pool's host.
        tallies: the pool's own counts: rejections by reason, journal errors, observer errors.
        flush: tells the observers what has happened so far.

    Attributes:
        name: the pool's name.
        clock: ``wall`` or ``virtual``.
        epoch_ns: epoch nanoseconds at which the pool's clock was 0.
        settings: what its core was set up with.
    """

    def __init__(
        self,
        host: Host,
        tallies: Callable[[], tuple[dict[str, int], int, int]],
        flush: Callable[[], object],
    ) -> None:
        self._host = host
        self._tallies = tallies
        self.flush = flush
        self.name = host.engine.config.name
        self.clock: Literal["wall", "virtual"] = host.clock
        self.epoch_ns = host.epoch_ns
        self.settings: CoreSettings = host.engine.core.settings

    def task(self, number: int) -> TaskSubmitted:
        """What was submitted under a number."""
        return self._host.engine.jobs[number].spec

    def task_id(self, number: int) -> str:
        """The public id of a task."""
        return self._host.engine.task_id(number)

    def number(self, task_id: str) -> int:
        """The number of a task by its public id.

        Raises:
            KeyError: the pool has no such task.
        """
        engine = self._host.engine
        tail = task_id.removeprefix(engine.prefix)
        if task_id == tail or not tail.isdecimal() or int(tail) not in engine.jobs:
            raise KeyError(task_id)
        return int(tail)

    def failure(self, number: int, attempt: int) -> BaseException | None:
        """What an attempt raised, ``None`` where it did not or is not over; of one that took too
        long, a ``TimeoutError``.
        """
        extra = self._host.engine.jobs[number].extra
        failures = extra.failures if extra is not None else []
        return failures[attempt - 1] if 0 < attempt <= len(failures) else None

    def epoch_seconds(self, at_ns: int) -> float:
        """An instant of the pool's clock as epoch seconds."""
        return self._host.epoch_seconds(at_ns)

    def present(self) -> Present:
        """The pool at this instant; one consistent look."""
        tallies = self._tallies()
        host = self._host
        return host.held(lambda: present(host.engine.core, host.now_ns(), tallies))


def present(core: Core, now_ns: int, tallies: tuple[dict[str, int], int, int]) -> Present:
    """A core at one instant.

    Args:
        core: which.
        now_ns: when.
        tallies: rejections by reason, journal errors, observer errors.

    Returns:
        The look at it.
    """
    ready: list[int] = []
    running: list[int] = []
    delayed = 0
    for number in core.live():
        task = core.task(number)
        if task is None:
            continue
        if task.state == TaskState.READY:
            ready.append(task.ready_at_ns)
        elif task.state == TaskState.RUNNING:
            running.append(task.attempt_at_ns)
        else:
            delayed += 1
    rejected, journal_errors, observer_errors = tallies
    return Present(
        now_ns=now_ns,
        ready=len(ready),
        delayed=delayed,
        oldest_ready_at_ns=min(ready, default=None),
        running_since_ns=running,
        idle=core.settings.max_workers - core.busy,
        abandoned=core.abandoned,
        rejected=rejected,
        journal_errors=journal_errors,
        observer_errors=observer_errors,
    )
