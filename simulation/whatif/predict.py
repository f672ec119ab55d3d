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

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, Final

from runtime.core import CoreSettings
from runtime.journal import Journal
from runtime.observers import Step
from simulation.outcome import MEASURES
from simulation.recording.arrivals import RECORDED, Arrivals, parse_arrivals
from simulation.recording.read import Recording, read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.replay import replay
from simulation.simulate import simulate
from simulation.statistics.intervals import LEVEL, Interval
from simulation.statistics.paired import Difference
from simulation.statistics.prediction import (
    expansion,
    least_replications,
    next_difference,
    next_value,
)
from simulation.statistics.quantiles import estimable
from simulation.statistics.rates import next_rate
from simulation.statistics.stopping import Precision, enough
from simulation.whatif.answer import WhatIf
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
from simulation.whatif.trust import fidelity_of, notes_on, notes_on_span, refuse_dishonest

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
_QUANTILES: Final = {"task_seconds_p50": 0.50, "task_seconds_p95": 0.95, "task_seconds_p99": 0.99}
_SHARES: Final = ("success_rate", "utilization")
#: With fewer in a run than this, resampling hardly ever shows one (the rule of three).
_RARE: Final = 3


def what_if(
    journal: Journal | str | Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    arrivals: Arrivals | str = RECORDED,
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
        arrivals: when tasks come: ``recorded``, ``closed`` (the next is submitted when one ends),
            or ``scaled=F`` (F times as fast).
        **changes: fields of ``WorkerPoolConfig`` and their new values.

    Returns:
        The answer.

    Raises:
        JournalError: the journal cannot be used.
        NondeterminismError: it does not replay.
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
    recorded, following = _replications(recording, settings, arrivals, runs, seed, progress)
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
        changes=changes if arrivals == RECORDED else {**changes, "arrivals": str(arrivals)},
        runs=max(len(recorded), len(following)),
        seed=seed,
        drawn_attempts=sum(side.drawn for side in variants) / len(variants),
        unknown_attempts=max(side.unknown for side in variants),
        random=any(pair.baseline.random or pair.variant.random for pair in recorded),
        tasks=tasks,
        notes=notes_on(recording, recorded[0].variant, arrivals),
    )
    if answer.unknown_attempts:
        answer = _spanned(answer, recorded, following, tasks)
    if not force:
        refuse_dishonest(recording, unchanged, variants, answer)
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
    arrivals: Arrivals = RECORDED,
) -> tuple[CoreSettings, list[Step]]:
    """One run of a recorded workload under another setting, step by step; nothing is checked.

    Args:
        journal: a journal that replays.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        seed: keys what is drawn.
        arrivals: when tasks come.

    Returns:
        The setting, and what went into the core and came out.
    """
    recording = read_recording(journal)
    settings = keyed(changed_settings(recording.settings, changes), seed)
    workload = RecordedWorkload(recording, settings, arrivals=arrivals)
    return settings, simulate(workload, settings, seed, log=True).steps


def _replications(
    recording: Recording,
    settings: CoreSettings,
    arrivals: Arrivals,
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
            recorded.append(recorded_pair(recording, settings, key, arrivals))
        if runs == 1:
            break
        following.append(next_pair(sample, settings, key, arrivals))
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


def summarise(
    recorded: Sequence[Side], following: Sequence[Side], tasks: int
) -> dict[str, Interval]:
    """Each measure under one setting: the recorded tasks' mean, and where the next run lies.

    Args:
        recorded: runs of the recorded tasks.
        following: next runs; none for no intervals.
        tasks: how many tasks were recorded.

    Returns:
        An interval a measure.
    """
    summary = {}
    for name in MEASURES:
        mean = _mean([side.measures[name] for side in recorded])
        if not following:
            summary[name] = Interval(mean, math.nan, math.nan, LEVEL, "none")
        elif name in _QUANTILES and not estimable(_QUANTILES[name], tasks):
            summary[name] = Interval(mean, math.nan, math.nan, LEVEL, "not estimable")
        else:
            found = _widened(next_value([side.measures[name] for side in following]), tasks)
            most = 1.0 if name in _SHARES else math.inf
            within = replaced(found, low=max(0.0, found.low), high=min(most, found.high))
            summary[name] = _around(mean, within)
    if following:
        _widen_rare(summary, tasks)
    return summary


def _widen_rare(summary: dict[str, Interval], tasks: int) -> None:
    """Where hardly a task fails, or hardly one succeeds, what so few tasks leave open of the rate.

    Resampling a sample that has none of something never shows one. The unit here is the task.
    """
    rate = summary["success_rate"].mean
    if not min(rate, 1 - rate) * tasks < _RARE:
        return
    open_ = next_rate(rate * tasks, tasks, tasks)

    def failed(share: float) -> float:
        return round((1 - share) * tasks - summary["cancelled"].mean)

    for name, low, high in (
        ("success_rate", open_.low, open_.high),
        ("completed", round(open_.low * tasks), round(open_.high * tasks)),
        ("failed", failed(open_.high), failed(open_.low)),
    ):
        now = summary[name]
        wide = replaced(now, low=min(max(0.0, low), now.low), high=max(high, now.high))
        summary[name] = _around(now.mean, wide)


def _widened(interval: Interval, tasks: int) -> Interval:
    """An interval with room for how few tasks it was drawn from; counts stay whole numbers."""
    factor = expansion(tasks)
    mean, low, high = interval.mean, interval.low, interval.high
    wide_low, wide_high = mean - factor * (mean - low), mean + factor * (high - mean)
    if float(low).is_integer() and float(high).is_integer():
        wide_low, wide_high = math.floor(wide_low + 0.5), math.ceil(wide_high - 0.5)
    return replaced(interval, low=wide_low, high=wide_high)


def _around(mean: float, interval: Interval) -> Interval:
    """An interval with another figure in it."""
    return replaced(interval, mean=mean, low=min(mean, interval.low), high=max(mean, interval.high))


def _mean(values: Sequence[float]) -> float:
    """The mean; exactly the value where all are the same."""
    return values[0] if len(set(values)) == 1 else math.fsum(values) / len(values)


def differences(
    recorded: Sequence[Pair], following: Sequence[Pair], tasks: int
) -> dict[str, Difference]:
    """Variant minus baseline, pair by pair: of the recorded tasks, and where the next one lies.

    Args:
        recorded: pairs of runs of the recorded tasks.
        following: pairs of next runs; none for no intervals.
        tasks: how many tasks were recorded.

    Returns:
        A difference a measure.
    """
    found_by_name = {}
    for name in MEASURES:
        mean = _mean(
            [pair.variant.measures[name] - pair.baseline.measures[name] for pair in recorded]
        )
        if not following:
            found_by_name[name] = Difference(mean, math.nan, math.nan, LEVEL, "none")
            continue
        found = next_difference(
            [pair.baseline.measures[name] for pair in following],
            [pair.variant.measures[name] for pair in following],
        )
        low, high = _widened(found, tasks).low, _widened(found, tasks).high
        if name in _QUANTILES and not estimable(_QUANTILES[name], tasks):
            found_by_name[name] = replaced(
                found,
                mean=mean,
                low=math.nan,
                high=math.nan,
                kind="not estimable",
                p_value=math.nan,
            )
        else:
            found_by_name[name] = replaced(
                found, mean=mean, low=min(mean, low), high=max(mean, high)
            )
    return found_by_name
