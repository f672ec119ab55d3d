"""fit: what was put in comes out, and what does not fit is said."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest

from examples.questions import ask
from runtime import WorkerPoolConfig
from simulation import (
    Constant,
    Empirical,
    Exponential,
    Fails,
    LogNormal,
    Modelled,
    SimulatedWorkerPool,
    Uniform,
    sweep,
)
from simulation.fit.arrivals import fit_arrivals
from simulation.fit.durations import fit_durations
from simulation.fit.fit import fit
from simulation.scenario import read_scenario
from simulation.whatif.answer import DishonestError
from tests.whatif.recordings import record


def draws(distribution: object, count: int, seed: int = 1) -> list[int]:
    draw = Random(seed).random
    return [round(distribution.at(draw()) * 1e9) for _ in range(count)]  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------- durations


@pytest.mark.parametrize(
    "truth",
    [LogNormal(3.0, 0.5), LogNormal(0.01, 1.5), Exponential(2.0), Uniform(1.0, 3.0), Constant(2.0)],
)
def test_the_distribution_that_was_drawn_from_is_found(truth: object) -> None:
    found = fit_durations(draws(truth, 300))
    assert type(found.distribution) is type(truth)
    assert not found.p_value < 0.05
    for u in (0.1, 0.5, 0.9):
        assert found.distribution.at(u) == pytest.approx(truth.at(u), rel=0.25)  # type: ignore[attr-defined]


def test_true_data_are_rejected_about_once_in_twenty() -> None:
    """The plain Kolmogorov-Smirnov test would hardly ever: its parameters are fitted."""
    rejected = sum(
        fit_durations(draws(LogNormal(1.0, 0.4), 40, seed), seed=seed).kind == "empirical"
        for seed in range(100)
    )
    assert 1 <= rejected <= 12


def test_what_no_candidate_fits_is_taken_as_it_was_seen() -> None:
    two_kinds = draws(Uniform(1.0, 1.1), 100) + draws(Uniform(9.0, 9.1), 100)
    found = fit_durations(two_kinds)
    assert found.kind == "empirical"
    assert found.p_value < 0.05
    assert isinstance(found.distribution, Empirical)
    assert found.distribution.at(0.25) < 1.2
    assert found.distribution.at(0.75) > 8.9
    assert len(found.distribution.values) <= 200


def test_few_durations_are_taken_as_they_are() -> None:
    found = fit_durations(draws(Exponential(1.0), 10))
    assert found.kind == "empirical"
    assert math.isnan(found.p_value)


@pytest.mark.parametrize("truth", [LogNormal(3.0, 0.6), Exponential(3.0)])
def test_what_was_cut_off_is_no_duration(truth: object) -> None:
    """A quarter is censored at a timeout; taking that for a duration would lose the tail."""
    limit = truth.at(0.75)  # type: ignore[attr-defined]
    everything = draws(truth, 400)
    seen = [one for one in everything if one <= limit * 1e9]
    cut = [round(limit * 1e9)] * (len(everything) - len(seen))
    found = fit_durations(seen, cut)
    assert type(found.distribution) is type(truth)
    assert found.beyond == pytest.approx(0.25, abs=0.06)
    assert found.distribution.at(0.95) == pytest.approx(truth.at(0.95), rel=0.2)  # type: ignore[attr-defined]
    naive = fit_durations(seen + cut)
    assert naive.distribution.at(0.95) < 0.9 * truth.at(0.95)  # type: ignore[attr-defined]


def test_the_censored_fit_is_scipys() -> None:
    from scipy import stats

    everything = np.array(draws(LogNormal(3.0, 0.6), 200)) / 1e9
    seen, cut = everything[everything <= 4.0], everything[everything > 4.0]
    data = stats.CensoredData(uncensored=seen, right=np.full(len(cut), 4.0))
    sigma, _, median = stats.lognorm.fit(data, floc=0)
    found = fit_durations([round(v * 1e9) for v in seen], [4_000_000_000] * len(cut))
    assert isinstance(found.distribution, LogNormal)
    assert found.distribution.median == pytest.approx(median, rel=1e-3)
    assert found.distribution.sigma == pytest.approx(sigma, rel=1e-3)


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no duration to fit"):
        fit_durations([], [5])


# -------------------------------------------------------------------------------------- arrivals


def poisson(count: int, rate: float, seed: int) -> list[float]:
    draw = Random(seed).expovariate
    instants, now = [], 0.0
    for _ in range(count):
        now += draw(rate)
        instants.append(now)
    return instants


def test_arrivals_at_random_are_found_with_their_rate() -> None:
    found = fit_arrivals(poisson(200, 5.0, 3), 45.0)
    assert found.kind == "poisson"
    assert found.rate_per_second == pytest.approx(5.0, rel=0.2)
    assert found.gaps_p_value > 0.05
    assert found.even_p_value > 0.05


def test_arrivals_by_the_clock_or_with_a_rush_are_not_poisson() -> None:
    assert fit_arrivals([n * 0.5 for n in range(100)], 60.0).gaps_p_value < 0.05
    rush = poisson(100, 1.0, 1) + [100 + at for at in poisson(100, 20.0, 2)]
    assert fit_arrivals(rush, 120.0).even_p_value < 0.05


def test_a_batch_and_bursts() -> None:
    assert fit_arrivals([0.001 * n for n in range(50)], 100.0).kind == "batch"
    found = fit_arrivals([0.0] * 30 + [50.0] * 20, 100.0)
    assert found.kind == "bursts"
    assert [(one.tasks, one.start_seconds) for one in found.bursts] == [(30, 0.0), (20, 50.0)]
    assert fit_arrivals([7.0], 100.0).bursts[0].start_seconds == 7.0


# ------------------------------------------------------------------------------------ whole runs


def test_a_scenario_that_was_recorded_is_found_again(tmp_path: Path) -> None:
    model = Modelled(LogNormal(2.0, 0.5), Fails(0.2, "ConnectionError", retry_after_seconds=3.0))
    path = record(tmp_path / "run.jsonl", 200, model, jitter="full", max_retries=2)
    found = fit(path)
    (group,) = found.groups
    assert group.arrivals.kind == "batch"
    assert group.durations.kind == "lognormal"
    assert group.failures.probability.low <= 0.2 <= group.failures.probability.high
    assert group.failures.fails == Fails(
        round(group.failures.failed / group.failures.ended, 6), "ConnectionError", True, 3.0
    )
    assert all(abs(one.error) < 0.1 for one in found.compared)
    out = tmp_path / "run.toml"
    out.write_text(found.text)
    read = read_scenario(out)
    assert read.config == found.scenario.config
    assert read.config.jitter == "full"
    assert list(read.workload.arrivals(3)) == list(found.scenario.workload.arrivals(3))
    first, second = read.workload.sampler(3), found.scenario.workload.sampler(3)
    assert all(first(n, k) == second(n, k) for n in range(1, 50) for k in (1, 2))
    assert sweep(out, {"max_workers": [8, 16]}, runs=5).cells[1].verdict == "better"


def test_groups_priorities_names_and_arrivals(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    name = 'a "quoted" \\ group\n\x7f é'
    config = WorkerPoolConfig(
        max_workers=50, task_timeout_seconds=None, enable_instrumentation=False
    )
    instants = poisson(60, 2.0, 4)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for n in range(30):
            pool.submit_task(f"a{n}", Modelled(Constant(2.0)), group=name)
        for n, at in enumerate(instants):
            pool.advance(at - pool.now)
            pool.submit_task(f"b{n}", Modelled(Exponential(0.5)), group="b", priority=-3)
        pool.wait_for_all()
    found = fit(path, force=True)
    out = tmp_path / "run.toml"
    out.write_text(found.text, encoding="utf-8")
    specs = [spec for _, spec in read_scenario(out).workload.arrivals(0)]
    assert {(spec.group, spec.priority) for spec in specs} == {(name, 0), ("b", -3)}
    first, second = found.groups
    assert (first.durations.kind, first.failures.fails) == ("constant", None)
    assert (second.arrivals.kind, second.durations.kind) == ("poisson", "exponential")


def test_what_the_scenario_leaves_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    bad = Modelled([3.0], [Fails(1.0, "ValueError")])  # always, so that a retry is no help
    config = WorkerPoolConfig(max_workers=10, max_retries=2, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for n in range(100):
            model = bad if n % 5 == 0 else Modelled(Uniform(0.9, 1.1))
            pool.submit_task(f"t{n}", model, timeout=50 if n == 7 else 180.0)
        pool.wait_for_all()
    notes = " ".join(fit(path, force=True).notes)
    assert "causes that last" in notes
    assert "failures take 3 s" in notes
    assert "timeout of their own" in notes


def test_retries_are_fitted_by_themselves_where_enough_have_ended(tmp_path: Path) -> None:
    """A lost connection hardly fails twice, and what is asked again is quick."""
    model = Modelled([Uniform(1.0, 9.0), Constant(0.5)], [Fails(0.3, "ConnectionError"), None])
    path = record(tmp_path / "run.jsonl", 100, model)
    found = fit(path)
    (group,) = found.groups
    assert group.retries is not None
    assert group.durations.kind == "uniform"
    assert group.failures.failed == group.retries.durations.attempts
    assert group.retries.durations.distribution == Constant(0.5)
    assert group.retries.failures.fails is None
    assert not found.notes
    out = tmp_path / "run.toml"
    out.write_text(found.text)
    read = read_scenario(out).workload.sampler(1)
    fitted = found.scenario.workload.sampler(1)
    assert all(read(n, k) == fitted(n, k) for n in range(1, 50) for k in (1, 2, 3))
    assert all(read(n, k).failure is None for n in range(1, 50) for k in (2, 3))
    assert any(read(n, 1).failure is not None for n in range(1, 50))
    few = fit(record(tmp_path / "few.jsonl", 12, model), force=True).groups[0]
    assert few.retries is None


def test_the_demos_run_is_fitted(tmp_path: Path) -> None:
    """Its three slow questions are slow once: a retry that is as slow would come last of all."""
    path = tmp_path / "demo.jsonl"
    config = WorkerPoolConfig(
        max_workers=50, max_retries=3, task_timeout_seconds=0.5, backoff_base_seconds=0.1
    )
    with SimulatedWorkerPool(config, journal=path) as pool:
        for number in range(1, 301):
            pool.submit_task(f"Q{number:03d}", ask, (number,))
        pool.wait_for_all()
    found = fit(path)
    assert abs(found.compared[0].error) < 0.1
    assert not found.notes


def test_a_scenario_that_does_not_stand_for_the_recording_is_refused(tmp_path: Path) -> None:
    """The long task came first; in a scenario it may come last, with the others already gone."""
    path = tmp_path / "run.jsonl"
    config = WorkerPoolConfig(max_workers=2, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for n in range(10):
            pool.submit_task(f"t{n}", Modelled(Constant(100.0 if n == 0 else 1.0)))
        pool.wait_for_all()
    with pytest.raises(DishonestError, match=r"makespan is .* it may be chance: when") as caught:
        fit(path)
    assert caught.value.answer.compared[0].recorded == 100.0
    assert fit(path, force=True).text.startswith("# Fitted to run.jsonl")


def test_a_scenario_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a scenario already"):
        fit("examples/outage.toml")


def test_twice_the_same(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl", 60)
    assert fit(path).text == fit(path).text
