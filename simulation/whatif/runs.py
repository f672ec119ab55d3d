"""Runs of some work under some settings, all with the same luck.

Of a journal there are two kinds of runs, as in ``predict``: the *recorded* tasks themselves, and a
*next* run of tasks like them. Of a scenario every run is both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from runtime.core import CoreSettings
from simulation.outcome import measure
from simulation.recording.workload import Beyond
from simulation.simulate import simulate
from simulation.statistics.prediction import least_replications
from simulation.whatif.nextrun import Luck
from simulation.whatif.parallel import Workers
from simulation.whatif.predict import DEFAULT_RUNS
from simulation.whatif.replication import Side, keyed, next_side, recorded_side
from simulation.whatif.work import Work

__all__ = [
    "Ask",
    "Ends",
    "Kind",
    "Runs",
    "Trial",
    "changed_trial",
    "default_runs",
    "replicate",
    "run_all",
]

_SEEDS: Final = 1 << 63
#: Settings that one worker runs with the same luck, which is drawn once for them.
_TOGETHER: Final = 4

Kind = Literal["recorded", "next"]


class Trial(msgspec.Struct, frozen=True):
    """A setting that is tried.

    Args:
        settings: the setting.
        unchanged: whether it is the recorded one, whose tasks come as they did then.
        resizes: whether the pool is resized as it was then.
    """

    settings: CoreSettings
    unchanged: bool = False
    resizes: bool = True


class Ask(msgspec.Struct, frozen=True):
    """Runs that are wanted, all with the same luck.

    Args:
        kind: of the recorded tasks, or of a next run's.
        seed: which luck.
        trials: under which settings.
    """

    kind: Kind
    seed: int
    trials: tuple[Trial, ...]


class Ends(msgspec.Struct, frozen=True):
    """What one run came to, at both ends of what nobody knows.

    Args:
        never: where an attempt never ends of which nobody saw the end.
        soonest: where it ends as soon as it can; the same where there is none such.
    """

    never: Side
    soonest: Side


@dataclass(frozen=True)
class Runs:
    """The runs of one setting.

    Args:
        recorded: of the recorded tasks; one where nothing has to be drawn.
        following: of next runs; none where a single run was asked for. Of a scenario both are the
            same.
    """

    recorded: list[Ends]
    following: list[Ends]

    @property
    def random(self) -> bool:
        """Whether another seed would have given another answer."""
        return any(one.never.random for one in (*self.recorded, *self.following))

    @property
    def unknown(self) -> int:
        """Attempts of the recorded tasks of which nobody knows how long they take."""
        return max(one.never.unknown for one in self.recorded)

    def never(self) -> tuple[list[Side], list[Side]]:
        """Recorded and next runs, at the one end of what nobody knows."""
        return [one.never for one in self.recorded], [one.never for one in self.following]

    def soonest(self) -> tuple[list[Side], list[Side]]:
        """Recorded and next runs, at the other end."""
        return [one.soonest for one in self.recorded], [one.soonest for one in self.following]


def changed_trial(work: Work, changes: Mapping[str, Any]) -> Trial:
    """A setting with changes; with a number of workers of its own, a pool is not resized.

    Args:
        work: what it is tried on.
        changes: fields of ``WorkerPoolConfig`` and their new values.

    Raises:
        ValueError: an unknown field or a value out of range.
        TypeError: a value of the wrong type.
    """
    return Trial(work.changed(changes), resizes="max_workers" not in changes)


def replicate(work: Work, ask: Ask) -> list[Ends]:
    """Runs with one luck.

    Args:
        work: of what.
        ask: which.

    Returns:
        What each setting came to; the same for the same arguments.
    """
    seed = ask.seed % _SEEDS
    if work.recording is None:
        return [_of_scenario_run(work, trial.settings, seed) for trial in ask.trials]
    luck = work.sample.luck(seed) if ask.kind == "next" else None
    return [_of_journal_run(work, trial, luck, seed) for trial in ask.trials]


def _of_scenario_run(work: Work, settings: CoreSettings, seed: int) -> Ends:
    assert work.scenario is not None
    workload = work.scenario.workload
    run = simulate(workload, keyed(settings, seed), seed)
    side = _amplified(Side(measure(run), workload.random, 0, 0, run.unfinished))
    return Ends(side, side)


def _of_journal_run(work: Work, trial: Trial, luck: Luck | None, seed: int) -> Ends:
    arrivals = work.arrivals.baseline if trial.unchanged else work.arrivals
    if not trial.resizes:
        arrivals = replace(arrivals, resizes=False)
    machine = None if trial.unchanged else work.machine

    def side(beyond: Beyond) -> Side:
        assert work.recording is not None
        if luck is None:
            found = recorded_side(work.recording, trial.settings, seed, arrivals, beyond, machine)
        else:
            found = next_side(work.sample, trial.settings, luck, arrivals, beyond, machine)
        return _amplified(found)

    never = side("never")
    return Ends(never, side("shortest") if never.unknown else never)


def _amplified(side: Side) -> Side:
    measures = side.measures
    ended = measures["completed"] + measures["failed"] + measures["cancelled"]
    measures["amplification"] = measures["attempts"] / ended if ended else math.nan
    return side


def default_runs(work: Work) -> int:
    """Replications where something is random and nobody said how many.

    Args:
        work: of what.
    """
    return least_replications() if work.kind == "journal" else DEFAULT_RUNS


def run_all(
    workers: Workers[Work],
    work: Work,
    trials: Sequence[Trial],
    runs: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    kinds: Sequence[Kind] = ("recorded", "next"),
) -> list[Runs]:
    """Run several settings with the same seeds (common random numbers).

    Args:
        workers: where.
        work: of what.
        trials: the settings.
        runs: replications of each, ``None`` for the default.
        seed: the first of their seeds; the others count up from it.
        progress: called with the runs done and their number.
        kinds: which kinds of a journal's runs; with a single run, recorded ones only.

    Returns:
        The runs of each setting, in the order of the seeds.
    """
    count = runs or default_runs(work)
    done = 0
    total = len(trials)

    def run(kind: Kind, which: Sequence[int], seeds: range) -> list[list[Ends]]:
        """The runs of some of the settings, by setting."""
        nonlocal done
        asks, places = [], []
        for key in seeds:
            for first in range(0, len(which), _TOGETHER):
                part = which[first : first + _TOGETHER]
                asks.append(Ask(kind, key, tuple(trials[at] for at in part)))
                places.append(part)
        before = done

        def tell(now: int) -> None:
            nonlocal done
            done = before + sum(len(part) for part in places[:now])
            if progress is not None:
                progress(done, total)

        found: list[list[Ends]] = [[] for _ in trials]
        for part, sides in zip(places, workers.map(replicate, asks, tell), strict=True):
            for at, side in zip(part, sides, strict=True):
                found[at].append(side)
        return found

    everyone = range(len(trials))
    if work.kind == "scenario":
        total = count * len(trials)
        return [Runs(sides, sides) for sides in run("next", everyone, range(seed, seed + count))]
    following: list[list[Ends]] = [[] for _ in trials]
    wants_next = "next" in kinds and count > 1
    total += count * len(trials) * wants_next
    recorded = run("recorded", everyone, range(seed, seed + 1))
    drawn = [at for at in everyone if recorded[at][0].never.random]
    total += (count - 1) * len(drawn)
    for at, more in enumerate(run("recorded", drawn, range(seed + 1, seed + count))):
        recorded[at] += more
    if wants_next:
        following = run("next", everyone, range(seed, seed + count))
    return [Runs(*both) for both in zip(recorded, following, strict=True)]
