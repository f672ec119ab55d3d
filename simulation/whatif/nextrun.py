"""The next run of the same kind of work, as far as one recording tells.

Within each group the recorded tasks are drawn again in two stages (``simulation.statistics.
resampling``): a pool first, then the next run's tasks from it, each with all its recorded attempts,
so that one that fails stays one that fails. Attempts that are drawn because the recording has none
come from the pool, too, and not from all that were recorded: how often a retry helps is as
uncertain as how long tasks take.

On top of that, now and then, comes what the recording has not shown: an attempt longer than any of
its group (``simulation.statistics.tails``), and a failure (``simulation.statistics.unseen``).

Both settings of a what-if get the same luck.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Final

from msgspec.structs import replace as replace_in

from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from simulation.models import Behaviour, Fails
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.recording.read import Recording
from simulation.recording.workload import Beyond, RecordedWorkload
from simulation.statistics.resampling import two_stages
from simulation.statistics.tails import Curve, Tail, tail_of
from simulation.statistics.unseen import unseen_rate
from simulation.workload import Sampler

__all__ = ["Luck", "NextRun", "Sample"]

_KEY: Final = 0x4E45_5854  # keeps these draws apart from others under the same seed


@dataclass(frozen=True)
class Luck:
    """What befalls one next run, under whatever setting.

    Args:
        seed: keys the draws of attempts.
        sources: the recorded task that each task behaves like.
        pool: the recorded tasks whose attempts are drawn from, as often as they are named.
        unseen: a group's probability that an attempt fails which was recorded to succeed.
        curves: how long the longest of a group take, in nanoseconds.
    """

    seed: int
    sources: dict[int, int]
    pool: list[int]
    unseen: dict[str, float]
    curves: dict[str, Curve]


class Sample:
    """A recording as a sample of what the work could have been.

    Args:
        recording: what was recorded.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._tasks: dict[str, list[int]] = defaultdict(list)
        for task, spec in recording.specs.items():
            self._tasks[spec.group].append(task)
        self.tails: dict[str, Tail] = {}
        self.failures: dict[str, Fails] = {}
        for group, attempts in recording.by_group.items():
            self.tails[group] = tail_of([took for took, _ in attempts])
            failed = [failure for _, failure in attempts if failure is not None]
            self.failures[group] = failed[0] if failed else Fails(error="Unseen")

    def luck(self, seed: int) -> Luck:
        """Draw what befalls one next run.

        Args:
            seed: keys it.
        """
        draw = Random((_KEY << 64) | seed).random
        sources: dict[int, int] = {}
        all_pools: list[int] = []
        unseen: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for group in sorted(self._tasks):
            tasks = self._tasks[group]
            pool, drawn = two_stages(tasks, draw)
            sources.update(zip(tasks, drawn, strict=True))
            all_pools += pool
            seen = len(self.recording.by_group.get(group, ()))
            if seen:
                unseen[group] = unseen_rate(seen, draw())
                curves[group] = self.tails[group].drawn(draw)
        return Luck(seed, sources, all_pools, unseen, curves)


class NextRun(RecordedWorkload):
    """A next run under a setting, as a workload.

    Args:
        sample: the recording.
        settings: under which it is to be simulated.
        luck: what befalls it.
        beyond: what an attempt does that takes longer than all that were seen.
        arrivals: when tasks come.
    """

    def __init__(
        self,
        sample: Sample,
        settings: CoreSettings,
        luck: Luck,
        *,
        beyond: Beyond = "never",
        arrivals: Arrivals = RECORDED,
    ) -> None:
        super().__init__(
            sample.recording,
            settings,
            luck.sources,
            pool=luck.pool,
            beyond=beyond,
            arrivals=arrivals,
        )
        self._sample = sample
        self._luck = luck

    @property
    def random(self) -> bool:
        """Another seed gives another run."""
        return True

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: as drawn, and now and then something that was not recorded."""
        as_drawn = super().sampler(seed)
        specs = self._sample.recording.specs
        failures, unseen = self._sample.failures, self._luck.unseen
        curves = self._luck.curves
        chances = {group: curve.beyond() for group, curve in curves.items()}

        def sample(task: int, attempt: int) -> Behaviour:
            behaviour = as_drawn(task, attempt)
            group = specs[task].group
            curve = curves.get(group)
            took = behaviour.duration_ns
            if curve is None or took is None:
                return behaviour
            u = uniform(seed, task, attempt, Purpose.CHOICE)
            if u < chances[group]:
                longer = round(curve.exceed(1.0 - u / chances[group]))
                return replace_in(behaviour, duration_ns=longer)
            if took > curve.tail.foot:
                moved = max(behaviour.cpu_ns, round(curve.tail.between(took, u)))
                behaviour = replace_in(behaviour, duration_ns=moved)
            if behaviour.failure is None and u >= 1.0 - unseen[group]:
                return replace_in(behaviour, failure=failures[group])
            return behaviour

        return sample
