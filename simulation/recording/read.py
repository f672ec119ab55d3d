"""What a journal tells of the work: what each attempt did, by (task, attempt).

An attempt takes as long as it took from the core's decision to start it to the core's decision on
its end, so hand-over is part of it, as it was then; one that came home a moment after its limit and
was still taken, because the timer was late, took exactly its limit. An attempt that was *abandoned*
and came home late took until then. The others are *censored*: one that came home because it heeded
its token took longer than it was given, and one that never came home, or that still ran where the
journal ends (its process was killed), longer than it was watched.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from runtime.core import CoreSettings
from runtime.core.records import (
    AbandonAttempt,
    AttemptFailed,
    AttemptSucceeded,
    FinishTask,
    StartAttempt,
    TaskSubmitted,
    TimeElapsed,
)
from runtime.journal import Journal
from simulation.clock import Arrival
from simulation.machine.machine import Machine
from simulation.models import Behaviour, Fails
from simulation.recording.outages import Outage, Ran, find_outages
from simulation.replay import parts_of
from simulation.simulate import HEEDED, Run
from simulation.sizes import Sizes

__all__ = ["Recording", "read_recording"]


@dataclass
class Recording:
    """What a journal tells, in the form in which it is simulated and compared.

    Args:
        settings: what the core was set up with.
        arrivals: what came from outside.
        specs: the tasks by number.
        done: what an attempt did, by (task, attempt), where that is known.
        censored: longer than how many nanoseconds an attempt took, where only that is known.
        heeded: how many nanoseconds after it was abandoned an attempt came home, of those that
            heeded their token.
        begun_at: when an attempt was started, by (task, attempt).
        stopped_at: when it ended or was abandoned; without it, it still ran at the end.
        fates: what an attempt was counted as: ``ok``, ``timeout``, ``cancelled``, or the type of
            what it raised.
        outages: spans of time in which attempts failed because of the time.
        hit: the outage that made an attempt fail, by (task, attempt).
        ends_before: how many tasks had ended before each of the arrivals.
        parents: the attempt that submitted a task, by the task's number, where one did.
        last_at: the instant of the last thing that the journal knows.
        by_group: what attempts did whose end is known, by group, the shortest first.
        run: how it went, to be measured like a simulated run.
        clock: whether it ran on the real clock (``wall``) or on a ``virtual`` one.
        cores: of the machine that it ran on, as its process was allowed to use them.
        gil: whether its interpreter had one.
        without_cpu: attempts of ``done`` whose CPU time the journal does not have.
        machine: what attempts are to meet when this is simulated, ``None`` where each takes as
            long as it took.
        cpu_share: how much of its duration an attempt computes that is drawn, by group.
        draws: the pools that are drawn from, once they were made.
    """

    settings: CoreSettings
    arrivals: list[Arrival] = field(default_factory=list)
    specs: dict[int, TaskSubmitted] = field(default_factory=dict)
    done: dict[tuple[int, int], Behaviour] = field(default_factory=dict)
    censored: dict[tuple[int, int], int] = field(default_factory=dict)
    heeded: dict[tuple[int, int], int] = field(default_factory=dict)
    begun_at: dict[tuple[int, int], int] = field(default_factory=dict)
    stopped_at: dict[tuple[int, int], int] = field(default_factory=dict)
    fates: dict[tuple[int, int], str] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    hit: dict[tuple[int, int], Outage] = field(default_factory=dict)
    ends_before: list[int] = field(default_factory=list)
    parents: dict[int, tuple[int, int]] = field(default_factory=dict)
    last_at: int = 0
    by_group: dict[str, list[tuple[int, Fails | None]]] = field(default_factory=dict)
    run: Run = field(default_factory=lambda: Run(1))
    clock: str = "wall"
    cores: int = 1
    gil: bool = True
    without_cpu: int = 0
    machine: Machine | None = None
    cpu_share: dict[str, float] = field(default_factory=dict)
    draws: Any = field(default=None, init=False, repr=False, compare=False)


def read_recording(journal: Journal) -> Recording:
    """Take from a journal what a what-if needs.

    Args:
        journal: a journal that replays.

    Returns:
        The recording.
    """
    header = journal.header
    recording = Recording(header.settings, clock=header.clock, cores=header.cores, gil=header.gil)
    run = recording.run = Run(journal.header.settings.max_workers)
    limit_at: dict[tuple[int, int], int] = {}
    last_attempt: dict[int, int] = {}
    begun_at, fates = recording.begun_at, recording.fates
    sizes = Sizes(run.max_workers)
    for record in journal.records:
        at = record.at
        sizes.take(at, record.stimulus, record.instructions)
        for part in parts_of(record):
            match part:
                case AttemptSucceeded() | AttemptFailed():
                    _take_end(recording, at, part, limit_at.get((part.task, part.attempt)))
                case TaskSubmitted():
                    recording.specs[part.task] = part
                    if part.parent in last_attempt:
                        recording.parents[part.task] = part.parent, last_attempt[part.parent]
                    recording.arrivals.append((at, part))
                    recording.ends_before.append(len(run.ends))
                case TimeElapsed():
                    pass
                case _:
                    recording.arrivals.append((at, part))  # type: ignore[arg-type]  # not nested
                    recording.ends_before.append(len(run.ends))
        for instruction in record.instructions:
            match instruction:
                case StartAttempt(task=task, attempt=attempt, timeout_at_ns=timeout_at):
                    begun_at[task, attempt] = at
                    last_attempt[task] = attempt
                    if timeout_at is not None:
                        limit_at[task, attempt] = timeout_at
                case AbandonAttempt(task=task, attempt=attempt, outcome=outcome):
                    recording.stopped_at[task, attempt] = at
                    fates[task, attempt] = outcome
                    run.timeouts += outcome == "timeout"
                case FinishTask():
                    run.ended_at_ns.append(at)
                    run.ends.append(instruction)
                case _:
                    pass
    run.sizes = sizes if sizes.changes else None
    recording.last_at = journal.records[-1].at if journal.records else 0
    for key, at in begun_at.items():
        if key not in recording.done and key not in recording.censored:
            recording.censored[key] = recording.last_at - at
    by_group: dict[str, list[tuple[int, Fails | None]]] = defaultdict(list)
    for (task, _), did in recording.done.items():
        assert did.duration_ns is not None
        by_group[recording.specs[task].group].append((did.duration_ns, did.failure))
    recording.by_group = {
        group: sorted(attempts, key=lambda attempt: attempt[0])
        for group, attempts in by_group.items()
    }
    _find_outages(recording)
    return recording


def _find_outages(recording: Recording) -> None:
    fates = recording.fates
    recovered = {task for (task, _), fate in fates.items() if fate == "ok"}
    ran = [
        Ran(
            task,
            attempt,
            recording.specs[task].group,
            begun_at,
            recording.stopped_at[task, attempt],
            fates[task, attempt] != "ok",
            task in recovered,
        )
        for (task, attempt), begun_at in recording.begun_at.items()
        if fates.get((task, attempt), "cancelled") != "cancelled"  # nor such that still run
    ]
    recording.outages = find_outages(ran)
    for outage in recording.outages:
        if outage.sure:
            for one in ran:
                if one.failed and outage.caught(one):
                    recording.hit.setdefault((one.task, one.attempt), outage)


def _take_end(
    recording: Recording, at: int, part: AttemptSucceeded | AttemptFailed, limit_at: int | None
) -> None:
    """An attempt came home, in time or late."""
    key = part.task, part.attempt
    began = recording.begun_at[key]
    failure = _failure(part)
    if key in recording.stopped_at:  # it had been abandoned
        if failure is not None and failure.error == HEEDED:
            # it ended because it was abandoned: how long it would take nobody knows
            recording.censored[key] = recording.stopped_at[key] - began
            recording.heeded[key] = at - recording.stopped_at[key]
            return
    else:
        recording.stopped_at[key] = at
        recording.fates[key] = "ok" if failure is None else failure.error
        if limit_at is not None:
            at = min(at, limit_at)
    cpu = part.cpu_ns
    recording.without_cpu += cpu is None
    recording.done[key] = Behaviour(at - began, failure, None, min(cpu or 0, at - began))


def _failure(part: AttemptSucceeded | AttemptFailed) -> Fails | None:
    if isinstance(part, AttemptSucceeded):
        return None
    after = part.retry_after_ns
    return Fails(1.0, part.error, part.retryable, None if after is None else after / 1e9)
