"""The next run: what is drawn again, what is kept, and what the recording has not shown."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from runtime import WorkerPoolConfig
from runtime.journal import read_journal
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool, what_if
from simulation.outcome import measure
from simulation.recording.read import Recording, read_recording
from simulation.simulate import simulate
from simulation.whatif.nextrun import NextRun, Sample
from simulation.whatif.replication import next_pair, recorded_pair
from simulation.whatif.settings import changed_settings

Work = list[tuple[str, Modelled]]


def record(path: Path, work: Work, seed: int = 1, **fields: object) -> Path:
    config = WorkerPoolConfig(
        **{"max_workers": 10, "enable_instrumentation": False, **fields}  # type: ignore[arg-type]
    )
    with SimulatedWorkerPool(config, seed=seed, journal=path) as pool:
        for number, (group, model) in enumerate(work):
            pool.submit_task(f"t{number}", model, group=group)
        pool.wait_for_all()
    return path


def recorded(path: Path, work: Work, **fields: object) -> Recording:
    return read_recording(read_journal(record(path, work, **fields)))


def test_tasks_are_drawn_again_within_their_group_only(tmp_path: Path) -> None:
    work: Work = [("short", Modelled(Exponential(1)))] * 40 + [("long", Modelled(100.0))] * 5
    recording = recorded(tmp_path / "a.jsonl", work)
    luck = Sample(recording).luck(3)
    groups = {task: spec.group for task, spec in recording.specs.items()}
    assert set(luck.sources) == set(groups)
    assert all(groups[task] == groups[source] for task, source in luck.sources.items())
    assert any(task != source for task, source in luck.sources.items())
    counts = Counter(luck.sources.values())
    assert max(counts.values()) > 1


def test_the_same_seed_is_the_same_luck_and_both_settings_share_it(tmp_path: Path) -> None:
    work: Work = [("default", Modelled(Exponential(1), Fails(0.2)))] * 60
    recording = recorded(tmp_path / "a.jsonl", work)
    sample = Sample(recording)
    assert sample.luck(5) == sample.luck(5)
    assert sample.luck(5).sources != sample.luck(6).sources
    pair = next_pair(sample, recording.settings, 5)
    assert pair.baseline == pair.variant
    wide = changed_settings(recording.settings, {"max_workers": 60, "max_retries": 0})
    first, second = Sample(recording).luck(5), sample.luck(5)
    did = NextRun(sample, recording.settings, first).sampler(5)
    same = NextRun(sample, wide, second).sampler(5)
    assert all(did(task, 1) == same(task, 1) for task in recording.specs)


def test_a_task_that_fails_each_time_stays_one(tmp_path: Path) -> None:
    """Its attempts come with it: drawn one by one, three failures in a row would hardly be seen."""
    work: Work = [("default", Modelled(1.0))] * 45 + [("default", Modelled(1.0, Fails()))] * 5
    recording = recorded(tmp_path / "a.jsonl", work, max_retries=2)
    sample = Sample(recording)
    failed = [
        next_pair(sample, recording.settings, n).baseline.measures["failed"] for n in range(40)
    ]
    # two stages of 50 draws of 10%: the mean 5, the variance 2 * 4.5
    assert sum(failed) / 40 == pytest.approx(5, abs=4 * math.sqrt(2 * 4.5 / 40))
    assert stats.tvar(failed) > 4.5


def test_what_retries_do_is_as_uncertain_as_the_recording_leaves_it(tmp_path: Path) -> None:
    """Attempts that are drawn come from the pool: from all that were recorded they would vary less.

    Of 60 attempts without a retry 30% fail. Retried once, 0.09 of the tasks do: the share of
    failures is uncertain by sqrt(.3 * .7 / 60), and with it those that fail twice.
    """
    work: Work = [("default", Modelled(1.0, Fails(0.3)))] * 60
    recording = recorded(tmp_path / "a.jsonl", work, max_retries=0)
    sample = Sample(recording)
    share = len([one for one in recording.done.values() if one.failure]) / 60
    seen = []
    for seed in range(150):
        pool = sample.luck(seed).pool
        assert len(pool) == 60
        seen.append(sum(recording.done[task, 1].failure is not None for task in pool) / 60)
    deviation = math.sqrt(share * (1 - share) / 60)
    assert sum(seen) / 150 == pytest.approx(share, abs=4 * deviation / math.sqrt(150))
    low, high = stats.chi2.interval(0.999, 149)
    assert low < 149 * stats.tvar(seen) / deviation**2 < high


def test_now_and_then_an_attempt_takes_longer_than_any_recorded(tmp_path: Path) -> None:
    """Each of n attempts with the probability 1 / (n + 1), so 63% of runs have one or more."""
    work: Work = [("default", Modelled(Exponential(1)))] * 100
    recording = recorded(tmp_path / "a.jsonl", work)
    sample = Sample(recording)
    longest = max(one.duration_ns or 0 for one in recording.done.values())
    beyond = 0
    for seed in range(200):
        did = NextRun(sample, recording.settings, sample.luck(seed)).sampler(seed)
        beyond += any((did(task, 1).duration_ns or 0) > longest for task in recording.specs)
    expected = 1 - (1 - 1 / 101) ** 100
    low, high = stats.binom.interval(0.999, 200, expected)
    assert low <= beyond <= high


def test_no_failure_in_the_recording_is_no_proof_that_none_happen(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1)))] * 300)
    answer = what_if(path, max_workers=20, max_retries=0)
    rate = answer.variant["success_rate"]
    assert rate.mean == rate.high == 1
    assert 0.97 <= rate.low <= 0.99  # the rule of three: 1 - 3/300
    assert answer.variant["failed"].high == pytest.approx(300 * (1 - rate.low), abs=1)
    assert answer.variant["completed"].low == pytest.approx(300 * rate.low, abs=1)
    # and where failures are retried they cost attempts
    again = what_if(path, max_workers=20, runs=100)
    assert again.variant["attempts"].mean == 300
    assert again.variant["attempts"].high > 300
    # and a cause that no retry cures has not been ruled out either
    assert again.variant["success_rate"].low == pytest.approx(0.99, abs=0.003)
    assert again.variant["failed"].high == 3


def test_a_setting_without_effect_has_no_difference(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1), Fails(0.1)))] * 60)
    answer = what_if(path, max_workers=10, runs=10)
    for name, difference in answer.difference.items():
        assert difference.mean == 0
        if difference.kind == "not estimable":
            assert name == "task_seconds_p99"
        else:
            assert (difference.low, difference.high, difference.p_value) == (0, 0, 1)


def test_common_luck_goes_together_and_says_how_much(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1)))] * 100)
    difference = what_if(path, max_workers=12).difference["makespan_seconds"]
    assert difference.correlation > 0.7
    assert difference.kind == "paired"
    assert difference.low < difference.mean < difference.high < 0
    assert difference.p_value < 0.05


def test_too_few_tasks_for_a_quantile_are_said_to_be(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1)))] * 298)
    answer = what_if(path, runs=3, max_workers=12)
    for outcome in (answer.baseline, answer.variant, answer.difference):
        assert outcome["task_seconds_p99"].kind == "not estimable"
        assert math.isnan(outcome["task_seconds_p99"].low)
        assert not math.isnan(outcome["task_seconds_p99"].mean)
        assert outcome["task_seconds_p95"].kind != "not estimable"
    path = record(tmp_path / "b.jsonl", [("default", Modelled(Exponential(1)))] * 299)
    assert what_if(path, runs=3, max_workers=12).variant["task_seconds_p99"].kind == "next run"


def test_one_run_has_no_interval(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1)))] * 10)
    answer = what_if(path, runs=1, max_workers=12)
    assert {one.kind for one in answer.variant.values()} == {"none"}
    assert math.isnan(answer.variant["makespan_seconds"].low)
    assert answer.runs == 1


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_scaling_all_durations_scales_the_answer(tmp_path: Path, factor: float) -> None:
    """Submitted at once and without backoff, nothing but durations has a unit."""

    def answer(name: str, times: float) -> dict[str, tuple[float, float, float]]:
        work: Work = [("default", Modelled(times * (n % 7 + 1))) for n in range(60)]
        path = record(tmp_path / name, work, backoff_base_seconds=0.0, task_timeout_seconds=None)
        variant = what_if(path, runs=8, max_workers=4).variant
        return {name: (one.mean, one.low, one.high) for name, one in variant.items()}

    plain, scaled = answer("a.jsonl", 1.0), answer("b.jsonl", factor)
    for name in ("makespan_seconds", "task_seconds_p50", "task_seconds_p95"):
        assert scaled[name] == pytest.approx([factor * end for end in plain[name]], rel=1e-6)
    for name in ("success_rate", "attempts", "utilization"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-6)


def test_graham(tmp_path: Path) -> None:
    """List scheduling on m workers: max(W / m, longest) <= makespan <= W / m + (1 - 1/m) longest.

    Graham, Bell System Technical Journal 45(9), 1966. It holds of every replication.
    """
    work: Work = [("default", Modelled(Exponential(1)))] * 80
    recording = recorded(tmp_path / "a.jsonl", work, task_timeout_seconds=None)
    sample = Sample(recording)
    for workers in (1, 3, 8, 200):
        settings = changed_settings(recording.settings, {"max_workers": workers, "max_retries": 0})
        for seed in range(5):
            luck = sample.luck(seed)
            did = NextRun(sample, settings, luck).sampler(seed)
            took = [(did(task, 1).duration_ns or 0) / 1e9 for task in recording.specs]
            run = simulate(NextRun(sample, settings, luck), settings, seed)
            makespan = measure(run)["makespan_seconds"]
            least = max(sum(took) / workers, *took)
            assert least - 1e-6 <= makespan
            assert makespan <= sum(took) / workers + (1 - 1 / workers) * max(took) + 1e-6


def test_little(tmp_path: Path) -> None:
    """L = lambda W holds of any run from empty to empty (Little, Operations Research 9, 1961)."""
    recording = recorded(tmp_path / "a.jsonl", [("default", Modelled(Exponential(1)))] * 80)
    sample = Sample(recording)
    run = simulate(NextRun(sample, recording.settings, sample.luck(1)), recording.settings, 1)
    changes = sorted(
        [(end.submitted_at_ns, 1) for end in run.ends] + [(at, -1) for at in run.ended_at_ns]
    )
    area = here = before = 0
    for at, step in changes:
        area += here * (at - before)
        here, before = here + step, at
    times = [at - end.submitted_at_ns for at, end in zip(run.ended_at_ns, run.ends, strict=True)]
    assert area == sum(times)
    assert measure(run)["makespan_seconds"] * 1e9 == pytest.approx(before)


def test_pairs_do_not_depend_on_what_was_run_before(tmp_path: Path) -> None:
    """So any process may make any of them, in any order."""
    recording = recorded(
        tmp_path / "a.jsonl",
        [("default", Modelled(Exponential(1), Fails(0.3)))] * 50,
        max_retries=1,
        jitter="full",
    )
    settings = changed_settings(recording.settings, {"max_retries": 4})
    forward = [next_pair(Sample(recording), settings, seed) for seed in range(4)]
    sample = Sample(recording)
    backward = [next_pair(sample, settings, seed) for seed in reversed(range(4))]
    assert forward == backward[::-1]
    assert recorded_pair(recording, settings, 2) == recorded_pair(recording, settings, 2)


@pytest.mark.parametrize("fails", [True, False])
def test_attempts_that_were_not_recorded_come_from_the_pool(tmp_path: Path, fails: bool) -> None:
    work: Work = [("default", Modelled(1.0, Fails(0.3)))] * 60
    recording = recorded(tmp_path / "a.jsonl", work, max_retries=0)
    settings = changed_settings(recording.settings, {"max_retries": 1})
    sample = Sample(recording)
    chosen = [
        task for (task, _), did in recording.done.items() if (did.failure is not None) == fails
    ]
    luck = replace(sample.luck(1), pool=chosen, unseen={"default": 0.0})
    did = NextRun(sample, settings, luck).sampler(1)
    drawn = [did(task, 2) for task in recording.specs if did(task, 1).failure is not None]
    assert drawn
    assert all((one.failure is not None) == fails for one in drawn)


def test_among_the_longest_attempts_take_times_between_two_recorded_ones(tmp_path: Path) -> None:
    work: Work = [("default", Modelled(Exponential(1)))] * 100
    recording = recorded(tmp_path / "a.jsonl", work)
    sample = Sample(recording)
    known = sorted(one.duration_ns or 0 for one in recording.done.values())
    did = NextRun(sample, recording.settings, sample.luck(1)).sampler(1)
    took = [did(task, 1).duration_ns or 0 for task in recording.specs]
    between = [one for one in took if one not in known and one < known[-1]]
    assert between
    assert min(between) > known[-11]  # among the 10 longest only
