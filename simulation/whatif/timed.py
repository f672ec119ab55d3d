"""A journal's run, and what-if variants of it, as timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from runtime.core import CoreSettings
from runtime.core.records import AbandonAttempt, FinishTask
from runtime.journal import Journal
from runtime.observers import Step
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.outcome import measure
from simulation.recording.read import read_recording
from simulation.simulate import Run
from simulation.sizes import Sizes
from simulation.statistics.intervals import Interval, intervals
from simulation.timeline.attempts import Timeline, read_timeline
from simulation.timeline.lateness import Splitter
from simulation.whatif.answer import WhatIf
from simulation.whatif.contention import backends_of
from simulation.whatif.predict import variant, what_if

__all__ = ["Asked", "TimedRun", "changed_run", "recorded_measures", "recorded_run"]
__all__ += ["simulated_run", "unchanged_run"]


class Asked(TypedDict, total=False):
    """How runs are simulated.

    Args:
        seed: keys what is drawn.
        force: whether to answer also where the answer would not be honest.
        calibration: what the machine costs, as for ``what_if``.
        backends: what attempts call, as for ``what_if``.
    """

    seed: int
    force: bool
    calibration: Calibration | None
    backends: Sequence[Backend] | str | Path


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
    return TimedRun(name, timeline, Splitter(timeline, _at_once(journal)))


def simulated_run(
    journal: Journal,
    name: str,
    changes: Mapping[str, Any],
    *,
    runs: int | None = None,
    **asked: Unpack[Asked],
) -> TimedRun:
    """A run of a journal's work under another setting, or under its own.

    Args:
        journal: a journal that replays.
        name: what the run is called.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        runs: replications of the answer; 1 where only this run is shown, which is all that has to
            be honest then.
        **asked: see ``Asked``.

    Returns:
        One run of it, the first seed's, with the what-if's answer over all of them.

    Raises:
        DishonestError: the recording does not support it.
        ValueError: an unknown field or a value out of range.
    """
    answer = what_if(journal, runs=runs, **asked, **changes)
    timeline = read_timeline(*changed_run(journal, changes, **asked))
    return TimedRun(name, timeline, Splitter(timeline, _at_once(journal)), answer)


def changed_run(
    journal: Journal, changes: Mapping[str, Any], **asked: Unpack[Asked]
) -> tuple[CoreSettings, list[Step]]:
    """The one run that a what-if is told by, step by step; nothing is checked.

    Args:
        journal: a journal that replays.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        **asked: see ``Asked``.

    Returns:
        The setting, and what went into the core and came out.
    """
    return variant(
        journal,
        changes,
        asked.get("seed", 0),
        calibration=asked.get("calibration"),
        backends=asked.get("backends", ()),
    )


def unchanged_run(journal: Journal, name: str, answer: WhatIf, **asked: Unpack[Asked]) -> TimedRun:
    """A run of a journal's work under its own setting, where a what-if of it has been made.

    Args:
        journal: a journal that replays.
        name: what the run is called.
        answer: a what-if of the same journal, which has the unchanged setting in it.
        **asked: see ``Asked``, as for that what-if; backends that are new are left out.
    """
    given = backends_of(read_recording(journal), asked.get("backends", ()))
    asked["backends"] = tuple(backend for backend in given if backend.recorded)
    timeline = read_timeline(*changed_run(journal, {}, **asked))
    own = replace(answer, variant=answer.baseline, difference={}, changes={}, backends=())
    return TimedRun(name, timeline, Splitter(timeline, _at_once(journal)), own)


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


def _at_once(journal: Journal) -> int:
    return 1 if journal.header.gil else journal.header.cores
