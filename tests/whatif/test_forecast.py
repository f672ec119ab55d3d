"""The rest of a run: exact where nothing is open, covered where it is, refused where none knows."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import msgspec
import pytest

from concurrency import WorkerPool, WorkerPoolConfig
from runtime.core.records import FinishTask
from runtime.journal import Journal, read_journal
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool, Uniform
from simulation.distributions import Distribution
from simulation.recording.read import read_recording
from simulation.whatif.forecast import NothingSeenError, _Rest, _time_left, forecast


def recorded(
    folder: Path, model: Modelled, tasks: int, workers: int, seed: int = 0, group: str = "default"
) -> Journal:
    config = WorkerPoolConfig(
        max_workers=workers, task_timeout_seconds=None, max_retries=2, backoff_base_seconds=1
    )
    file = folder / f"{group}-{seed}.jsonl"
    with SimulatedWorkerPool(config, seed=seed, journal=file) as pool:
        for number in range(tasks):
            pool.submit_task(f"Q{number}", model, group=group)
        pool.wait_for_all()
    return read_journal(file)


def cut(journal: Journal, at_ns: int) -> Journal:
    """What a journal had at an instant."""
    return msgspec.structs.replace(
        journal, records=[one for one in journal.records if one.at <= at_ns], complete=False
    )


def ends(journal: Journal) -> list[int]:
    return [
        record.at
        for record in journal.records
        for instruction in record.instructions
        if isinstance(instruction, FinishTask)
    ]


def test_a_run_that_has_ended_is_not_forecast_to_go_on(tmp_path: Path) -> None:
    whole = recorded(tmp_path, Modelled(3), 10, 5)
    found = forecast(whole, runs=5)
    assert (found.open_tasks, found.ended_tasks) == (0, 10)
    assert found.remaining_seconds.mean == found.remaining_seconds.high == 0
    assert found.success_rate.mean == 1.0


def test_what_takes_as_long_each_time_ends_when_it_must(tmp_path: Path) -> None:
    # 100 of 10 s on 5 workers: at 103 s the 11th wave has run 3 s, and 9 more follow
    whole = recorded(tmp_path, Modelled(10), 100, 5)
    found = forecast(cut(whole, 100_000_000_000), at_ns=103_000_000_000, runs=99, deadline=1e6)
    assert found.open_tasks == 50
    assert found.remaining_seconds.low == pytest.approx(97.0)
    assert found.at == pytest.approx(103.0)
    assert found.ends_at.low == pytest.approx(200.0)
    assert found.meets_deadline is not None
    assert found.meets_deadline.mean == 1.0


def test_who_has_run_for_long_is_not_taken_for_new(tmp_path: Path) -> None:
    # half take 1 s, half 100 s: who runs after 50 s is one of the long ones and has 50 s to go
    long_and_short = Modelled([1.0], None), Modelled([100.0], None)
    config = WorkerPoolConfig(max_workers=4, task_timeout_seconds=None)
    with SimulatedWorkerPool(config, journal=tmp_path / "j") as pool:
        for number in range(80):
            pool.submit_task(f"Q{number}", long_and_short[number % 2])
        pool.wait_for_all()
    whole = read_journal(tmp_path / "j")
    last_starts = max(ends(whole)) - 100_000_000_000
    at_ns = last_starts + 50_000_000_000
    found = forecast(cut(whole, at_ns), at_ns=at_ns, runs=59)
    assert found.remaining_seconds.low == pytest.approx(50.0, abs=1e-6)


def test_a_retry_that_outlasts_the_few_that_ended_is_like_any_attempt(tmp_path: Path) -> None:
    # Two retries have ended after 2 s. What those that still run come to lies beyond all that
    # retries have shown, but not beyond the one attempt in a hundred that took 100 s.
    config = WorkerPoolConfig(
        max_workers=200, task_timeout_seconds=None, max_retries=1, backoff_base_seconds=1
    )
    with SimulatedWorkerPool(config, journal=tmp_path / "j") as pool:
        pool.submit_task("long", Modelled(100))
        pool.advance(100)
        for number in range(99):
            pool.submit_task(f"Q{number}", Modelled(Uniform(1, 10)))
            if number % 8 == 0:
                last = 2 if number < 16 else 9
                pool.submit_task(f"R{number}", Modelled([Uniform(1, 9), last], [Fails(), None]))
        pool.advance(11)
        found = pool.forecast(runs=39)
        began = pool.now
        pool.wait_for_all()
        came = pool.now - began
    assert found.open_tasks == 11
    assert found.remaining_seconds.low < came < found.remaining_seconds.high
    assert found.remaining_seconds.mean < 100  # 223 where each is longer than them all


def test_who_outlasts_all_that_ended_makes_the_next_as_long_only_once(tmp_path: Path) -> None:
    # Of 60, ten have run 5 s and outlasted the 50 that ended: so will 10 or 11 in 61 that wait.
    # Both Kaplan and Meier's weight beyond the longest and the curve say so.
    config = WorkerPoolConfig(max_workers=10, task_timeout_seconds=None)
    with SimulatedWorkerPool(config, seed=4, journal=tmp_path / "j") as pool:
        for number in range(50):
            pool.submit_task(f"Q{number}", Modelled(Uniform(1, 2)))
        pool.wait_for_all()
        for number in range(210):
            pool.submit_task(f"L{number}", Modelled(100))
        pool.wait_for_all()
    whole = read_journal(tmp_path / "j")
    now_ns = ends(whole)[49] + 5_000_000_000
    recording = read_recording(cut(whole, now_ns))
    rest = _Rest(recording, None, now_ns)
    longest = max(did.duration_ns or 0 for did in recording.done.values())
    longer = drawn = 0
    for seed in range(60):
        sample = rest.workload(seed).sampler(seed)
        for task in range(61, 261):
            drawn += 1
            longer += (sample(task, 1).duration_ns or 0) > longest
    assert longer / drawn == pytest.approx(10.5 / 61, abs=0.04)


@pytest.mark.parametrize("duration", [Exponential(mean=4), Uniform(2, 6)])
def test_the_interval_holds(tmp_path: Path, duration: Distribution) -> None:
    """At the instants when a share of the tasks has ended: an instant that is chosen by when the
    run will end, as half of its makespan, is chosen by the very thing that is forecast.
    """
    held = asked = 0
    for seed in range(12):
        whole = recorded(tmp_path, Modelled(duration, Fails(0.05)), 120, 10, seed)
        by_end = ends(whole)
        for share in (0.3, 0.7):
            at_ns = by_end[int(share * len(by_end))]
            found = forecast(cut(whole, at_ns), at_ns=at_ns, runs=59, seed=1000 * seed)
            remaining = (by_end[-1] - at_ns) / 1e9
            asked += 1
            held += found.remaining_seconds.low <= remaining <= found.remaining_seconds.high
    # of 24 at 95%, fewer than 20 happen once in 200 (binomial)
    assert asked == 24
    assert held >= 20


def test_what_may_never_end_has_no_upper_end() -> None:
    found = _time_left([1.0 + number for number in range(50)] + [math.inf] * 50, seen=20)
    assert found.low < 10
    assert found.mean == found.high == math.inf


def test_the_same_twice(tmp_path: Path) -> None:
    whole = recorded(tmp_path, Modelled(Exponential(4), Fails(0.2)), 60, 6)
    part = cut(whole, ends(whole)[30])
    assert forecast(part, runs=20, seed=3) == forecast(part, runs=20, seed=3)
    assert forecast(part, runs=20, seed=3) != forecast(part, runs=20, seed=4)


def test_a_group_of_which_nothing_was_seen_needs_an_older_run(tmp_path: Path) -> None:
    older = recorded(tmp_path, Modelled(7), 20, 4, group="slow")
    config = WorkerPoolConfig(max_workers=2, task_timeout_seconds=None)
    with SimulatedWorkerPool(config, journal=tmp_path / "j") as pool:
        for number in range(20):
            pool.submit_task(f"Q{number}", Modelled(1))
        pool.submit_task("S", Modelled(7), group="slow", priority=1)
        pool.advance(5.5)
        with pytest.raises(NothingSeenError, match="'slow'"):
            pool.forecast(runs=5)
        found = pool.forecast(runs=39, journal=older.path)
        assert found.open_tasks == 11
        assert found.remaining_seconds.low == pytest.approx(11.5)  # 4.5 s of ones, 7 of the slow


def test_before_it_starts_all_that_the_older_run_did_is_expected(tmp_path: Path) -> None:
    older = recorded(tmp_path, Modelled(6), 30, 5)
    config = WorkerPoolConfig(max_workers=10, task_timeout_seconds=None)
    with SimulatedWorkerPool(config, journal=tmp_path / "j", epoch=1000.0) as pool:
        pool.advance(50)
        found = pool.forecast(deadline=1067.0, journal=older.path, runs=79)
        assert found.remaining_seconds.low == pytest.approx(18.0, abs=0.5)
        assert found.ends_at.low == pytest.approx(1068.0, abs=0.5)
        assert found.meets_deadline is not None
        assert found.meets_deadline.mean == 0.0
        with pytest.raises(NothingSeenError, match="no task was submitted"):
            pool.forecast()


def test_a_pool_of_real_threads_while_it_runs(tmp_path: Path) -> None:
    gate = threading.Event()
    first = threading.Barrier(5)

    def pass_on(number: int) -> None:
        if number < 4:
            first.wait(60)
        elif number >= 20:
            gate.wait(60)

    config = WorkerPoolConfig(max_workers=4, task_timeout_seconds=None)
    with WorkerPool(config, journal=tmp_path / "j") as pool:
        ids = [pool.submit_task(f"Q{number}", pass_on, (number,)) for number in range(30)]
        first.wait(60)
        for task_id in ids[:20]:
            pool.get_task_result(task_id, timeout=60)
        found = pool.forecast(deadline=pool.now + 3600, runs=39)
        gate.set()
        pool.wait_for_all(timeout=60)
        assert (found.open_tasks, found.ended_tasks) == (10, 20)
        assert found.remaining_seconds.low >= 0
        assert found.meets_deadline is not None
        assert found.meets_deadline.mean > 0.9
        assert pool.forecast(runs=3).open_tasks == 0


def test_without_a_journal_it_says_what_is_missing() -> None:
    with WorkerPool() as pool, pytest.raises(RuntimeError, match=r"journal='run.jsonl'"):
        pool.forecast()


def test_bad_arguments(tmp_path: Path) -> None:
    whole = recorded(tmp_path, Modelled(3), 3, 3)
    with pytest.raises(TypeError, match="deadline='soon'"):
        forecast(whole, deadline="soon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="runs=0"):
        forecast(whole, runs=0)


def phased(path: Path, workers: int, phases: int = 2) -> Journal:
    """Phases of 20 tasks of 6 s, each when the one before has ended."""
    config = WorkerPoolConfig(max_workers=workers, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for _ in range(phases):
            for number in range(20):
                pool.submit_task(f"t{number}", Modelled(6.0 + number / 100))
            pool.wait_for_all()
    return read_journal(path)


def test_phases_of_the_older_run_wait_for_each_other(tmp_path: Path) -> None:
    """Recorded with 20 workers, expected with 2: at their instants both would come at once."""
    older = phased(tmp_path / "older.jsonl", 20, phases=3)
    config = WorkerPoolConfig(max_workers=2, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=tmp_path / "now.jsonl") as pool:
        found = pool.forecast(journal=older.path, runs=39)
    assert found.remaining_seconds.mean == pytest.approx(3 * 10 * 6.1, rel=0.05)


def test_a_phase_that_was_not_submitted_is_not_in_it_and_that_is_said(tmp_path: Path) -> None:
    journal = phased(tmp_path / "run.jsonl", 4)
    middle = forecast(cut(journal, ends(journal)[25]), runs=10, older=journal)
    assert "once tasks were submitted when others had ended" in middle.notes[0]
    assert len(middle.notes) == 1
    first = forecast(cut(journal, ends(journal)[10]), runs=10, older=journal)
    assert "the older run had 20 more tasks than were submitted so far" in first.notes[0]
