"""From a journal to one task's incident: found, told, tried, made small, written as a test."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from runtime.core import Core
from runtime.core.records import (
    UNSET,
    AbortRequested,
    CancelRequested,
    ResizeRequested,
    TaskSubmitted,
    Transition,
)
from runtime.core.states import TERMINAL
from runtime.journal import Journal, read_journal
from simulation.incidents.incident import (
    Attempt,
    Incident,
    Plot,
    Stop,
    Submission,
    perform,
    plot_of,
)
from simulation.incidents.smaller import smaller
from simulation.incidents.writing import write_test
from simulation.pool import SimulatedWorkerPool
from simulation.recording.read import Recording, read_recording
from simulation.replay import replay
from simulation.timeline.attempts import read_timeline
from simulation.timeline.find import find_task

__all__ = ["CannotSliceError", "Slice", "slice_journal"]

_SECOND = 1_000_000_000


class CannotSliceError(Exception):
    """A story that a simulation does not show, so that no honest test can be made of it."""


class Slice(msgspec.Struct, frozen=True):
    """A test made from a journal.

    Args:
        path: the journal.
        task_id: the task's id.
        task_name: the task's name.
        plot: what is kept: for each attempt the steps that it took, equal ones in a row once.
        tasks: how many tasks are left.
        attempts: how many attempts the task makes in the test.
        recorded_tasks: how many the journal has.
        recorded_attempts: how many attempts the task made in the journal.
        source: the test, a module for pytest.
        note: where more than one task could be meant, why it is this one.
    """

    path: str
    task_id: str
    task_name: str
    plot: Plot
    tasks: int
    attempts: int
    recorded_tasks: int
    recorded_attempts: int
    source: str
    note: str = ""


def slice_journal(journal: Journal | str | Path, task: str, seed: int = 0) -> Slice:
    """Make a small test that shows what happened to one task.

    Args:
        journal: one that was read, or its path (``-`` for standard input).
        task: the task's id, its name or its number, as for ``find_task``.
        seed: of the test's pool; it matters where the story needs jitter and the recording's pool
            had no seed of its own.

    Returns:
        The test.

    Raises:
        JournalError: the journal cannot be used.
        NondeterminismError: it does not replay.
        ValueError: there is no such task, or it has not ended.
        CannotSliceError: a simulation of the whole recording does not show the task's story.
    """
    if not isinstance(journal, Journal):
        journal = read_journal(journal)
    replay(journal).raise_for_divergence()
    recording = read_recording(journal)
    steps = ((record.at, record.stimulus, record.instructions) for record in journal.records)
    timeline = read_timeline(journal.header.settings, steps)
    try:
        found, note = find_task(timeline, task, journal.header.prefix)
    except ValueError as error:
        raise ValueError(f"{journal.path}: {error}") from None
    number = found.number
    story = list(_story(journal, number))
    if not story or story[-1].after not in TERMINAL:
        raise ValueError(
            f"{journal.path}: task {task!r} has not ended in this journal, so its story has no end "
            f"to keep"
        )
    plot = plot_of(story)
    whole = _incident(recording, number, journal.records[-1].at, seed)

    def shows(incident: Incident) -> bool:
        told = perform(incident)
        return bool(told) and told[-1].after in TERMINAL and plot_of(told) == plot

    with _silence(), SimulatedWorkerPool():  # which patches the world once, not for each try
        backoffs = [t.until_ns - t.at_ns for t in story if t.until_ns is not None]
        small = smaller(whole, shows, backoffs)
        if small is None:
            seen = plot_of(perform(whole))
            raise CannotSliceError(
                f"{journal.path}: the whole recording, simulated again, does not show what "
                f"happened to task {task!r}: recorded {_told(plot)}; simulated {_told(seen)}"
            )
        told = [t for t in perform(small) if t.before != t.after]
    spec = recording.specs[number]
    attempts = max(t.attempt for t in told)
    recorded_attempts = max(t.attempt for t in story)
    task_id = f"{journal.header.prefix}{number}"
    made = Slice(
        journal.path,
        task_id,
        spec.name,
        plot,
        len(small.tasks),
        attempts,
        len(recording.specs),
        recorded_attempts,
        "",
        note,
    )
    return msgspec.structs.replace(
        made, source=write_test(small, told, Path(journal.path).name, task_id, made.recorded_tasks)
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What hundreds of short-lived pools left behind is no news to anybody."""
    log = logging.getLogger("twinclock")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _story(journal: Journal, number: int) -> Iterator[Transition]:
    """A task's transitions, told again by a core."""
    core = Core(journal.header.settings, record="all")
    for record in journal.records:
        core.handle(record.at, record.stimulus)
        yield from (t for t in core.take_transitions() if t.task == number)


def _incident(recording: Recording, target: int, last_ns: int, seed: int) -> Incident:
    """All that was recorded, as calls."""
    tasks: dict[int, Submission] = {}
    stops: list[Stop] = []
    for order, (at_ns, what) in enumerate(recording.arrivals):
        match what:
            case TaskSubmitted():
                tasks[what.task] = _submission(recording, what, at_ns, order, last_ns)
            case CancelRequested():
                stops.append(Stop(at_ns, order, what.task))
            case AbortRequested():
                stops.append(Stop(at_ns, order))
            case ResizeRequested(max_workers=workers):
                stops.append(Stop(at_ns, order, workers=workers))
            case _:  # a drain: what comes after it is refused, and the pool's end drains anyway
                pass
    return Incident(recording.settings, tasks, tuple(stops), target, seed)


def _submission(
    recording: Recording, spec: TaskSubmitted, at_ns: int, order: int, last_ns: int
) -> Submission:
    attempts: list[Attempt] = []
    while True:
        key = spec.task, len(attempts) + 1
        known = recording.done.get(key)
        if known is not None and known.duration_ns is not None:
            attempts.append(Attempt(known.duration_ns, known.failure))
        elif key in recording.censored:
            # nobody knows how long: until the recording's end, or as soon as it heeded
            beyond = recording.heeded.get(key, last_ns + _SECOND)
            attempts.append(Attempt(recording.censored[key] + beyond))
        else:
            break
    deadline = spec.deadline_at_ns
    return Submission(
        spec.name,
        at_ns,
        tuple(attempts) or (Attempt(0),),
        order,
        spec.priority,
        spec.group,
        UNSET if spec.timeout_ns is UNSET else spec.timeout_ns,
        spec.max_retries,
        None if deadline is None else deadline - at_ns,
    )


def _told(plot: Plot) -> str:
    return "; ".join(", ".join(attempt) for attempt in plot)
