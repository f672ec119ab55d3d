"""What-if: a recorded run, simulated again under another setting.

The unchanged setting is always simulated first and held against the recording: that error is the
*fidelity*, and a prediction is refused where it is too large, or where the recording cannot know
what the new setting asks.

Two questions are answered at once. What these very tasks would have come to is one simulation of
what was recorded, or the mean over R where something has to be drawn. Where the *next* run of tasks
like these lies is a matter of R replications with tasks drawn again: one journal is one sample, and
the next run is another. Both settings of a replication have the same luck (common random numbers),
and differences are taken pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, Final

from runtime.core import CoreSettings
from runtime.journal import Journal
from runtime.observers import Step
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration, read_calibration
from simulation.machine.machine import Machine
from simulation.outcome import MEASURES
from simulation.recording.arrivals import AUTO, RECORDED, Arrivals, parse_arrivals
from simulation.recording.read import Recording, read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.replay import replay
from simulation.simulate import simulate
from simulation.statistics.prediction import least_replications
from simulation.statistics.stopping import Precision, enough
from simulation.whatif.answer import DishonestError, WhatIf
from simulation.whatif.coming import coming_of, doubt_about, doubted
from simulation.whatif.contention import backends_of, meet, notes_on_meeting
from simulation.whatif.nextrun import Sample
from simulation.whatif.replication import (
    Pair,
    Side,
    keyed,
    next_pair,
    recorded_pair,
    recorded_side,
)
from simulation.whatif.settings import changed_settings
from simulation.whatif.summary import differences, summarise
from simulation.whatif.trust import fidelity_of, notes_on, notes_on_span, refuse_dishonest
from simulation.whatif.widening import notes_on_widening

__all__ = ["DEFAULT_RUNS", "differences", "summarise", "variant", "what_if"]

#: Replications of a scenario where something in it is random.
DEFAULT_RUNS: Final = 30
#: Replications are made until the means of these are known so well, but so many at least and most:
#: 39 is what an interval takes that assumes no distribution, 199 some seconds of 300 tasks.
_LEAST, _MOST = least_replications(), 199
_PRECISIONS: Final = {
    "makespan_seconds": Precision(0.05, at_least=_LEAST, at_most=_MOST),
    "task_seconds_p95": Precision(0.05, at_least=_LEAST, at_most=_MOST),
    "success_rate": Precision(None, 0.01, at_least=_LEAST, at_most=_MOST),
}


def what_if(
    journal: Journal | str | Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    arrivals: Arrivals | str = AUTO,
    calibration: Calibration | str | Path | None = None,
    backends: Sequence[Backend] | str | Path = (),
    **changes: Any,
) -> WhatIf:
    """Predict what a recorded run would have come to under another setting.

    Args:
        journal: a journal, or its path.
        runs: replications; by default at least 39, and more until the means are known within 5%,
            up to 199. With 1 there are no intervals.
        seed: the first replication's seed; the others count up from it.
        force: whether to answer also where the answer would not be honest.
        progress: called with the replications done and their number.
        arrivals: when tasks come: ``auto`` (as the recording shows that they came), ``recorded``
            (at their instants, whatever happens), ``closed`` (the next is submitted when one ends),
            or ``scaled=F`` (F times as fast).
        calibration: what the machine costs, or the file that says so, from the command
            ``calibrate``; nothing without it.
        backends: what attempts call, or the TOML file that declares it. Those that are new are in
            the changed setting only.
        **changes: fields of ``WorkerPoolConfig`` and their new values.

    Returns:
        The answer.

    Raises:
        JournalError: the journal cannot be used.
        NondeterminismError: it does not replay.
        BackendError: the file of backends cannot be used.
        CalibrationError: the calibration cannot be used.
        DishonestError: the recording does not support the prediction.
        ValueError: an unknown field or a value out of range.
    """
    found = replay(journal)
    found.raise_for_divergence()
    recording = read_recording(found.journal)
    settings = changed_settings(recording.settings, changes)
    if not recording.run.ends:
        raise ValueError(f"{found.journal.path}: no task has ended in it: nothing to predict from")
    if runs is not None and runs < 1:
        raise ValueError(f"runs={runs}: must be 1 or more")
    if isinstance(arrivals, str):
        arrivals = parse_arrivals(arrivals)
    if isinstance(calibration, str | Path):
        calibration = read_calibration(calibration)
    declared = backends_of(recording, backends)
    met = meet(recording, workers=settings.max_workers, calibration=calibration, backends=declared)
    recording = met.recorded
    asked = _Asked(settings, arrivals.under(changes), met.machine)
    recorded, following = _replications(recording, asked, runs, seed, progress)
    unchanged = recorded[0].baseline
    if unchanged.random:  # with the jitter that was recorded, not with another seed's
        unchanged = recorded_side(
            recording, recording.settings, recording.settings.seed, arrivals.baseline
        )
    variants = [pair.variant for pair in recorded]
    tasks = len(recording.run.ends)
    answer = WhatIf(
        fidelity=fidelity_of(recording, unchanged),
        baseline=summarise([pair.baseline for pair in recorded], _of(following, "baseline"), tasks),
        variant=summarise(variants, _of(following, "variant"), tasks),
        difference=differences(recorded, following, tasks),
        changes=changes if arrivals in (AUTO, RECORDED) else {**changes, "arrivals": str(arrivals)},
        runs=max(len(recorded), len(following)),
        seed=seed,
        drawn_attempts=sum(side.drawn for side in variants) / len(variants),
        unknown_attempts=max(side.unknown for side in variants),
        random=any(pair.baseline.random or pair.variant.random for pair in recorded),
        tasks=tasks,
        notes=notes_on(recording, recorded[0].variant, arrivals)
        + notes_on_meeting(met.contention, declared)
        + notes_on_widening(
            Sample(recording),
            settings,
            _of(following, "variant"),
            seed,
            variants[0].measures["makespan_seconds"],
            asked.arrivals,
            met.machine,
        ),
        contention=met.contention,
        backends=tuple(backend.name for backend in declared),
        coming=coming_of(recording, arrivals),
    )
    if answer.unknown_attempts:
        answer = _spanned(answer, recorded, following, tasks)
    if not force:
        refuse_dishonest(recording, unchanged, variants, answer)
        other = doubted(recording, asked.arrivals)
        if other is not None:
            there = recorded_side(recording, settings, seed, other, machine=asked.machine)
            reason = doubt_about(variants[0].measures, there.measures)
            if reason is not None:
                raise DishonestError(reason, answer)
    return answer


def _spanned(
    answer: WhatIf, recorded: Sequence[Pair], following: Sequence[Pair], tasks: int
) -> WhatIf:
    """From the answer where what nobody knows the end of never ends, to where it soon does."""
    soonest = [
        [Pair(pair.baseline, pair.shortest, pair.shortest) for pair in pairs]
        for pairs in (recorded, following)
    ]
    other = summarise(_of(soonest[0], "variant"), _of(soonest[1], "variant"), tasks)
    apart = differences(soonest[0], soonest[1], tasks)
    span = {}
    variant, difference = dict(answer.variant), dict(answer.difference)
    for name in MEASURES:
        here, there = variant[name], other[name]
        if here.mean < there.mean or there.mean < here.mean:
            span[name] = min(here.mean, there.mean), max(here.mean, there.mean)
        low, high = min(here.low, there.low), max(here.high, there.high)
        variant[name] = replaced(here, low=low, high=high)
        low = min(difference[name].low, apart[name].low)
        high = max(difference[name].high, apart[name].high)
        difference[name] = replaced(difference[name], low=low, high=high)
    return replaced(
        answer,
        variant=variant,
        difference=difference,
        span=span,
        notes=[*answer.notes, *notes_on_span(answer.unknown_attempts, span)],
    )


def variant(
    journal: Journal,
    changes: Mapping[str, Any],
    seed: int = 0,
    arrivals: Arrivals = AUTO,
    *,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] | str | Path = (),
) -> tuple[CoreSettings, list[Step]]:
    """One run of a recorded workload under another setting, step by step; nothing is checked.

    Args:
        journal: a journal that replays.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        seed: keys what is drawn.
        arrivals: when tasks come.
        calibration: as for ``what_if``.
        backends: as for ``what_if``.

    Returns:
        The setting, and what went into the core and came out.
    """
    recording = read_recording(journal)
    settings = keyed(changed_settings(recording.settings, changes), seed)
    declared = backends_of(recording, backends)
    met = meet(recording, workers=settings.max_workers, calibration=calibration, backends=declared)
    workload = RecordedWorkload(met.recorded, settings, arrivals=arrivals.under(changes))
    workload.machine = met.machine
    return settings, simulate(workload, settings, seed, log=True).steps


@dataclass(frozen=True)
class _Asked:
    settings: CoreSettings
    arrivals: Arrivals
    machine: Machine | None


def _replications(
    recording: Recording,
    asked: _Asked,
    runs: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Pair], list[Pair]]:
    """The recorded tasks' pairs, one where nothing has to be drawn, and the next runs'."""
    sample = Sample(recording)
    recorded: list[Pair] = []
    following: list[Pair] = []
    wanted = runs or _LEAST
    for key in range(seed, seed + (runs or _MOST)):
        if not recorded or recorded[0].baseline.random or recorded[0].variant.random:
            recorded.append(
                recorded_pair(recording, asked.settings, key, asked.arrivals, asked.machine)
            )
        if runs == 1:
            break
        following.append(next_pair(sample, asked.settings, key, asked.arrivals, asked.machine))
        if progress is not None:
            progress(len(following), max(wanted, len(following)))
        if runs is None and _known(following):
            break
    return recorded, following


def _known(following: Sequence[Pair]) -> bool:
    """Whether the means are known well enough under both settings."""
    return len(following) >= _LEAST and all(
        enough([side.measures[name] for side in sides], precision)
        for name, precision in _PRECISIONS.items()
        for sides in (_of(following, "baseline"), _of(following, "variant"))
    )


def _of(pairs: Sequence[Pair], side: str) -> list[Side]:
    return [getattr(pair, side) for pair in pairs]
