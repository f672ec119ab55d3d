"""The work that settings are tried on, a journal's or a scenario's, and runs of it.

A sweep, a recommendation and a gate ask the same of both: run this work under that setting with
that seed, and say what it came to. Of a journal there are two kinds of runs, as in ``predict``: the
*recorded* tasks themselves, and a *next* run of tasks like them. Of a scenario every run is both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from runtime.core import CoreSettings
from runtime.journal import Journal
from simulation.outcome import measure
from simulation.recording.read import Recording, read_recording
from simulation.replay import replay
from simulation.scenario import Scenario, read_scenario
from simulation.simulate import simulate
from simulation.statistics import Difference, Interval, intervals, paired
from simulation.statistics.intervals import LEVEL
from simulation.statistics.prediction import least_replications, next_difference, next_value
from simulation.whatif.answer import DishonestError, Fidelity, WhatIf
from simulation.whatif.measures import ALL_MEASURES
from simulation.whatif.nextrun import Sample
from simulation.whatif.parallel import Workers
from simulation.whatif.predict import DEFAULT_RUNS, differences, summarise
from simulation.whatif.replication import Pair, Side, keyed, next_side, recorded_side
from simulation.whatif.settings import changed_settings
from simulation.whatif.trust import fidelity_of, notes_on, refuse_dishonest

__all__ = [
    "Ask",
    "Runs",
    "Work",
    "default_runs",
    "difference_of",
    "open_work",
    "outcome_of",
    "refusal",
    "replicate",
    "run_all",
]

_SEEDS: Final = 1 << 63
#: Settings that one worker runs with the same luck, which is drawn once for them.
_TOGETHER: Final = 4

Kind = Literal["recorded", "next"]


@dataclass(frozen=True)
class Work:
    """What settings are tried on.

    Args:
        path: where it came from, for people.
        kind: ``journal`` or ``scenario``.
        settings: the recorded setting, or the scenario's.
        recording: what the journal tells.
        scenario: the scenario.
        fidelity: how well the unchanged setting reproduces the journal.
        notes: what to bear in mind about any answer, each a sentence.
    """

    path: str
    kind: Literal["journal", "scenario"]
    settings: CoreSettings
    recording: Recording | None = None
    scenario: Scenario | None = None
    fidelity: Fidelity | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def sample(self) -> Sample:
        """The recording as a sample of what the work could have been."""
        assert self.recording is not None
        return Sample(self.recording)

    @property
    def tasks(self) -> int:
        """How many tasks come."""
        if self.recording is not None:
            return len(self.recording.specs)
        assert self.scenario is not None
        return self.scenario.workload.tasks

    def changed(self, changes: Mapping[str, Any]) -> CoreSettings:
        """The setting with changes.

        Args:
            changes: fields of ``WorkerPoolConfig`` and their new values.

        Raises:
            ValueError: an unknown field or a value out of range.
            TypeError: a value of the wrong type.
        """
        return changed_settings(self.settings, changes)


class Ask(msgspec.Struct, frozen=True):
    """Runs that are wanted, all with the same luck.

    Args:
        kind: of the recorded tasks, or of a next run's.
        seed: which luck.
        settings: under which settings.
    """

    kind: Kind
    seed: int
    settings: tuple[CoreSettings, ...]


@dataclass(frozen=True)
class Runs:
    """The runs of one setting.

    Args:
        recorded: of the recorded tasks; one where nothing has to be drawn.
        following: of next runs; none where a single run was asked for. Of a scenario both are the
            same.
    """

    recorded: list[Side]
    following: list[Side]

    @property
    def random(self) -> bool:
        """Whether another seed would have given another answer."""
        return any(side.random for side in (*self.recorded, *self.following))

    def of(self, count: int) -> list[Side]:
        """The recorded tasks' runs, one that is not random as often as is asked for."""
        return self.recorded * count if len(self.recorded) == 1 else self.recorded


def open_work(work: Work | Journal | Scenario | str | Path, *, force: bool = False) -> Work:
    """Read what settings are to be tried on, and see whether it can be relied on.

    Args:
        work: a journal or a scenario, or the path of either; a scenario's ends with ``.toml``.
        force: whether to go on where a prediction would not be honest.

    Returns:
        The work.

    Raises:
        JournalError: the journal cannot be used.
        ScenarioError: the scenario cannot be used.
        NondeterminismError: the journal does not replay.
        DishonestError: the journal is not reproduced well enough to predict from.
        ValueError: no task ended in the journal.
    """
    if isinstance(work, Work):
        return work
    if isinstance(work, str | Path) and str(work).endswith(".toml"):
        return _of_scenario(str(work), read_scenario(work))
    if isinstance(work, Scenario):
        return _of_scenario("scenario", work)
    found = replay(work)
    found.raise_for_divergence()
    path = found.journal.path
    recording = read_recording(found.journal)
    if not recording.run.ends:
        raise ValueError(f"{path}: no task has ended in it: nothing to predict from")
    unchanged = recorded_side(recording, recording.settings, recording.settings.seed)
    fidelity = fidelity_of(recording, unchanged)
    if not force:
        answer = WhatIf(
            fidelity, {}, {}, {}, {}, 1, 0, unchanged.drawn, unchanged.unknown, unchanged.random
        )
        try:
            refuse_dishonest(recording, unchanged, [unchanged], answer)
        except DishonestError as error:
            raise DishonestError(f"{path}: {error}") from None
    opened = Work(path, "journal", recording.settings, recording, None, fidelity)
    return replace(opened, notes=notes_on(recording))


def _of_scenario(path: str, scenario: Scenario) -> Work:
    return Work(path, "scenario", scenario.config.core_settings(), None, scenario)


# ---------------------------------------------------------------------------------------- running


def replicate(work: Work, ask: Ask) -> list[Side]:
    """Runs with one luck.

    Args:
        work: of what.
        ask: which.

    Returns:
        What each setting came to; the same for the same arguments.
    """
    seed = ask.seed % _SEEDS
    if work.recording is None:
        sides = [_of_scenario_run(work, settings, seed) for settings in ask.settings]
    elif ask.kind == "recorded":
        sides = [recorded_side(work.recording, settings, seed) for settings in ask.settings]
    else:
        luck = work.sample.luck(seed)
        sides = [next_side(work.sample, settings, luck) for settings in ask.settings]
    for side in sides:
        measures = side.measures
        ended = measures["completed"] + measures["failed"] + measures["cancelled"]
        measures["amplification"] = measures["attempts"] / ended if ended else math.nan
    return sides


def _of_scenario_run(work: Work, settings: CoreSettings, seed: int) -> Side:
    assert work.scenario is not None
    workload = work.scenario.workload
    run = simulate(workload, keyed(settings, seed), seed)
    return Side(measure(run), workload.random, 0, 0, run.unfinished)


def default_runs(work: Work) -> int:
    """Replications where something is random and nobody said how many.

    Args:
        work: of what.
    """
    return least_replications() if work.kind == "journal" else DEFAULT_RUNS


def run_all(
    workers: Workers[Work],
    work: Work,
    settings: Sequence[CoreSettings],
    runs: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    kinds: Sequence[Kind] = ("recorded", "next"),
) -> list[Runs]:
    """Run several settings with the same seeds (common random numbers).

    Args:
        workers: where.
        work: of what.
        settings: the settings.
        runs: replications of each, ``None`` for the default.
        seed: the first of their seeds; the others count up from it.
        progress: called with the runs done and their number.
        kinds: which kinds of a journal's runs; with a single run, recorded ones only.

    Returns:
        The runs of each setting, in the order of the seeds.
    """
    count = runs or default_runs(work)
    done = 0
    total = len(settings)

    def run(kind: Kind, which: Sequence[int], seeds: range) -> list[list[Side]]:
        """The sides of some of the settings, by setting."""
        nonlocal done
        asks, places = [], []
        for key in seeds:
            for first in range(0, len(which), _TOGETHER):
                part = which[first : first + _TOGETHER]
                asks.append(Ask(kind, key, tuple(settings[at] for at in part)))
                places.append(part)
        before = done

        def tell(now: int) -> None:
            nonlocal done
            done = before + sum(len(part) for part in places[:now])
            if progress is not None:
                progress(done, total)

        found: list[list[Side]] = [[] for _ in settings]
        for part, sides in zip(places, workers.map(replicate, asks, tell), strict=True):
            for at, side in zip(part, sides, strict=True):
                found[at].append(side)
        return found

    everyone = range(len(settings))
    if work.kind == "scenario":
        total = count * len(settings)
        return [Runs(sides, sides) for sides in run("next", everyone, range(seed, seed + count))]
    following: list[list[Side]] = [[] for _ in settings]
    wants_next = "next" in kinds and count > 1
    total += count * len(settings) * wants_next
    recorded = run("recorded", everyone, range(seed, seed + 1))
    drawn = [at for at in everyone if recorded[at][0].random]
    total += (count - 1) * len(drawn)
    for at, more in enumerate(run("recorded", drawn, range(seed + 1, seed + count))):
        recorded[at] += more
    if wants_next:
        following = run("next", everyone, range(seed, seed + count))
    return [Runs(*both) for both in zip(recorded, following, strict=True)]


# -------------------------------------------------------------------------------------- comparing


def outcome_of(work: Work, runs: Runs) -> dict[str, Interval]:
    """What the runs of one setting came to, as ``run`` and ``replay --set`` would say it.

    Args:
        work: of what.
        runs: the runs.

    Returns:
        Of a scenario: each measure's mean and where the true mean lies. Of a journal: what the
        recorded tasks came to and where the next run lies.
    """
    if work.kind == "scenario":
        return intervals([side.measures for side in runs.recorded])
    summary = summarise(runs.recorded, runs.following, work.tasks)
    mean = math.fsum(_values(runs.recorded, "amplification")) / len(runs.recorded)
    if runs.following:
        found = next_value(_values(runs.following, "amplification"))
        found = replace(found, mean=mean, low=min(mean, found.low), high=max(mean, found.high))
    else:
        found = Interval(mean, math.nan, math.nan, LEVEL, "none")
    summary["amplification"] = found
    return summary


def difference_of(work: Work, baseline: Runs, variant: Runs) -> dict[str, Difference]:
    """The differences of all measures between two settings, pair by pair.

    Args:
        work: of what.
        baseline: runs of the one.
        variant: runs of the other, with the same seeds.

    Returns:
        Variant minus baseline; of a scenario the difference of the means, of a journal what it is
        for the recorded tasks and where the next run's lies.
    """
    if work.kind == "scenario":
        return {
            name: paired(_values(baseline.recorded, name), _values(variant.recorded, name))
            for name in ALL_MEASURES
        }
    count = max(len(baseline.recorded), len(variant.recorded))
    recorded = _pairs(baseline.of(count), variant.of(count))
    found = differences(recorded, _pairs(baseline.following, variant.following), work.tasks)
    of_recorded = paired(
        _values(baseline.of(count), "amplification"), _values(variant.of(count), "amplification")
    )
    mean = of_recorded.mean
    if baseline.following:
        one = next_difference(
            _values(baseline.following, "amplification"),
            _values(variant.following, "amplification"),
        )
        one = replace(one, mean=mean, low=min(mean, one.low), high=max(mean, one.high))
    else:
        one = Difference(mean, math.nan, math.nan, LEVEL, "none")
    found["amplification"] = one
    return found


def _pairs(baseline: Sequence[Side], variant: Sequence[Side]) -> list[Pair]:
    return [Pair(*both) for both in zip(baseline, variant, strict=True)]


def _values(sides: Sequence[Side], name: str) -> list[float]:
    return [side.measures[name] for side in sides]


def refusal(runs: Runs) -> str | None:
    """Why a prediction from these runs would not be honest.

    Args:
        runs: of one setting.

    Returns:
        The reason, ``None`` where there is none.
    """
    unknown = max(side.unknown for side in runs.recorded)
    if unknown:
        return (
            f"it lets {unknown} attempts run for longer than the recording knows: they were "
            f"abandoned at their timeout, and none of their group took longer"
        )
    unfinished = max(side.unfinished for side in runs.recorded)
    if unfinished:
        return f"up to {unfinished} tasks never end: their attempts hold the workers for ever"
    return None
