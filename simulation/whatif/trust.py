"""How far to trust an answer: its fidelity, what to bear in mind, and when it is refused."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise
from typing import Final

from runtime.core.records import AbortRequested, ResizeRequested, TaskSubmitted
from simulation.outcome import measure
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.recording.draws import FEWEST
from simulation.recording.outages import Outage
from simulation.recording.read import Recording
from simulation.whatif.answer import DishonestError, Fidelity, WhatIf
from simulation.whatif.replication import Side

__all__ = ["LARGEST_ERROR", "fidelity_of", "notes_on", "notes_on_span", "refuse_dishonest"]

#: The largest error of the unchanged setting that a prediction is made with.
LARGEST_ERROR: Final = 0.10
#: How far apart an answer's two ends may lie where nobody knows how long some attempts take: of the
#: makespan, and of the success rate.
WIDEST_MAKESPAN: Final = 0.10
WIDEST_RATE: Final = 0.05
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
    if answer.unknown_attempts and (_wide(answer) or any(side.unfinished for side in sides)):
        raise DishonestError(
            f"{answer.unknown_attempts} attempts were abandoned at their timeout in the recording, "
            f"none like them took longer than that, and the changed setting would let them run on "
            f"or have their slots wait for them: the recording cannot know how long they take; "
            f"record with a longer timeout, or allow more abandoned threads",
            answer,
        )
    if any(side.unfinished for side in sides):
        raise DishonestError(
            "some tasks would never end: attempts that the recording never saw the end of, "
            "and no timeout",
            answer,
        )


def _wide(answer: WhatIf) -> bool:
    """Whether what nobody knows leaves open too much."""
    low, high = answer.span.get("makespan_seconds", (0.0, 0.0))
    fewest, most = answer.span.get("success_rate", (0.0, 0.0))
    return not (high - low <= WIDEST_MAKESPAN * high and most - fewest <= WIDEST_RATE)


def notes_on_span(unknown: int, span: dict[str, tuple[float, float]]) -> list[str]:
    """What to say where nobody knows how long some attempts take.

    Args:
        unknown: how many attempts.
        span: the figures that depend on it, at both ends.

    Returns:
        Sentences.
    """
    ends = []
    if "makespan_seconds" in span:
        low, high = span["makespan_seconds"]
        ends.append(f"a makespan of {low:,.3f} to {high:,.3f} s")
    if "success_rate" in span:
        low, high = span["success_rate"]
        ends.append(f"a success rate of {low:.1%} to {high:.1%}")
    between = f": {' and '.join(ends)}" if ends else ", which changes neither"
    them = f"up to {unknown} attempts run" if unknown > 1 else "one attempt runs"
    note = (
        f"{them} on for longer than any that was seen to end; the ranges go "
        f"from where that ends at once to where it never does{between}"
    )
    return [note]


def notes_on(recording: Recording, variant: Side, arrivals: Arrivals = RECORDED) -> list[str]:
    """What to bear in mind about an answer from this recording.

    Args:
        recording: what was recorded.
        variant: the recorded tasks under the changed setting.
        arrivals: when tasks come.

    Returns:
        Sentences.
    """
    notes = [_outage_text(outage) for outage in recording.outages]
    if variant.assumed:
        notes.append(
            f"{variant.assumed} retries were drawn as if their failure had no cause that lasts: "
            f"the recording has fewer than {FEWEST} retries of their group to tell"
        )
    if arrivals.kind != "recorded":
        notes.append(
            "tasks come when others end, as they did in the recording"
            if arrivals.kind == "closed"
            else f"tasks come {arrivals.factor:g} times as fast; the figures of the recorded "
            f"setting are with arrivals as recorded"
        )
    stops = sum(isinstance(part, AbortRequested) for _, part in recording.arrivals)
    if stops and arrivals.kind == "recorded":
        notes.append(
            f"an abort stays at its recorded instant ({stops} in the recording): where something "
            f"that happened was the reason for it, another setting would move it"
        )
    resizes = sum(isinstance(part, ResizeRequested) for _, part in recording.arrivals)
    if resizes:
        notes.append(
            f"the pool was resized while it ran (so often: {resizes}), and is again, unless "
            f"max_workers is set: that holds from beginning to end"
        )
    answering, late = _answering(recording) if arrivals.kind != "closed" else (0, 0)
    if answering:
        notes.append(
            f"{answering} of the {late} tasks that were submitted after the first had ended came "
            f"within a millisecond of another's end, more than chance explains: if results lead to "
            f"submissions, another setting moves them, and this answer keeps them where they were "
            f"(--arrivals closed lets them follow)"
        )
    return notes


def _outage_text(outage: Outage) -> str:
    text = (
        f"from {outage.from_ns / 1e9:,.3f} to {outage.to_ns / 1e9:,.3f} s {outage.failed} of "
        f"{outage.attempts} attempts failed, "
    )
    if outage.sure:
        return text + "whatever the task: an outage, which stays at that time under each setting"
    return text + (
        "and nothing tells whether that was the time or these tasks: they are taken to fail at "
        "any time; if it was an outage, added retries help less, or more, than is said here"
    )


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
        if type(arrival) is TaskSubmitted and not arrival.parent and ends and at_ns >= ends[0]
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
