"""What an observer may look at: a pool's constants, its tasks' names, and how it is at present."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from runtime.core import Core, CoreSettings
from runtime.core.records import TaskSubmitted
from runtime.core.tally import Tally
from runtime.host import Host

__all__ = ["PoolView", "Present", "present"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Present:
    """A pool at one instant.

    Args:
        now_ns: when, on the pool's clock.
        ready: tasks that wait for a worker.
        delayed: tasks in backoff.
        oldest_ready_at_ns: since when the one that has waited longest waits, ``None`` for none.
        running_since_ns: when each attempt that runs was started.
        workers: how many there are to be: as configured, or as resized since.
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
    workers: int
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

    def now_ns(self) -> int:
        """The present on the pool's clock."""
        return self._host.now_ns()

    def mark(self, number: int, mark: object) -> None:
        """Have a task's transitions told whatever ``detail`` says, all but its submission and its
        starts, with the instants of those; and have it remembered where it is counted. To be
        called before the task is handed in: by ``submitted``.

        Args:
            number: the task's number.
            mark: what it is remembered by; not ``None``.
        """
        self._host.engine.core.marks[number] = mark

    def call_in(self, number: int, call: Callable[[], object]) -> None:
        """Call something in the context variables that each attempt of a task will have; to be
        called by ``submitted``.

        Args:
            number: the task's number.
            call: what may set some.
        """
        self._host.engine.call_in(number, call)

    def count(self, make: Callable[[], Tally]) -> Tally:
        """Have the core count what happens; to be called by ``attach``, before anything has.

        Args:
            make: makes the tally, where the core has none yet.

        Returns:
            The core's tally; it may be read only while decisions are held.
        """
        core = self._host.engine.core
        if core.tally is None:
            core.count_into(make())
        assert core.tally is not None
        return core.tally

    def held(self, look: Callable[[], _T]) -> _T:
        """Call something while no decision is made, with everything decided that was handed in."""
        return self._host.held(look)

    def epoch_seconds(self, at_ns: int) -> float:
        """An instant of the pool's clock as epoch seconds."""
        return self._host.epoch_seconds(at_ns)

    def present(self) -> Present:
        """The pool at this instant; to be called by what ``held`` calls."""
        host = self._host
        return present(host.engine.core, host.now_ns(), self._tallies())


def present(core: Core, now_ns: int, tallies: tuple[dict[str, int], int, int]) -> Present:
    """A core at one instant; costs time in proportion to its workers and priorities.

    Args:
        core: which.
        now_ns: when.
        tallies: rejections by reason, journal errors, observer errors.

    Returns:
        The look at it.
    """
    ready, delayed, oldest_ready_at_ns = core.waiting()
    running = [task.attempt_at_ns for task in map(core.task, core.running()) if task is not None]
    rejected, journal_errors, observer_errors = tallies
    return Present(
        now_ns=now_ns,
        ready=ready,
        delayed=delayed,
        oldest_ready_at_ns=oldest_ready_at_ns,
        running_since_ns=running,
        workers=core.workers,
        idle=core.idle,
        abandoned=core.abandoned,
        rejected=rejected,
        journal_errors=journal_errors,
        observer_errors=observer_errors,
    )
