"""What-if: a recorded run, simulated again under another setting.

The unchanged setting is always simulated first and held against the recording: that error is the
*fidelity*, and a prediction is refused where it is too large, or where the recording cannot know
what the new setting asks. Where anything is random, both settings are run R times with the same R
seeds (common random numbers), and every figure is an interval over those replications; differences
are taken pair by pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.core import CoreSettings
from runtime.journal import Journal
from runtime.observers import Step
from simulation.outcome import MEASURES, measure
from simulation.recording.read import Recording, read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.replay import replay
from simulation.simulate import simulate
from simulation.statistics.intervals import intervals
from simulation.whatif.answer import DishonestError, Fidelity, WhatIf
from simulation.whatif.settings import changed_settings

__all__ = ["variant", "what_if"]

#: Replications where something is random, and the largest error of the unchanged setting.
DEFAULT_RUNS: Final = 30
LARGEST_ERROR: Final = 0.10


def what_if(
    journal: Journal | str | Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> WhatIf:
    """Predict what a recorded run would have come to under another setting.

    Args:
        journal: a journal, or its path.
        runs: replications; by default 1 where nothing is random and 30 where something is.
        seed: the first replication's seed; the others count up from it.
        force: whether to answer also where the answer would not be honest.
        progress: called with the replications done and their number.
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
    pairs: list[tuple[_Side, _Side]] = []
    wanted = runs or 1
    while len(pairs) < wanted:
        key = seed + len(pairs)
        pair = _run(recording, recording.settings, key), _run(recording, settings, key)
        pairs.append(pair)
        if runs is None and (pair[0].random or pair[1].random):
            wanted = DEFAULT_RUNS
        if progress is not None:
            progress(len(pairs), wanted)
    unchanged = pairs[0][0]
    if unchanged.random:  # with the jitter that was recorded, not with another seed's
        unchanged = _run(recording, recording.settings, recording.settings.seed)
    answer = _answer(recording, unchanged, pairs, changes, seed)
    if not force:
        _refuse_dishonest(recording, unchanged, pairs, answer)
    return answer


@dataclass(frozen=True)
class _Side:
    measures: dict[str, float]
    random: bool
    drawn: int
    unknown: int
    unfinished: int


def variant(
    journal: Journal, changes: Mapping[str, Any], seed: int = 0
) -> tuple[CoreSettings, list[Step]]:
    """One run of a recorded workload under another setting, step by step; nothing is checked.

    Args:
        journal: a journal that replays.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        seed: keys what is drawn.

    Returns:
        The setting, and what went into the core and came out.
    """
    recording = read_recording(journal)
    settings = _keyed(changed_settings(recording.settings, changes), seed)
    return settings, simulate(RecordedWorkload(recording, settings), settings, seed, log=True).steps


def _keyed(settings: CoreSettings, seed: int) -> CoreSettings:
    """With another seed for the jitter, where there is any."""
    return settings if settings.jitter == "none" else msgspec.structs.replace(settings, seed=seed)


def _run(recording: Recording, settings: CoreSettings, seed: int) -> _Side:
    jittered = settings.jitter != "none"
    workload = RecordedWorkload(recording, settings)
    run = simulate(workload, _keyed(settings, seed), seed)
    measures = measure(run)
    return _Side(
        measures,
        workload.random or (jittered and measures["retries"] > 0),
        workload.drawn,
        workload.unknown_in(run),
        run.unfinished,
    )


def _answer(
    recording: Recording,
    unchanged: _Side,
    pairs: list[tuple[_Side, _Side]],
    changes: dict[str, Any],
    seed: int,
) -> WhatIf:
    baseline = intervals([base.measures for base, _ in pairs])
    recorded = measure(recording.run)["makespan_seconds"]
    simulated = unchanged.measures["makespan_seconds"]
    if recorded:
        error = (simulated - recorded) / recorded
    else:
        error = 0.0 if simulated == 0 else math.nan
    return WhatIf(
        fidelity=Fidelity(error, recorded, simulated),
        baseline=baseline,
        variant=intervals([variant.measures for _, variant in pairs]),
        difference=intervals(
            [
                {name: variant.measures[name] - base.measures[name] for name in MEASURES}
                for base, variant in pairs
            ]
        ),
        changes=changes,
        runs=len(pairs),
        seed=seed,
        drawn_attempts=sum(variant.drawn for _, variant in pairs) / len(pairs),
        unknown_attempts=max(variant.unknown for _, variant in pairs),
        random=any(base.random or variant.random for base, variant in pairs),
    )


def _refuse_dishonest(
    recording: Recording, unchanged: _Side, pairs: list[tuple[_Side, _Side]], answer: WhatIf
) -> None:
    open_tasks = len(recording.specs) - len(recording.run.ends)
    if open_tasks:
        raise DishonestError(
            f"{open_tasks} of {len(recording.specs)} tasks had not ended where the journal ends: "
            f"its process was killed or still runs, so there is no whole run to compare with",
            answer,
        )
    error = answer.fidelity.makespan_error
    if not abs(error) <= LARGEST_ERROR:
        raise DishonestError(
            f"the unchanged setting reproduces the recorded makespan with {error:+.1%} error; "
            f"more than {LARGEST_ERROR:.0%} is too much to predict from",
            answer,
        )
    recorded = measure(recording.run)
    for name in ("completed", "failed", "cancelled", "attempts"):
        of = recorded["attempts"] if name == "attempts" else len(recording.run.ends)
        difference = unchanged.measures[name] - recorded[name]
        if abs(difference) > LARGEST_ERROR * of:
            raise DishonestError(
                f"the unchanged setting gives {unchanged.measures[name]:.0f} {name} where "
                f"{recorded[name]:.0f} were recorded; more than {LARGEST_ERROR:.0%} apart is too "
                f"much to predict from",
                answer,
            )
    if answer.unknown_attempts:
        raise DishonestError(
            f"{answer.unknown_attempts} attempts were abandoned at their timeout in the recording, "
            f"none of their group took longer than that, and the changed setting would let them "
            f"run on: the recording cannot know how long they take; record with a longer timeout",
            answer,
        )
    if any(variant.unfinished for _, variant in pairs):
        raise DishonestError(
            "some tasks would never end: attempts that the recording never saw the end of, "
            "and no timeout",
            answer,
        )
