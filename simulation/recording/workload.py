"""A recording as a workload under a setting.

An attempt does what it did in the recording, by (task, attempt). Two kinds the recording does not
tell:

* one that is *censored*: it took longer than it was given. Where a setting gives it no longer than
  that, it is abandoned again; one that heeded its token heeds again, after as long. Where it gives
  longer, a duration is drawn from those of its group that are longer; where there are none, the
  recording cannot know;
* one that never happened (a retry that is only allowed now): what it does is drawn, duration and
  outcome together, from the attempts of its group.

Draws are keyed by (seed, task, attempt), so that variants share their luck.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from runtime.core.records import UNSET
from simulation.clock import Arrival
from simulation.models import Behaviour
from simulation.recording.read import Recording
from simulation.simulate import Run
from simulation.workload import Sampler

__all__ = ["RecordedWorkload"]


class RecordedWorkload:
    """A recording under a setting.

    Args:
        recording: what was recorded.
        settings: under which it is to be simulated.
        sources: the recorded task that a task behaves like, by its number; itself where it is not
            there. So recorded tasks are resampled.

    Attributes:
        drawn: attempts that were drawn so far, since the recording does not have them.
        unknown: attempts so far of which the recording cannot know how long they take, with the
            nanoseconds of which it knows that they take longer.
    """

    def __init__(
        self,
        recording: Recording,
        settings: CoreSettings,
        sources: Mapping[int, int] | None = None,
    ) -> None:
        self._recording = recording
        self._settings = settings
        self._sources = {} if sources is None else sources
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
        sources = self._sources

        def sample(task: int, attempt: int) -> Behaviour:
            source = sources.get(task, task)
            known = done.get((source, attempt))
            if known is not None:
                return known
            bound = recording.censored.get((source, attempt))
            if bound is None:
                return self._draw(seed, task, attempt, 0)
            limit = self._limit_ns(task)
            if limit is not None and limit <= bound:
                behaviour = Behaviour(None)
            else:
                behaviour = self._draw(seed, task, attempt, bound)
            heeds = recording.heeded.get((source, attempt))
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
