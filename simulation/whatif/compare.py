"""What runs of one setting came to, how two settings differ, and whether that may be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from simulation.statistics import Difference, Interval, intervals, paired, student
from simulation.statistics.intervals import LEVEL
from simulation.statistics.prediction import next_difference, next_value
from simulation.whatif.coming import doubt_about
from simulation.whatif.measures import ALL_MEASURES
from simulation.whatif.predict import differences, summarise
from simulation.whatif.replication import Pair, Side
from simulation.whatif.runs import Runs
from simulation.whatif.trust import (
    WIDEST_MAKESPAN,
    WIDEST_RATE,
)
from simulation.whatif.work import Work

__all__ = ["difference_of", "outcome_of", "refusal", "spanned"]

_Measured = TypeVar("_Measured", bound=Interval)


def outcome_of(work: Work, runs: Runs) -> dict[str, Interval]:
    """What the runs of one setting came to, as ``run`` and ``replay --set`` would say it.

    Args:
        work: of what.
        runs: the runs.

    Returns:
        Of a scenario: each measure's mean and where the true mean lies. Of a journal: what the
        recorded tasks came to and where the next run lies.
    """
    found = _summary(work, *runs.never())
    return spanned(found, _summary(work, *runs.soonest())) if runs.unknown else found


def _summary(work: Work, recorded: list[Side], following: list[Side]) -> dict[str, Interval]:
    if work.kind == "scenario":
        return intervals([side.measures for side in recorded])
    summary = summarise(recorded, following, work.tasks)
    mean = student(_values(recorded, "amplification")).mean
    found = Interval(mean, math.nan, math.nan, LEVEL, "none")
    if following:
        found = next_value(_values(following, "amplification"))
        found = replace(found, mean=mean, low=min(mean, found.low), high=max(mean, found.high))
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
    found = _apart(work, baseline.never(), variant.never())
    if not variant.unknown:
        return found
    return spanned(found, _apart(work, baseline.never(), variant.soonest()))


def _apart(
    work: Work,
    baseline: tuple[list[Side], list[Side]],
    variant: tuple[list[Side], list[Side]],
) -> dict[str, Difference]:
    if work.kind == "scenario":
        return {
            name: paired(_values(baseline[0], name), _values(variant[0], name))
            for name in ALL_MEASURES
        }
    count = max(len(baseline[0]), len(variant[0]))
    base, changed = (
        sides[0] * count if len(sides[0]) == 1 else sides[0] for sides in (baseline, variant)
    )
    following = _pairs(baseline[1], variant[1])
    found = differences(_pairs(base, changed), following, work.tasks)
    name = "amplification"
    mean = paired(_values(base, name), _values(changed, name)).mean
    one = Difference(mean, math.nan, math.nan, LEVEL, "none")
    if following:
        one = next_difference(_values(baseline[1], name), _values(variant[1], name))
        one = replace(one, mean=mean, low=min(mean, one.low), high=max(mean, one.high))
    found[name] = one
    return found


def spanned(here: dict[str, _Measured], there: dict[str, _Measured]) -> dict[str, _Measured]:
    """Intervals that reach from the one end of what nobody knows to the other.

    Args:
        here: the intervals at the one end, whose figures stay.
        there: at the other.
    """
    return {
        name: replace(one, low=min(one.low, there[name].low), high=max(one.high, there[name].high))
        for name, one in here.items()
    }


def _pairs(baseline: Sequence[Side], variant: Sequence[Side]) -> list[Pair]:
    return [Pair(*both, both[1]) for both in zip(baseline, variant, strict=True)]


def _values(sides: Sequence[Side], name: str) -> list[float]:
    return [side.measures[name] for side in sides]


def refusal(work: Work, runs: Runs) -> str | None:
    """Why a prediction from these runs would not be honest.

    Args:
        work: of what.
        runs: of one setting.

    Returns:
        The reason, ``None`` where there is none.
    """
    unfinished = max(one.never.unfinished for one in runs.recorded)
    if runs.unknown and (unfinished or _wide(work, runs)):
        return (
            f"it lets {runs.unknown} attempts run for longer than the recording knows: they were "
            f"abandoned at their timeout, and none like them took longer"
        )
    if unfinished:
        return f"up to {unfinished} tasks never end: their attempts hold the workers for ever"
    first = runs.recorded[0]
    if first.following is not None:
        return doubt_about(first.never.measures, first.following.measures)
    return None


def _wide(work: Work, runs: Runs) -> bool:
    """Whether what nobody knows leaves open too much."""
    here, there = (_summary(work, *ends) for ends in (runs.never(), runs.soonest()))
    low, high = sorted(one["makespan_seconds"].mean for one in (here, there))
    apart = abs(here["success_rate"].mean - there["success_rate"].mean)
    return not (high - low <= WIDEST_MAKESPAN * high and apart <= WIDEST_RATE)
