"""Known theory: M/M/c against Erlang C, Little's law, Graham's bounds."""

from __future__ import annotations

import math

import pytest

from runtime.core import CoreSettings
from simulation import Exponential, Modelled
from simulation.outcome import measure
from simulation.simulate import simulate
from simulation.workload import Batch, SyntheticWorkload

SERVERS = 10


def erlang_c_wait(servers: int, load: float, mean: float) -> float:
    """Mean wait in an M/M/c queue (Erlang 1917; e.g. Kleinrock, 'Queueing Systems' 1, 3.5)."""
    offered = servers * load
    terms = sum(offered**k / math.factorial(k) for k in range(servers))
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (terms + last) * mean / (servers * (1 - load))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.85])
def test_the_mean_wait_of_mmc_lies_within_its_interval_around_erlang_c(load: float) -> None:
    from scipy.special import stdtrit

    warm, tasks, runs = 2_000, 32_000, 10
    means = []
    for seed in range(runs):
        run = simulate(
            SyntheticWorkload.poisson(tasks, SERVERS * load, Exponential(1.0)),
            CoreSettings(max_workers=SERVERS),
            seed,
        )
        waits = [end.queued_ns / 1e9 for end in run.ends if end.task > warm]
        means.append(math.fsum(waits) / len(waits))
    mean = math.fsum(means) / runs
    deviation = math.sqrt(math.fsum((m - mean) ** 2 for m in means) / (runs - 1))
    half = float(stdtrit(runs - 1, 0.995)) * deviation / math.sqrt(runs)
    assert abs(mean - erlang_c_wait(SERVERS, load, 1.0)) <= half


def test_littles_law_holds_exactly() -> None:
    """The integral of the number in the system is the sum of the times in the system."""
    run = simulate(
        SyntheticWorkload.poisson(2_000, 9.0, Exponential(1.0)), CoreSettings(max_workers=10), 3
    )
    changes = sorted(
        [(end.submitted_at_ns, 1) for end in run.ends] + [(at, -1) for at in run.ended_at_ns]
    )
    area = inside = last = 0
    for at, change in changes:
        area += inside * (at - last)
        inside, last = inside + change, at
    assert inside == 0
    sojourns = sum(
        at - end.submitted_at_ns for at, end in zip(run.ended_at_ns, run.ends, strict=True)
    )
    assert area == sojourns


def test_grahams_bounds() -> None:
    workers = 7
    for seed in range(20):
        run = simulate(
            SyntheticWorkload([Batch(100, Modelled(Exponential(1.0)))]),
            CoreSettings(max_workers=workers),
            seed,
        )
        took = [end.running_ns for end in run.ends]
        makespan = run.ended_at_ns[-1]
        low = max(sum(took) / workers, *took)
        assert low <= makespan <= sum(took) / workers + (1 - 1 / workers) * max(took)


def test_with_no_failures_attempts_are_tasks() -> None:
    run = simulate(
        SyntheticWorkload.poisson(500, 5.0, Exponential(1.0)), CoreSettings(max_workers=10), 1
    )
    measures = measure(run)
    assert measures["attempts"] == measures["completed"] == 500
    assert measures["retries"] == measures["timeouts"] == measures["failed"] == 0


def test_the_log_changes_nothing() -> None:
    workload = SyntheticWorkload.poisson(300, 9.0, Exponential(1.0))
    plain = simulate(workload, CoreSettings(max_workers=10), 5)
    logged = simulate(workload, CoreSettings(max_workers=10), 5, log=True)
    assert plain.ends == logged.ends
    assert len(logged.steps) == 600
    assert len(logged.transitions) == 900
    again = simulate(workload, CoreSettings(max_workers=10), 5, log=True)
    assert logged.digest == again.digest
