"""Imported work as a journal: what came and what attempts did, through the core on virtual time.

A journal holds stimuli that a core has answered, and spans hold no stimuli. So the work is run
again: tasks come when their spans start, each attempt takes as long and ends as its span does, and
a fresh core under the run's setting decides the rest. What it decides is therefore consistent, and
the journal replays exactly; how close it comes to the spans is measured and told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from runtime.config import MOST_RETRIES, plain_text
from runtime.core import CoreSettings
from runtime.core.backoff import backoff_ns
from runtime.core.records import UNSET, CancelRequested, TaskSubmitted, UnsetType
from runtime.files import write_file
from runtime.journal import Header
from runtime.recorder import closed_journal, describe_host
from simulation.clock import Arrival
from simulation.imports.work import ImportedTask, Work
from simulation.machine.machine import Machine
from simulation.models import Behaviour, Fails
from simulation.simulate import Run, simulate
from simulation.timeline.attempts import read_timeline
from simulation.workload import Sampler

__all__ = ["Imported", "run_work", "write_imported"]


@dataclass(frozen=True)
class Imported:
    """Imported work, run.

    Args:
        run: the run.
        header: the journal's first line.
        recorded_makespan_seconds: from the first task's start to the last end, in the spans.
        simulated_makespan_seconds: the same in the run.
        start_error_seconds: the most by which an attempt starts at another time than its span.
    """

    run: Run
    header: Header
    recorded_makespan_seconds: float
    simulated_makespan_seconds: float
    start_error_seconds: float

    @property
    def makespan_error(self) -> float:
        """(simulated - recorded) / recorded."""
        recorded = self.recorded_makespan_seconds
        if not recorded:
            return 0.0 if not self.simulated_makespan_seconds else math.nan
        return (self.simulated_makespan_seconds - recorded) / recorded


class _ImportedWorkload:
    """Spans as a workload."""

    random = False
    machine: Machine | None = None  # wall times as they were: spans tell no CPU time

    def __init__(self, work: Work, settings: CoreSettings, epoch_ns: int) -> None:
        self._settings = settings
        self._epoch_ns = epoch_ns
        self._tasks = {task.number: task for task in work.tasks}

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        """What came from outside: submissions, and cancels where tasks were cancelled."""
        found: list[tuple[int, int, int, TaskSubmitted | CancelRequested]] = []
        for task in self._tasks.values():
            at = task.submitted_ns - self._epoch_ns
            found.append((at, 1, task.number, self._spec(task)))
            if task.outcome == "cancelled":
                until = task.ended_ns - self._epoch_ns
                order = 0 if until > at else 2
                found.append((until, order, task.number, CancelRequested(task.number)))
        found.sort(key=lambda one: one[:3])
        return iter([(at, stimulus) for at, _, _, stimulus in found])

    def _spec(self, task: ImportedTask) -> TaskSubmitted:
        settings = self._settings
        limits = {attempt.timeout_ns for attempt in task.attempts}
        own = len(limits) == 1 and limits not in ({None}, {settings.timeout_ns})
        timeout: int | UnsetType | None = next(iter(limits)) if own else UNSET
        retries: int | UnsetType = UNSET
        made = max(len(task.attempts) - 1, 0)
        last = task.attempts[-1].outcome if task.attempts else ""
        exhausted = task.reason in ("retries exhausted", "retry would pass the deadline")
        # a failure can be one that is not retried, a timeout cannot
        final = last == "timeout" and task.outcome == "timeout" and task.reason != "deadline passed"
        if made > settings.max_retries or (
            made < settings.max_retries and (final or (last == "error" and exhausted))
        ):
            retries = min(made, MOST_RETRIES)
        deadline = task.ended_ns - self._epoch_ns if task.reason == "deadline passed" else None
        return TaskSubmitted(
            task.number, task.name, task.priority, task.group, timeout, retries, deadline
        )

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: what their spans say."""

        def sample(number: int, attempt: int) -> Behaviour:
            task = self._tasks[number]
            if attempt > len(task.attempts):  # a run that drifts from its spans may come to this
                return Behaviour(None if not task.attempts else 0)
            done = task.attempts[attempt - 1]
            took = done.end_ns - done.start_ns
            if done.outcome == "ok":
                return Behaviour(took)
            if done.outcome == "error":
                return Behaviour(took, self._failure(task, attempt))
            return Behaviour(None)  # nobody saw it come home

        return sample

    def _failure(self, task: ImportedTask, number: int) -> Fails:
        attempt = task.attempts[number - 1]
        wait = attempt.wait_ns
        if wait is None:
            retried = task.reason == "retries exhausted" or number > self._settings.max_retries
            return Fails(1.0, attempt.error, retried)
        settings = self._settings
        delay = backoff_ns(
            settings.jitter, settings.backoff_base_ns, settings.backoff_max_ns, number, 0,
            seed=settings.seed, task=task.number,
        )  # fmt: skip
        longer = wait > delay and settings.jitter == "none"
        return Fails(1.0, attempt.error, True, wait / 1e9 if longer else None)


def run_work(path: str, work: Work, settings: CoreSettings, notes: list[str]) -> Imported:
    """Run imported work.

    Args:
        path: where the spans came from, for the header.
        work: the work.
        settings: the setting.
        notes: what of the setting was inferred.

    Returns:
        The run.

    Raises:
        ValueError: a name that no task may have.
    """
    for task in work.tasks:
        plain_text("name", task.name)
        plain_text("group", task.group)
    epoch_ns = work.tasks[0].submitted_ns
    run = simulate(_ImportedWorkload(work, settings, epoch_ns), settings, settings.seed, log=True)
    timeline = read_timeline(settings, run.steps)
    starts = {
        (task.number, number): attempt.start_ns - epoch_ns
        for task in work.tasks
        for number, attempt in enumerate(task.attempts, 1)
    }
    drift = max(
        (
            abs(attempt.start_at_ns - starts[attempt.task, attempt.number])
            for attempt in timeline.attempts
            if (attempt.task, attempt.number) in starts
        ),
        default=0,
    )
    last = max(task.ended_ns for task in work.tasks)
    header = describe_host(
        settings, pool=work.pool, prefix=work.prefix, epoch_ns=epoch_ns, clock="virtual"
    )
    return Imported(
        run,
        _imported(header, path, work, notes),
        (last - epoch_ns) / 1e9,
        timeline.makespan_ns / 1e9,
        drift / 1e9,
    )


def _imported(header: Header, path: str, work: Work, notes: list[str]) -> Header:
    unknown = ["CPU time", "results that came after their attempt was abandoned", "cores"]
    if not work.own:
        unknown.append("how long a task waited for a worker before its first attempt")
    text = f"imported from spans in {path}; not known: {', '.join(unknown)}"
    if notes:
        text += f"; inferred: {', '.join(notes)}"
    return msgspec.structs.replace(header, origin=text, python="unknown", cores=1, gil=True)


def write_imported(path: str, imported: Imported) -> str | None:
    """Write it as a journal; a file that is there already is kept under another name.

    Args:
        path: where.
        imported: what.

    Returns:
        The name under which a file that was there is kept.

    Raises:
        FileError: it cannot be written.
    """
    return write_file(path, closed_journal(imported.header, imported.run.steps), keep=True)
