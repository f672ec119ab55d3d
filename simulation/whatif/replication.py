"""One replication of a what-if: both settings, with the recorded tasks and with the next run's.

A replication is a function of the recording, the two settings and a number, and of nothing else:
whichever process makes it, in whatever order, it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from runtime.core import CoreSettings
from simulation.machine.machine import Machine
from simulation.outcome import measure
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.recording.read import Recording
from simulation.recording.workload import Beyond, RecordedWorkload
from simulation.simulate import simulate
from simulation.whatif.nextrun import Luck, NextRun, Sample

__all__ = ["Pair", "Side", "keyed", "next_pair", "next_side", "recorded_pair", "recorded_side"]


@dataclass(frozen=True)
class Side:
    """What one run under one setting came to.

    Args:
        measures: by name.
        random: whether another seed would have given another run.
        drawn: attempts that the recording does not have.
        unknown: attempts of which the recording cannot know how long they take.
        unfinished: tasks that never ended, or never came since another one never ended.
        assumed: of those drawn, retries that were taken to be like any attempt.
    """

    measures: dict[str, float]
    random: bool
    drawn: int
    unknown: int
    unfinished: int
    assumed: int = 0


@dataclass(frozen=True)
class Pair:
    """Both settings with the same luck.

    Args:
        baseline: the recorded setting.
        variant: the changed one; what nobody knows the end of never ends.
        shortest: the changed one; what nobody knows the end of ends as soon as it can.
    """

    baseline: Side
    variant: Side
    shortest: Side


def recorded_side(
    recording: Recording,
    settings: CoreSettings,
    seed: int,
    arrivals: Arrivals = RECORDED,
    beyond: Beyond = "never",
    machine: Machine | None = None,
) -> Side:
    """The recorded tasks themselves under a setting.

    Args:
        recording: what was recorded.
        settings: the setting.
        seed: keys what has to be drawn.
        arrivals: when tasks come.
        beyond: what an attempt does that takes longer than all that were seen.
        machine: what attempts meet, where that is not as recorded.
    """
    workload = RecordedWorkload(recording, settings, beyond=beyond, arrivals=arrivals)
    return _run(workload, settings, seed, machine)


def recorded_pair(
    recording: Recording,
    settings: CoreSettings,
    seed: int,
    arrivals: Arrivals = RECORDED,
    machine: Machine | None = None,
) -> Pair:
    """The recorded tasks themselves under the recorded and a changed setting.

    Args:
        recording: what was recorded.
        settings: the changed setting.
        seed: keys what has to be drawn.
        arrivals: when tasks come in the changed setting.
        machine: what attempts meet in the changed setting, where that is not as recorded.
    """
    variant = recorded_side(recording, settings, seed, arrivals, machine=machine)
    shortest = variant
    if variant.unknown:
        shortest = recorded_side(recording, settings, seed, arrivals, "shortest", machine)
    baseline = recorded_side(recording, recording.settings, seed, arrivals.baseline)
    return Pair(baseline, variant, shortest)


def next_pair(
    sample: Sample,
    settings: CoreSettings,
    seed: int,
    arrivals: Arrivals = RECORDED,
    machine: Machine | None = None,
) -> Pair:
    """A next run of the same kind of work, under the recorded and a changed setting.

    Args:
        sample: the recording as a sample.
        settings: the changed setting.
        seed: keys the draws.
        arrivals: when tasks come in the changed setting.
        machine: what attempts meet in the changed setting, where that is not as recorded.
    """
    luck = sample.luck(seed)
    variant = next_side(sample, settings, luck, arrivals, machine=machine)
    shortest = variant
    if variant.unknown:
        shortest = next_side(sample, settings, luck, arrivals, "shortest", machine)
    baseline = next_side(sample, sample.recording.settings, luck, arrivals.baseline)
    return Pair(baseline, variant, shortest)


def keyed(settings: CoreSettings, seed: int) -> CoreSettings:
    """With another seed for the jitter, where there is any.

    Args:
        settings: the setting.
        seed: the seed.
    """
    return settings if settings.jitter == "none" else msgspec.structs.replace(settings, seed=seed)


def next_side(
    sample: Sample,
    settings: CoreSettings,
    luck: Luck,
    arrivals: Arrivals = RECORDED,
    beyond: Beyond = "never",
    machine: Machine | None = None,
) -> Side:
    """A next run under one setting.

    Args:
        sample: the recording as a sample.
        settings: the setting.
        luck: what befalls it.
        arrivals: when tasks come.
        beyond: what an attempt does that takes longer than all that were seen.
        machine: what attempts meet, where that is not as recorded.
    """
    workload = NextRun(sample, settings, luck, beyond=beyond, arrivals=arrivals)
    return _run(workload, settings, luck.seed, machine)


def _run(
    workload: RecordedWorkload | NextRun, settings: CoreSettings, seed: int, machine: Machine | None
) -> Side:
    workload.machine = machine or workload.machine
    run = simulate(workload, keyed(settings, seed), seed)
    measures = measure(run)
    return Side(
        measures,
        workload.random or (settings.jitter != "none" and measures["retries"] > 0),
        workload.drawn,
        workload.unknown_in(run),
        run.unfinished + workload.waiting,
        workload.assumed,
    )
