"""How far to trust an answer: its fidelity, what to bear in mind, and when it is refused."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise
from typing import Final

from runtime.core.records import TaskSubmitted
from simulation.outcome import measure
from simulation.recording.read import Recording
from simulation.whatif.answer import DishonestError, Fidelity, WhatIf
from simulation.whatif.replication import Side

__all__ = ["LARGEST_ERROR", "fidelity_of", "notes_on", "refuse_dishonest"]

#: The largest error of the unchanged setting that a prediction is made with.
LARGEST_ERROR: Final = 0.10
#: A task that is submitted so soon after another has ended may have been submitted because of it.
_SOON_NS: Final = 1_000_000
#: Standard deviations by which such submissions must exceed what chance gives.
_FAR_FROM_CHANCE: Final = 5.0


def fidelity_of(recording: Recording, unchanged: Side) -> Fidelity:
    """Hold the unchanged setting against the recording.

    Args:
        recording: what was recorded.
        unchanged: the same, simulated.
    """
    recorded, simulated = measure(recording.run), unchanged.measures
    of = {
        name: (_error(recorded[name], simulated[name]), recorded[name], simulated[name])
        for name in ("makespan_seconds", "task_seconds_p95", "attempts")
    }
    return Fidelity(*of["makespan_seconds"], *of["task_seconds_p95"], *of["attempts"])


def _error(recorded: float, simulated: float) -> float:
    if recorded:  # NaN, too, which then stays NaN
        return (simulated - recorded) / recorded
    return 0.0 if simulated == 0 else math.nan


def refuse_dishonest(
    recording: Recording, unchanged: Side, sides: list[Side], answer: WhatIf
) -> None:
    """Raise where the recording does not support the answer.

    Args:
        recording: what was recorded.
        unchanged: the recorded setting, simulated with the recorded seed.
        sides: the changed setting with the recorded tasks.
        answer: what it would be.

    Raises:
        DishonestError: saying what is missing.
    """
    open_tasks = len(recording.specs) - len(recording.run.ends)
    if open_tasks:
        raise DishonestError(
            f"{open_tasks} of {len(recording.specs)} tasks had not ended where the journal ends: "
            f"its process was killed or still runs, so there is no whole run to compare with",
            answer,
        )
    fidelity = answer.fidelity
    for what, error in (
        ("makespan", fidelity.makespan_error),
        ("95% quantile of the tasks' times", fidelity.task_seconds_p95_error),
    ):
        if what != "makespan" and math.isnan(fidelity.recorded_task_seconds_p95):
            continue  # every task was cancelled
        if not abs(error) <= LARGEST_ERROR:
            raise DishonestError(
                f"the unchanged setting reproduces the recorded {what} with {error:+.1%} error; "
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
    if any(side.unfinished for side in sides):
        raise DishonestError(
            "some tasks would never end: attempts that the recording never saw the end of, "
            "and no timeout",
            answer,
        )


def notes_on(recording: Recording) -> list[str]:
    """What to bear in mind about any answer from this recording.

    Args:
        recording: what was recorded.

    Returns:
        Sentences.
    """
    notes = []
    answering, late = _answering(recording)
    if answering:
        notes.append(
            f"{answering} of the {late} tasks that were submitted after the first had ended came "
            f"within a millisecond of another's end, more than chance explains: if results lead to "
            f"submissions, another setting moves them, and this answer keeps them where they were"
        )
    return notes


def _answering(recording: Recording) -> tuple[int, int]:
    """How many tasks seem to have been submitted because another ended.

    Under independence a submission falls within a millisecond after an end with the share of time
    that such milliseconds cover; the count is held against that binomial.

    Returns:
        Those, or 0 where chance explains them, and all submitted after the first end.
    """
    ends = recording.run.ended_at_ns
    late = [
        at_ns
        for at_ns, arrival in recording.arrivals
        if type(arrival) is TaskSubmitted and ends and at_ns >= ends[0]
    ]
    if not late:
        return 0, 0
    soon = 0
    for at_ns in late:
        before = bisect_left(ends, at_ns + 1) - 1
        soon += before >= 0 and at_ns - ends[before] <= _SOON_NS
    span_ns = max(late[-1], ends[-1]) - ends[0]
    covered_ns = _SOON_NS + sum(min(_SOON_NS, later - end) for end, later in pairwise(ends))
    chance = min(1.0, covered_ns / span_ns) if span_ns else 1.0
    scatter = math.sqrt(len(late) * chance * (1 - chance)) + 1
    return (soon if soon > len(late) * chance + _FAR_FROM_CHANCE * scatter else 0), len(late)
