"""How far to trust an answer: its fidelity, what to bear in mind, and when it is refused."""

from __future__ import annotations

import math
from typing import Final

from runtime.core.records import AbortRequested, ResizeRequested
from simulation.outcome import measure
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.recording.draws import FEWEST
from simulation.recording.following import following_of
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
                f"the unchanged setting reproduces the recorded {what} with {error:+.2%} error; "
                f"more than {LARGEST_ERROR:.0%} is too much to predict from (other load on the "
                f"machine, or the interpreter's lock, are likely causes: record it again on a "
                f"quieter one, or try --calibration)",
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
    judged = following_of(recording)
    stops = sum(isinstance(part, AbortRequested) for _, part in recording.arrivals)
    if arrivals.kind == "auto":
        stops -= len(judged.idle_aborts)  # they are left out
    if stops and (arrivals.kind == "recorded" or (arrivals.kind == "auto" and not judged.leaders)):
        text = (
            f"an abort stays at its recorded instant ({stops} in the recording): where something "
            f"that happened was the reason for it, another setting would move it"
        )
        more = variant.measures["cancelled"] - measure(recording.run)["cancelled"]
        if more > 0:
            text += f"; here {more:,.0f} more tasks are cancelled than were then"
        notes.append(text)
    resizes = sum(isinstance(part, ResizeRequested) for _, part in recording.arrivals)
    if resizes:
        notes.append(
            f"the pool was resized while it ran (so often: {resizes}), and is again, unless "
            f"max_workers is set: that holds from beginning to end"
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
