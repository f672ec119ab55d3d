"""A journal's run, and what-if variants of it, as timelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.core.records import AbandonAttempt, FinishTask, TaskSubmitted
from runtime.journal import Journal
from simulation.outcome import measure
from simulation.recording.following import following_of
from simulation.recording.read import read_recording
from simulation.simulate import Run
from simulation.sizes import Sizes
from simulation.statistics.intervals import Interval, intervals
from simulation.timeline.attempts import Timeline, read_timeline
from simulation.timeline.lateness import Splitter
from simulation.whatif.answer import WhatIf
from simulation.whatif.predict import variant, what_if

__all__ = ["TimedRun", "recorded_measures", "recorded_run", "simulated_run"]


@dataclass(frozen=True)
class TimedRun:
    """One run that is shown.

    Args:
        name: what it is called.
        timeline: its attempts.
        splitter: splits its tasks' time.
        answer: of a simulated one, what the what-if says of its setting.
    """

    name: str
    timeline: Timeline
    splitter: Splitter
    answer: WhatIf | None = None


def recorded_run(journal: Journal, name: str = "recorded") -> TimedRun:
    """A journal's own run.

    Args:
        journal: a journal that replays.
        name: what the run is called.
    """
    steps = ((record.at, record.stimulus, record.instructions) for record in journal.records)
    timeline = read_timeline(journal.header.settings, steps)
    timeline.followers = _followers(journal)
    return TimedRun(name, timeline, Splitter(timeline, _at_once(journal)))


def simulated_run(
    journal: Journal,
    name: str,
    changes: Mapping[str, Any],
    *,
    seed: int = 0,
    force: bool = False,
) -> TimedRun:
    """A run of a journal's work under another setting, or under its own.

    Args:
        journal: a journal that replays.
        name: what the run is called.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        seed: keys what is drawn.
        force: whether to answer also where the answer would not be honest.

    Returns:
        One run of it, the first seed's, with the what-if's answer over all of them.

    Raises:
        DishonestError: the recording does not support it.
        ValueError: an unknown field or a value out of range.
    """
    answer = what_if(journal, force=force, seed=seed, **changes)
    settings, steps = variant(journal, changes, seed)
    timeline = read_timeline(settings, steps)
    timeline.followers = _followers(journal)
    return TimedRun(name, timeline, Splitter(timeline, _at_once(journal)), answer)


def recorded_measures(journal: Journal) -> dict[str, Interval]:
    """What a journal's own run came to; intervals without width.

    Args:
        journal: a journal.
    """
    sizes = Sizes(journal.header.settings.max_workers)
    run = Run(sizes.workers, sizes=sizes)
    for record in journal.records:
        sizes.take(record.at, record.stimulus, record.instructions)
        for instruction in record.instructions:
            if isinstance(instruction, FinishTask):
                run.ended_at_ns.append(record.at)
                run.ends.append(instruction)
            elif isinstance(instruction, AbandonAttempt):
                run.timeouts += instruction.outcome == "timeout"
    return intervals([measure(run)])


def _followers(journal: Journal) -> frozenset[int]:
    """The tasks whose submission followed the end of others, in the recording and after it."""
    recording = read_recording(journal)
    came = [recording.arrivals[index][1] for index in following_of(recording).leaders]
    return frozenset(part.task for part in came if isinstance(part, TaskSubmitted))


def _at_once(journal: Journal) -> int:
    return 1 if journal.header.gil else journal.header.cores
