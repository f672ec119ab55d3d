"""A scenario's figures: its mean over all runs there could be, not one next run."""

from __future__ import annotations

import math

import pytest

from runtime.core import CoreSettings
from simulation import Exponential, Fails, Modelled
from simulation.outcome import measure, task_seconds
from simulation.simulate import simulate
from simulation.statistics import wilson
from simulation.statistics.prediction import expansion
from simulation.whatif.replication import Side
from simulation.whatif.summary import summarise, summarise_scenario
from simulation.workload import Batch, SyntheticWorkload


def runs(count: int, tasks: int = 40, failing: float = 0.1) -> tuple[list, list]:  # type: ignore[type-arg]
    work = SyntheticWorkload([Batch(tasks, Modelled(Exponential(1), Fails(failing)))])
    done = [simulate(work, CoreSettings(max_workers=1000, max_retries=0), n) for n in range(count)]
    return [measure(run) for run in done], [task_seconds(run) for run in done]


def test_quantiles_are_those_of_all_tasks_together() -> None:
    """Without a queue a task takes what its one attempt does: exponential, p95 = ln 20."""
    measures, seconds = runs(60)
    summary = summarise_scenario(measures, seconds, 0)
    pooled = sorted(second for run in seconds for second in run)
    assert summary["task_seconds_p95"].mean == pooled[math.ceil(0.95 * len(pooled)) - 1]
    error = math.sqrt(0.95 * 0.05 / len(pooled)) / 0.05  # sqrt(p (1 - p) / n) / f(q)
    assert summary["task_seconds_p95"].mean == pytest.approx(math.log(20), abs=4 * error)
    half = (summary["task_seconds_p95"].high - summary["task_seconds_p95"].low) / 2
    assert half == pytest.approx(1.96 * error, rel=0.4)
    assert {summary[f"task_seconds_p{p}"].kind for p in (50, 95, 99)} == {"quantile"}
    assert summary == summarise_scenario(measures, seconds, 0)


def test_a_rate_is_wilsons_over_runs_as_clusters() -> None:
    measures, seconds = runs(60)
    rate = summarise_scenario(measures, seconds, 0)["success_rate"]
    assert rate.kind == "rate"
    assert rate.low < 0.9 < rate.high
    plain = wilson(sum(one["completed"] for one in measures), 60 * 40)
    assert rate.high - rate.low == pytest.approx(plain.high - plain.low, rel=0.35)
    # where nothing fails it still has a width
    never = summarise_scenario(*runs(30, failing=0.0), 0)
    assert never["success_rate"].mean == never["success_rate"].high == 1
    assert never["success_rate"].low == pytest.approx(1 - 3.84 / 1200, abs=1e-3)
    assert never["failed"].low == never["failed"].high == 0
    assert never["completed"].high == 40


def test_one_run_knows_nothing_of_others() -> None:
    assert {one.kind for one in summarise_scenario(*runs(1), 0).values()} == {"none"}


def test_tasks_that_were_cancelled_have_no_time() -> None:
    measures, seconds = runs(2)
    assert [len(run) for run in seconds] == [40, 40]
    assert seconds[0] == sorted(seconds[0])
    assert measures[0]["task_seconds_p50"] == seconds[0][19]


def test_ranges_from_few_tasks_are_wider() -> None:
    """By sqrt(n / (n - 1)) t(n-1) / z, about the mean of the replications."""
    measures, _ = runs(39)
    sides = [Side(one, False, 0, 0, 0) for one in measures]
    few, many = (summarise(sides[:1], sides, tasks)["makespan_seconds"] for tasks in (20, 10**7))
    assert few.high - few.low == pytest.approx((many.high - many.low) * expansion(20), rel=1e-5)
    spans = [one["makespan_seconds"] for one in measures]
    assert (many.low, many.high) == pytest.approx((min(spans), max(spans)), rel=1e-5)
