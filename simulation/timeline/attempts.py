"""A run as attempts: one model of it, whether it was recorded or simulated.

What goes in is what any run leaves behind: the steps of a core (instant, stimulus, instructions).
What comes out is each attempt with its worker and its instants, and each task with its attempts.
Everything that shows a run reads it from here: the report, the trace for Perfetto, ``why``.

A task is in exactly one place at any instant, so its *pieces* leave no gap: ``queue`` (ready, no
worker free), ``limits`` (ready, held back by a limit), ``backoff`` (until a retry is due) and
``running``. They add up to the task's time, to the nanosecond.

An attempt runs from the decision to start it to the decision on its end. In between lie the
instants that its host measured: handed to a worker, first instruction, function left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from runtime.core import CoreSettings
from runtime.core.records import (
    AbandonAttempt,
    AttemptFailed,
    AttemptSucceeded,
    DelayTask,
    DropResult,
    FinishTask,
    Instruction,
    Simultaneous,
    StartAttempt,
    Stimulus,
    TaskSubmitted,
)
from simulation.sizes import Sizes
from simulation.timeline.names import shown

__all__ = ["KINDS", "Attempt", "Piece", "TaskTime", "Timeline", "read_timeline"]

#: Where a task can be, in the order in which it is told.
Kind = Literal["queue", "limits", "backoff", "running"]
KINDS: Final[tuple[Kind, ...]] = ("queue", "limits", "backoff", "running")

#: A step of a core: when, what went in, what came out.
Step = tuple[int, Stimulus, Sequence[Instruction]]


class Attempt(msgspec.Struct, gc=False):
    """One execution on a worker. Instants are nanoseconds of the pool's clock.

    Args:
        task: the task's number.
        number: the attempt's number, from 1.
        slot: the worker, from 0.
        ready_at_ns: since when it waited for a worker.
        start_at_ns: when it was decided to start it.
        end_at_ns: when its end was decided on; of an abandoned one, when it was abandoned.
        outcome: ``ok``, ``error``, ``timeout``, ``cancelled``, or ``running`` where the run's
            record ends before the attempt does.
        error: the exception's type, empty where it raised none.
        dispatched_at_ns: when it was handed to a worker, ``None`` where it never came home.
        begun_at_ns: its first instruction.
        left_at_ns: when its function was left.
        cpu_ns: CPU time of its thread, ``None`` where it was not measured.
        abandoned: whether it was left running without its result counting.
        home_at_ns: of an abandoned one, when it came home; ``None`` for never.
        holds_slot: of an abandoned one, whether its worker was not replaced until it came home.
        timeout_at_ns: when it was to be abandoned, ``None`` for never.
        retry: why another attempt followed, ``error`` or ``timeout``; empty where none did.
        retry_due_at_ns: when the backoff after it was to end.
    """

    task: int
    number: int
    slot: int
    ready_at_ns: int
    start_at_ns: int
    end_at_ns: int = -1
    outcome: str = "running"
    error: str = ""
    dispatched_at_ns: int | None = None
    begun_at_ns: int | None = None
    left_at_ns: int | None = None
    cpu_ns: int | None = None
    abandoned: bool = False
    home_at_ns: int | None = None
    holds_slot: bool = False
    timeout_at_ns: int | None = None
    retry: str = ""
    retry_due_at_ns: int | None = None

    @property
    def ran_ns(self) -> int:
        """From the decision to start it to the decision on its end."""
        return self.end_at_ns - self.start_at_ns


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a task's time, spent in one place.

    Args:
        kind: which.
        from_ns: its first instant.
        to_ns: its end.
        attempt: the attempt that ran, or that was waited for.
    """

    kind: Kind
    from_ns: int
    to_ns: int
    attempt: int


class TaskTime(msgspec.Struct):
    """A task, from its submission to its end.

    Args:
        number: its number.
        name: what its user called it.
        group: its group.
        priority: lower starts first.
        submitted_at_ns: when it was submitted.
        attempts: its attempts, in order.
        ended_at_ns: when it ended, or the last instant known of where it did not.
        outcome: how it ended, ``running`` where it did not.
        reason: why it ended so.
        last_ready_at_ns: since when it waited for a worker at its end, ``None`` if it did not.
        parent: the task that submitted it, 0 where it came from outside.
    """

    number: int
    name: str
    group: str
    priority: int
    submitted_at_ns: int
    attempts: list[Attempt] = []
    ended_at_ns: int = -1
    outcome: str = "running"
    reason: str = ""
    last_ready_at_ns: int | None = None
    parent: int = 0

    @property
    def took_ns(self) -> int:
        """From its submission to its end."""
        return self.ended_at_ns - self.submitted_at_ns

    @property
    def title(self) -> str:
        """Its name with its number, its number alone where it has no name."""
        return f"{shown(self.name)} (task {self.number})" if self.name else f"task {self.number}"

    def pieces(self) -> Iterator[Piece]:
        """Where it was, without a gap; stretches of no length are left out."""
        at_ns = self.submitted_at_ns
        number = 0
        for attempt in self.attempts:
            number = attempt.number
            yield from _waited(at_ns, attempt.ready_at_ns, attempt.start_at_ns, number)
            at_ns = attempt.end_at_ns
            if at_ns > attempt.start_at_ns:
                yield Piece("running", attempt.start_at_ns, at_ns, number)
        ready = self.last_ready_at_ns
        ready = self.ended_at_ns if ready is None else ready
        yield from _waited(at_ns, ready, self.ended_at_ns, number + 1)


def _waited(from_ns: int, ready_ns: int, to_ns: int, attempt: int) -> Iterator[Piece]:
    """The wait for an attempt: first for its backoff, then for a worker."""
    if ready_ns > from_ns:
        yield Piece("backoff", from_ns, ready_ns, attempt)
    if to_ns > ready_ns:
        yield Piece("queue", ready_ns, to_ns, attempt)


@dataclass
class Timeline:
    """A run as attempts.

    Args:
        settings: what its core was set up with.
        tasks: its tasks, by number.
        attempts: its attempts, in the order of their starts.
        last_ns: the last instant that is known.
        followers: tasks whose submission followed the end of others, by number.
        sizes: how many workers there were when.
    """

    settings: CoreSettings
    tasks: dict[int, TaskTime] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    last_ns: int = 0
    followers: frozenset[int] = frozenset()
    sizes: Sizes = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = Sizes(self.settings.max_workers)

    def workers(self, from_ns: int | None = None, to_ns: int | None = None) -> tuple[int, int]:
        """The fewest and the most workers that there were between two instants.

        Args:
            from_ns: from when on, ``None`` for the beginning.
            to_ns: until when, ``None`` for the end.
        """
        return self.sizes.between(from_ns, to_ns)

    @property
    def first_ns(self) -> int:
        """The first submission."""
        return min((task.submitted_at_ns for task in self.tasks.values()), default=0)

    @property
    def end_ns(self) -> int:
        """The last end of a task, or the last instant known of where some have not ended."""
        return max((task.ended_at_ns for task in self.tasks.values()), default=0)

    @property
    def makespan_ns(self) -> int:
        """From the first submission to the last end."""
        return self.end_ns - self.first_ns


def read_timeline(settings: CoreSettings, steps: Iterable[Step]) -> Timeline:
    """Read a run as attempts.

    Args:
        settings: what its core was set up with.
        steps: its steps, in order; a journal's records or what ``simulate(log=True)`` kept.

    Returns:
        The run.

    Example:
        >>> from simulation.simulate import simulate
        >>> from simulation.workload import Batch, Modelled, SyntheticWorkload
        >>> work = SyntheticWorkload([Batch(2, Modelled(duration=3.0))])
        >>> settings = CoreSettings(max_workers=1)
        >>> run = read_timeline(settings, simulate(work, settings, log=True).steps)
        >>> [(a.task, a.start_at_ns // 10**9, a.end_at_ns // 10**9) for a in run.attempts]
        [(1, 0, 3), (2, 3, 6)]
    """
    reader = _Reader(settings)
    for step in steps:
        reader.take(*step)
    return reader.finish()


class _Reader:
    def __init__(self, settings: CoreSettings) -> None:
        self._timeline = Timeline(settings)
        self._instants: list[int] = []

    def take(self, at_ns: int, stimulus: Stimulus, instructions: Sequence[Instruction]) -> None:
        """Follow one step."""
        if not self._instants or self._instants[-1] != at_ns:
            self._instants.append(at_ns)
        self._timeline.sizes.take(at_ns, stimulus, instructions)
        kind = type(stimulus)
        if kind is AttemptSucceeded or kind is AttemptFailed:
            self._came_home(at_ns, stimulus)  # type: ignore[arg-type]  # by its kind
        elif kind is TaskSubmitted:
            self._submitted(at_ns, stimulus)  # type: ignore[arg-type]  # by its kind
        elif kind is Simultaneous:
            for part in stimulus.stimuli:  # type: ignore[union-attr]  # by its kind
                if isinstance(part, TaskSubmitted):
                    self._submitted(at_ns, part)
                elif isinstance(part, AttemptSucceeded | AttemptFailed):
                    self._came_home(at_ns, part)
        for instruction in instructions:
            self._carry_out(at_ns, instruction)

    def _submitted(self, at_ns: int, spec: TaskSubmitted) -> None:
        self._timeline.tasks[spec.task] = TaskTime(
            spec.task, spec.name, spec.group, spec.priority, at_ns, [], parent=spec.parent
        )

    def _came_home(self, at_ns: int, done: AttemptSucceeded | AttemptFailed) -> None:
        attempt = self._timeline.tasks[done.task].attempts[done.attempt - 1]
        attempt.dispatched_at_ns = done.dispatched_at_ns
        attempt.begun_at_ns = done.begun_at_ns
        attempt.left_at_ns = done.ended_at_ns
        attempt.cpu_ns = done.cpu_ns
        if attempt.abandoned:
            return
        attempt.end_at_ns = at_ns  # unless this very step abandons it first
        if isinstance(done, AttemptSucceeded):
            attempt.outcome = "ok"
        else:
            attempt.outcome, attempt.error = "error", done.error

    def _carry_out(self, at_ns: int, instruction: Instruction) -> None:
        match instruction:
            case StartAttempt(task=number, attempt=attempt, slot=slot, timeout_at_ns=limit):
                task = self._timeline.tasks[number]
                ready = self._ready_at(task)
                begun = Attempt(number, attempt, slot, ready, at_ns, timeout_at_ns=limit)
                task.attempts.append(begun)
                self._timeline.attempts.append(begun)
            case AbandonAttempt(task=number, attempt=attempt):
                left = self._timeline.tasks[number].attempts[attempt - 1]
                left.end_at_ns = at_ns
                left.outcome, left.abandoned = instruction.outcome, True
                left.holds_slot, left.error = not instruction.freed, ""
            case DropResult(task=number, attempt=attempt):
                self._timeline.tasks[number].attempts[attempt - 1].home_at_ns = at_ns
            case DelayTask(task=number, attempt=attempt):
                last = self._timeline.tasks[number].attempts[attempt - 1]
                last.retry, last.retry_due_at_ns = instruction.reason, instruction.until_ns
            case FinishTask(task=number):
                self._end(self._timeline.tasks[number], at_ns, instruction)
            case _:
                pass

    def _ready_at(self, task: TaskTime) -> int:
        """Since when a task has waited for a worker: its core moved it at the first step at or
        after its backoff's end, or at its submission.
        """
        due = task.attempts[-1].retry_due_at_ns if task.attempts else None
        if due is None:
            return task.submitted_at_ns
        return self._instants[bisect_left(self._instants, due)]

    def _end(self, task: TaskTime, at_ns: int, end: FinishTask) -> None:
        task.ended_at_ns, task.outcome, task.reason = at_ns, end.outcome, end.reason
        self._wait_at_the_end(task, at_ns)

    def _wait_at_the_end(self, task: TaskTime, at_ns: int) -> None:
        """Since when a task waited for a worker that ended while it waited."""
        last = task.attempts[-1] if task.attempts else None
        if last is None:
            task.last_ready_at_ns = task.submitted_at_ns
        elif last.retry_due_at_ns is not None and last.retry_due_at_ns <= at_ns:
            task.last_ready_at_ns = self._ready_at(task)

    def finish(self) -> Timeline:
        timeline = self._timeline
        timeline.last_ns = last = self._instants[-1] if self._instants else 0
        for attempt in timeline.attempts:
            if attempt.end_at_ns < 0:
                attempt.end_at_ns = last
        for task in timeline.tasks.values():
            if task.ended_at_ns < 0:
                task.ended_at_ns = last
                if not task.attempts or task.attempts[-1].outcome != "running":
                    self._wait_at_the_end(task, last)
        return timeline
