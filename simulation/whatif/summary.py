"""From replications to figures with intervals.

The figure is what the recorded tasks themselves would have come to. The interval is where the next
run of tasks like these lies: from the order of replications with tasks drawn again, widened where
there are few tasks, and never narrower than what so few tasks leave open of a rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from typing import Final

from simulation.outcome import MEASURES
from simulation.statistics.intervals import LEVEL, Interval, intervals
from simulation.statistics.paired import Difference
from simulation.statistics.prediction import expansion, next_difference, next_value
from simulation.statistics.quantiles import estimable, pooled_quantile
from simulation.statistics.rates import clustered_rate, next_rate
from simulation.whatif.replication import Pair, Side

__all__ = ["differences", "summarise", "summarise_scenario"]

_QUANTILES: Final = {"task_seconds_p50": 0.50, "task_seconds_p95": 0.95, "task_seconds_p99": 0.99}
#: Task times of a scenario that are pooled; beyond, a run has so many that its own quantiles do.
_MOST_POOLED: Final = 4_000_000
_SHARES: Final = ("success_rate", "utilization")
#: With fewer in a run than this, resampling hardly ever shows one (the rule of three).
_RARE: Final = 3


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


def summarise_scenario(
    replications: Sequence[Mapping[str, float]], seconds: Sequence[Sequence[float]], seed: int
) -> dict[str, Interval]:
    """Each measure of a scenario: where its mean lies over all runs there could be.

    A scenario's distributions are given, so nothing of it is a sample: more runs make an interval
    as narrow as one likes. Quantiles are those of all runs' tasks together, and the success rate's
    interval is Wilson's, each with runs as clusters.

    Args:
        replications: the measures of each run.
        seconds: how long its tasks took.
        seed: keys the cluster bootstrap.

    Returns:
        An interval a measure.
    """
    summary = {
        name: replaced(one, low=max(0.0, one.low)) for name, one in intervals(replications).items()
    }
    if len(replications) == 1:
        return {name: replaced(one, kind="none") for name, one in summary.items()}
    if sum(len(run) for run in seconds) <= _MOST_POOLED:
        for name, share in _QUANTILES.items():
            summary[name] = pooled_quantile(seconds, share, seed=seed)
    rate = summary["success_rate"]
    if not math.isnan(rate.mean):
        ended = [
            sum(one[name] for name in ("completed", "failed", "cancelled")) for one in replications
        ]
        summary["success_rate"] = clustered_rate([one["completed"] for one in replications], ended)
        completed = summary["completed"]
        summary["completed"] = replaced(completed, high=min(max(ended), completed.high))
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
