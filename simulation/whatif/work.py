"""The work that settings are tried on, a journal's or a scenario's, and one run of it.

A sweep, a recommendation and a gate ask the same of both: run this work under that setting with
that seed, and say what it came to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from runtime.core import CoreSettings
from runtime.journal import Journal
from simulation.machine.calibration import Calibration
from simulation.outcome import measure
from simulation.recording.read import Recording, read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.replay import replay
from simulation.scenario import Scenario, read_scenario
from simulation.simulate import Run, simulate
from simulation.statistics import Interval, intervals
from simulation.whatif.answer import DishonestError, Fidelity
from simulation.whatif.contention import meet
from simulation.whatif.parallel import Workers
from simulation.whatif.predict import DEFAULT_RUNS
from simulation.whatif.settings import changed_settings
from simulation.whatif.trust import LARGEST_ERROR

__all__ = [
    "Ask",
    "Replication",
    "Work",
    "open_work",
    "outcome_of",
    "refusal",
    "replicate",
    "run_all",
]

_SEEDS: Final = 1 << 63


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
    """

    path: str
    kind: Literal["journal", "scenario"]
    settings: CoreSettings
    recording: Recording | None = None
    scenario: Scenario | None = None
    fidelity: Fidelity | None = None

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
    """One run that is wanted.

    Args:
        settings: under which.
        seed: with which.
    """

    settings: CoreSettings
    seed: int


class Replication(msgspec.Struct, frozen=True):
    """What one run came to.

    Args:
        measures: by name, those of ``ALL_MEASURES``.
        random: whether another seed would have given another run.
        drawn: attempts that the recording does not have.
        unknown: attempts of which the recording cannot know how long they take.
        unfinished: tasks that never ended.
    """

    measures: dict[str, float]
    random: bool
    drawn: int = 0
    unknown: int = 0
    unfinished: int = 0


def open_work(
    work: Work | Journal | Scenario | str | Path,
    *,
    force: bool = False,
    calibration: Calibration | None = None,
) -> Work:
    """Read what settings are to be tried on, and see whether it can be relied on.

    Args:
        work: a journal or a scenario, or the path of either; a scenario's ends with ``.toml``.
        force: whether to go on where a prediction would not be honest.
        calibration: what the machine costs, where attempts of a journal share a CPU.

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
    recording = read_recording(found.journal)
    if not recording.run.ends:
        raise ValueError(f"{found.journal.path}: no task has ended in it: nothing to predict from")
    recording = meet(recording, calibration=calibration).recorded
    opened = Work(found.journal.path, "journal", recording.settings, recording)
    fidelity, reason = _fidelity(opened, recording)
    if reason is not None and not force:
        raise DishonestError(reason)
    return replace(opened, fidelity=fidelity)


def _of_scenario(path: str, scenario: Scenario) -> Work:
    return Work(path, "scenario", scenario.config.core_settings(), None, scenario)


def _fidelity(work: Work, recording: Recording) -> tuple[Fidelity, str | None]:
    """How well the unchanged setting reproduces the recording, and why that is not enough."""
    recorded = measure(recording.run)
    unchanged = replicate(work, Ask(work.settings, work.settings.seed)).measures
    seconds, simulated = recorded["makespan_seconds"], unchanged["makespan_seconds"]
    error = (simulated - seconds) / seconds if seconds else (0.0 if not simulated else math.nan)
    fidelity = Fidelity(error, seconds, simulated)
    left = len(recording.specs) - len(recording.run.ends)
    if left:
        return fidelity, (
            f"{work.path}: {left} of {len(recording.specs)} tasks had not ended where the journal "
            f"ends: its process was killed or still runs, so there is no whole run to compare with"
        )
    if not abs(error) <= LARGEST_ERROR:
        return fidelity, (
            f"{work.path}: the unchanged setting reproduces the recorded makespan with "
            f"{error:+.1%} error; more than {LARGEST_ERROR:.0%} is too much to predict from"
        )
    for name in ("completed", "failed", "cancelled", "attempts"):
        of = recorded["attempts"] if name == "attempts" else len(recording.run.ends)
        if abs(unchanged[name] - recorded[name]) > LARGEST_ERROR * of:
            return fidelity, (
                f"{work.path}: the unchanged setting gives {unchanged[name]:.0f} {name} where "
                f"{recorded[name]:.0f} were recorded; more than {LARGEST_ERROR:.0%} apart is too "
                f"much to predict from"
            )
    return fidelity, None


def replicate(work: Work, ask: Ask) -> Replication:
    """One run.

    Args:
        work: of what.
        ask: under which setting, with which seed.

    Returns:
        What it came to; the same for the same arguments.
    """
    settings, seed = ask.settings, ask.seed % _SEEDS
    jittered = settings.jitter != "none"
    if jittered:
        settings = msgspec.structs.replace(settings, seed=seed)
    if work.recording is None:
        assert work.scenario is not None
        run = simulate(work.scenario.workload, settings, seed)
        return Replication(_measures(run), work.scenario.workload.random, unfinished=run.unfinished)
    workload = RecordedWorkload(work.recording, settings)
    run = simulate(workload, settings, seed)
    measures = _measures(run)
    return Replication(
        measures,
        workload.random or (jittered and measures["retries"] > 0),
        workload.drawn,
        workload.unknown_in(run),
        run.unfinished,
    )


def _measures(run: Run) -> dict[str, float]:
    measures = measure(run)
    ended = len(run.ends)
    measures["amplification"] = measures["attempts"] / ended if ended else math.nan
    return measures


def outcome_of(replications: Sequence[Replication]) -> dict[str, Interval]:
    """What some runs of one setting came to.

    Args:
        replications: the runs.

    Returns:
        The mean of each measure, with its interval.
    """
    return intervals([one.measures for one in replications])


def refusal(replications: Sequence[Replication]) -> str | None:
    """Why a prediction from these runs would not be honest.

    Args:
        replications: of one setting.

    Returns:
        The reason, ``None`` where there is none.
    """
    unknown = max(one.unknown for one in replications)
    if unknown:
        return (
            f"it lets {unknown} attempts run for longer than the recording knows: they were "
            f"abandoned at their timeout, and none of their group took longer"
        )
    unfinished = max(one.unfinished for one in replications)
    if unfinished:
        return f"up to {unfinished} tasks never end: their attempts hold the workers for ever"
    return None


def run_all(
    workers: Workers[Work],
    settings: Sequence[CoreSettings],
    runs: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Replication]]:
    """Run several settings with the same seeds (common random numbers).

    Args:
        workers: where.
        settings: the settings.
        runs: replications of each; by default 1 where nothing is random and 30 where something is.
        seed: the first of their seeds; the others count up from it.
        progress: called with the runs done and their number.

    Returns:
        The replications of each setting, in the order of the seeds.
    """
    found: list[list[Replication]] = [[] for _ in settings]
    asked = 1 if runs is None else runs
    done = 0
    while len(found[0]) < asked:
        seeds = range(seed + len(found[0]), seed + asked)
        asks = [Ask(one, key) for key in seeds for one in settings]
        total = done + len(asks)

        def tell(now: int, before: int = done, total: int = total) -> None:
            if progress is not None:
                progress(before + now, total)

        results = workers.map(replicate, asks, tell)
        done = total
        for at, result in enumerate(results):
            found[at % len(settings)].append(result)
        if runs is None and asked == 1 and any(one.random for one in results):
            asked = DEFAULT_RUNS
    return found
