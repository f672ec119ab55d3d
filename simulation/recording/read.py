"""What a journal tells of the work: what each attempt did, by (task, attempt).

An attempt takes as long as it took from the core's decision to start it to the core's decision on
its end, so hand-over is part of it, as it was then. An attempt that was *abandoned* and came home
late took until then. One that never came home, or only because it heeded its token, took longer
than it was given: it is *censored*.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

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
from simulation.models import Behaviour, Fails
from simulation.replay import parts_of
from simulation.simulate import HEEDED, Run

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
        by_group: what attempts did, by group, the shortest first.
        run: how it went, to be measured like a simulated run.
    """

    settings: CoreSettings
    arrivals: list[Arrival] = field(default_factory=list)
    specs: dict[int, TaskSubmitted] = field(default_factory=dict)
    done: dict[tuple[int, int], Behaviour] = field(default_factory=dict)
    censored: dict[tuple[int, int], int] = field(default_factory=dict)
    heeded: dict[tuple[int, int], int] = field(default_factory=dict)
    by_group: dict[str, list[tuple[int, Fails | None]]] = field(default_factory=dict)
    run: Run = field(default_factory=lambda: Run(1))


def read_recording(journal: Journal) -> Recording:
    """Take from a journal what a what-if needs.

    Args:
        journal: a journal that replays.

    Returns:
        The recording.
    """
    recording = Recording(journal.header.settings)
    run = recording.run = Run(journal.header.settings.max_workers)
    started: dict[tuple[int, int], int] = {}
    by_group: dict[str, list[tuple[int, Fails | None]]] = defaultdict(list)
    for record in journal.records:
        at = record.at
        for part in parts_of(record):
            match part:
                case AttemptSucceeded() | AttemptFailed():
                    key = part.task, part.attempt
                    if key in recording.censored and getattr(part, "error", "") == HEEDED:
                        # it ended because it was abandoned: how long it would take nobody knows
                        recording.heeded[key] = at - started[key] - recording.censored[key]
                        continue
                    took = at - started[key]
                    failure = _failure(part)
                    recording.done[key] = Behaviour(took, failure)
                    recording.censored.pop(key, None)
                    by_group[recording.specs[part.task].group].append((took, failure))
                case TaskSubmitted():
                    recording.specs[part.task] = part
                    recording.arrivals.append((at, part))
                case TimeElapsed():
                    pass
                case _:
                    recording.arrivals.append((at, part))  # type: ignore[arg-type]  # not nested
        for instruction in record.instructions:
            match instruction:
                case StartAttempt(task=task, attempt=attempt):
                    started[task, attempt] = at
                case AbandonAttempt(task=task, attempt=attempt, outcome=outcome):
                    recording.censored[task, attempt] = at - started[task, attempt]
                    run.timeouts += outcome == "timeout"
                case FinishTask():
                    run.ended_at_ns.append(at)
                    run.ends.append(instruction)
                case _:
                    pass
    for (task, attempt), at in started.items():
        if (task, attempt) not in recording.done and (task, attempt) not in recording.censored:
            # still running where the journal ends
            recording.censored[task, attempt] = max(0, journal.records[-1].at - at)
    recording.by_group = {
        group: sorted(attempts, key=lambda attempt: attempt[0])
        for group, attempts in by_group.items()
    }
    return recording


def _failure(part: AttemptSucceeded | AttemptFailed) -> Fails | None:
    if isinstance(part, AttemptSucceeded):
        return None
    after = part.retry_after_ns
    return Fails(1.0, part.error, part.retryable, None if after is None else after / 1e9)
