"""What-if: against the truth, under common random numbers, and where it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from runtime import TaskCancelledError, WorkerPoolConfig, current_attempt
from runtime.journal import Journal, read_journal
from simulation import Exponential, Fails, LogNormal, Modelled, SimulatedWorkerPool
from simulation.outcome import MEASURES
from simulation.recording.read import read_recording
from simulation.statistics.intervals import Interval, intervals
from simulation.whatif.answer import DishonestError, WhatIf
from simulation.whatif.predict import what_if
from simulation.whatif.settings import changed_settings


def record(
    path: Path,
    tasks: int = 120,
    model: Modelled | None = None,
    after: float = 0.0,
    **fields: object,
) -> Journal:
    model = model or Modelled(LogNormal(2.0, 0.6), Fails(0.1))
    config = WorkerPoolConfig(
        **{"max_workers": 20, "enable_instrumentation": False, **fields}  # type: ignore[arg-type]
    )
    with SimulatedWorkerPool(config, seed=9, journal=path) as pool:
        for n in range(tasks):
            pool.submit_task(f"t{n}", model, priority=n % 2)
        pool.wait_for_all()
        pool.advance(after)
    return read_journal(path)


def test_the_unchanged_setting_is_reproduced_exactly(tmp_path: Path) -> None:
    answer = what_if(record(tmp_path / "a.jsonl"), max_workers=20)
    assert answer.fidelity.makespan_error == 0
    assert answer.baseline == answer.variant
    assert all(interval.mean == 0 for interval in answer.difference.values())
    assert not answer.random
    assert answer.fidelity.task_seconds_p95_error == answer.fidelity.attempts_error == 0


def test_a_prediction_is_what_really_happens(tmp_path: Path) -> None:
    """The same seed makes the same attempts, so the other setting can simply be run."""
    answer = what_if(record(tmp_path / "a.jsonl"), max_workers=5)
    truth = what_if(record(tmp_path / "b.jsonl", max_workers=5), max_workers=5)
    for name in MEASURES:
        assert answer.variant[name].mean == pytest.approx(truth.baseline[name].mean, abs=1e-9)


def test_attempts_that_were_not_recorded_are_drawn_and_the_answer_is_an_interval(
    tmp_path: Path,
) -> None:
    journal = record(tmp_path / "a.jsonl", max_retries=0)
    answer = what_if(journal, max_retries=3, runs=20)
    assert answer.runs == 20
    assert answer.drawn_attempts > 0
    assert answer.variant["success_rate"].mean > answer.baseline["success_rate"].mean
    makespan = answer.variant["makespan_seconds"]
    assert makespan.low < makespan.mean < makespan.high
    assert answer == what_if(journal, max_retries=3, runs=20)
    assert answer != what_if(journal, max_retries=3, runs=20, seed=1000)


def test_jitter_is_random(tmp_path: Path) -> None:
    journal = record(tmp_path / "a.jsonl", model=Modelled(1.0, [Fails(), None]))
    assert what_if(journal, runs=2, jitter="full").random
    assert not what_if(journal, runs=2, backoff_base_seconds=0.0).random


def test_more_time_than_was_ever_seen_is_refused(tmp_path: Path) -> None:
    journal = record(
        tmp_path / "a.jsonl",
        tasks=10,
        model=Modelled([100.0, 1.0]),
        after=200.0,
        task_timeout_seconds=5.0,
    )
    assert what_if(journal, runs=2, task_timeout_seconds=4.0).variant["timeouts"].mean == 10
    answer = what_if(journal, runs=2, task_timeout_seconds=200.0)
    # those attempts came home late, so how long they take is known
    assert answer.variant["timeouts"].mean == 0

    never = record(
        tmp_path / "b.jsonl",
        tasks=10,
        model=Modelled([math.inf, 1.0]),
        task_timeout_seconds=5.0,
    )
    with pytest.raises(DishonestError, match="cannot know how long") as caught:
        what_if(never, runs=2, task_timeout_seconds=200.0)
    assert caught.value.answer.unknown_attempts == 10
    assert isinstance(what_if(never, runs=2, task_timeout_seconds=200.0, force=True), WhatIf)


def test_an_attempt_that_heeded_its_token_is_censored_not_short(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def heeds() -> None:
        if current_attempt().number == 1:
            with pytest.raises(TaskCancelledError):
                current_attempt().sleep(1000)
            current_attempt().raise_if_cancelled()

    config = WorkerPoolConfig(task_timeout_seconds=5.0, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        pool.submit_task("t", heeds)
        pool.wait_for_all()
    with pytest.raises(DishonestError, match="cannot know how long"):
        what_if(path, runs=2, task_timeout_seconds=50.0)


def test_an_attempt_that_heeds_its_token_comes_home_in_the_simulation_too(tmp_path: Path) -> None:
    """Else it would hold its slot for ever, and the unchanged setting would say something else."""
    path = tmp_path / "run.jsonl"
    config = WorkerPoolConfig(
        max_workers=2, max_abandoned_threads=0, max_retries=0, task_timeout_seconds=None
    )
    with SimulatedWorkerPool(config, journal=path) as pool:
        pool.submit_task("long", Modelled(10))
        pool.submit_task("heeds", lambda: current_attempt().sleep(99), timeout=1)
        for n in range(20):
            pool.submit_task(f"m{n}", Modelled(1))
        pool.advance(8.5)
        pool.abort_pending_tasks()
        pool.wait_for_all()
        recorded = pool.get_summary_metrics()
    answer = what_if(path, runs=2, max_workers=2)
    assert answer.baseline["completed"].mean == recorded["completed"] == 9
    assert answer.baseline["cancelled"].mean == recorded["cancelled"] == 12
    assert answer.baseline["attempts"].mean == recorded["total_attempts"]
    assert answer.fidelity.makespan_error == 0


def test_one_that_heeds_a_cancel_is_known_for_as_long_as_it_ran(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    config = WorkerPoolConfig(max_workers=1, max_retries=0, task_timeout_seconds=None)
    with SimulatedWorkerPool(config, journal=path) as pool:
        heeds = pool.submit_task("heeds", lambda: current_attempt().sleep(99))
        pool.submit_task("after", Modelled(1))
        pool.advance(5)
        pool.cancel(heeds)
        pool.wait_for_all()
    answer = what_if(path, runs=2, max_workers=2)
    assert answer.variant["cancelled"].mean == 1
    assert answer.unknown_attempts == 0


def test_a_jittered_recording_is_reproduced_with_its_own_seed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    config = WorkerPoolConfig(
        max_workers=4, jitter="full", seed=5, backoff_base_seconds=8, backoff_max_seconds=60
    )
    with SimulatedWorkerPool(config, journal=path) as pool:
        for n in range(6):
            pool.submit_task(f"t{n}", Modelled(1, [Fails(), Fails(), None]))
        pool.wait_for_all()
    answer = what_if(path, runs=2, max_workers=4)
    assert answer.fidelity.makespan_error == 0
    assert answer.random


def test_a_killed_run_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    record(path, tasks=20)
    lines = path.read_bytes().splitlines(keepends=True)
    head = lines[0].replace(b'"state":"closed    "', b'"state":"open      "')
    path.write_bytes(head + b"".join(lines[1:25]))
    with pytest.raises(DishonestError, match="had not ended where the journal ends"):
        what_if(path, runs=2, max_workers=4)


def test_a_recording_that_is_not_reproduced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that was slow for a reason outside the recording: here, a paused process."""
    path = tmp_path / "a.jsonl"
    record(path, tasks=1, model=Modelled(10.0))
    recording = read_recording(read_journal(path))
    recording.done[1, 1] = msgspec.structs.replace(recording.done[1, 1], duration_ns=5 * 10**9)
    monkeypatch.setattr("simulation.whatif.predict.read_recording", lambda journal: recording)
    with pytest.raises(DishonestError, match=r"makespan with -50\.00% error"):
        what_if(path, runs=2, max_workers=3)
    assert what_if(path, runs=2, max_workers=3, force=True).fidelity.makespan_error == -0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_worker": 3}, "did you mean max_workers"),
        ({"nonsense": 3}, "there are max_workers"),
        ({"max_workers": 0}, "max_workers=0"),
        ({"max_workers": "many"}, "max_workers='many'"),
        ({"backoff_base_seconds": 1e6}, "must not exceed backoff_max_seconds"),
        ({"jitter": "some"}, "jitter"),
    ],
)
def test_bad_changes(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    settings = record(tmp_path / "a.jsonl", tasks=1).header.settings
    with pytest.raises((ValueError, TypeError), match=message):
        changed_settings(settings, changes)


def test_what_is_not_changed_stays_exact() -> None:
    from runtime.core import CoreSettings

    settings = CoreSettings(3, 123_456_789_123_456_789, 2, 1, 7, "equal", 5, 1, 77)
    assert changed_settings(settings, {"max_workers": 3}) == settings
    changed = changed_settings(settings, {"task_timeout_seconds": None})
    assert changed.timeout_ns is None
    assert changed.backoff_max_ns == 7


def test_the_interval_is_students() -> None:
    """Against the tabulated t quantile: 2.262 for 9 degrees of freedom at 95%."""
    values = [float(n) for n in range(10)]
    base = dict.fromkeys(MEASURES, 1.0)
    got = intervals([{**base, "attempts": value} for value in values])
    deviation = math.sqrt(sum((v - 4.5) ** 2 for v in values) / 9)
    assert got["attempts"].mean == 4.5
    assert got["attempts"].high - 4.5 == pytest.approx(
        2.26216 * deviation / math.sqrt(10), rel=1e-5
    )
    assert got["makespan_seconds"] == Interval(1.0, 1.0, 1.0)


def test_the_interval_holds_about_as_often_as_it_says() -> None:
    """Of 300 intervals from 10 exponential values each, some 95% hold the true mean of 1."""
    from runtime.core.keyed import Purpose, uniform

    base = dict.fromkeys(MEASURES, 0.0)
    held = 0
    for trial in range(300):
        runs = [
            {
                **base,
                "attempts": sum(
                    Exponential(1.0).at(uniform(trial, n, r, Purpose.CHOICE)) for n in range(30)
                )
                / 30,
            }
            for r in range(10)
        ]
        interval = intervals(runs)["attempts"]
        held += interval.low <= 1.0 <= interval.high
    assert 0.91 <= held / 300 <= 0.98
