"""A recording as a workload: what each attempt did, by (task, attempt).

An attempt takes as long as it took from the core's decision to start it to the core's decision on
its end, so hand-over is part of it, as it was then. Three kinds of attempt the recording does not
tell in full:

* one that was *abandoned* and came home late: it took until then;
* one that was abandoned and never came home, or only because it heeded its token: it took longer
  than it was given (it is *censored*). One that heeded heeds again, after as long. Where a setting
  gives it no longer than that, it is abandoned again. Where it gives longer, a duration is drawn
  from those of its group that are longer; where there are none, the recording cannot know;
* one that never happened (a retry that is only allowed now): what it does is drawn, duration and
  outcome together, from the attempts of its group.

Draws are keyed by (seed, task, attempt), so that variants share their luck.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from runtime.core.records import (
    UNSET,
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
from simulation.workload import Sampler

__all__ = ["RecordedWorkload", "Recording", "read_recording"]


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


class RecordedWorkload:
    """A recording under a setting.

    Args:
        recording: what was recorded.
        settings: under which it is to be simulated.

    Attributes:
        drawn: attempts that were drawn so far, since the recording does not have them.
        unknown: attempts so far of which the recording cannot know how long they take, with the
            nanoseconds of which it knows that they take longer.
    """

    def __init__(self, recording: Recording, settings: CoreSettings) -> None:
        self._recording = recording
        self._settings = settings
        self.drawn = 0
        self.unknown: dict[tuple[int, int], int] = {}

    @property
    def random(self) -> bool:
        """Whether another seed would have given another run, so far."""
        return self.drawn > 0

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        """What came from outside, at the recorded instants."""
        return iter(self._recording.arrivals)

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: as recorded, or drawn where they were not."""
        recording = self._recording
        done = recording.done

        def sample(task: int, attempt: int) -> Behaviour:
            known = done.get((task, attempt))
            if known is not None:
                return known
            bound = recording.censored.get((task, attempt))
            if bound is None:
                return self._draw(seed, task, attempt, 0)
            limit = self._limit_ns(task)
            if limit is not None and limit <= bound:
                behaviour = Behaviour(None)
            else:
                behaviour = self._draw(seed, task, attempt, bound)
            heeds = recording.heeded.get((task, attempt))
            return behaviour if heeds is None else replace(behaviour, heeds_after_ns=heeds)

        return sample

    def unknown_in(self, run: Run) -> int:
        """How many attempts of a run went on for longer than the recording knows of.

        Args:
            run: a run of this workload.
        """
        return sum(
            run.abandoned_after_ns.get(key, bound + 1) > bound
            for key, bound in self.unknown.items()
        )

    def _limit_ns(self, task: int) -> int | None:
        own = self._recording.specs[task].timeout_ns
        return self._settings.timeout_ns if own is UNSET else own

    def _draw(self, seed: int, task: int, attempt: int, longer_than_ns: int) -> Behaviour:
        """One of the attempts of the task's group, each equally likely."""
        seen = self._recording.by_group.get(self._recording.specs[task].group, [])
        first = bisect_right(seen, longer_than_ns, key=lambda one: one[0])
        if first == len(seen):
            self.unknown[task, attempt] = longer_than_ns
            return Behaviour(None)
        self.drawn += 1
        u = uniform(seed, task, attempt, Purpose.DURATION)
        took, failure = seen[first + int(u * (len(seen) - first))]
        return Behaviour(took, failure)
