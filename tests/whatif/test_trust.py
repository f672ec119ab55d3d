"""What an answer is refused for, and what it is to be taken with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from runtime import WorkerPoolConfig, current_attempt
from runtime.journal import read_journal
from simulation import DishonestError, Exponential, Fails, Modelled, SimulatedWorkerPool, what_if
from simulation.cli import cli
from simulation.recording.read import read_recording


def record(path: Path, tasks: int = 40, gap: float = 0.0, **fields: object) -> Path:
    config = WorkerPoolConfig(
        **{"max_workers": 4, "enable_instrumentation": False, **fields}  # type: ignore[arg-type]
    )
    with SimulatedWorkerPool(config, seed=2, journal=path) as pool:
        for number in range(tasks):
            pool.submit_task(f"t{number}", Modelled(Exponential(1), Fails(0.1)))
            if gap:
                pool.advance(gap)
        pool.wait_for_all()
    return path


def test_a_wrong_p95_is_refused_though_the_makespan_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "a.jsonl")
    recording = read_recording(read_journal(path))
    first = recording.run.ends[0].submitted_at_ns
    last = max(recording.run.ended_at_ns)
    # as if all but the last had ended long before they could
    recording.run.ended_at_ns = [first + 10**9] * 39 + [last]
    monkeypatch.setattr("simulation.whatif.predict.read_recording", lambda journal: recording)
    with pytest.raises(DishonestError, match="95% quantile of the tasks' times with"):
        what_if(path, runs=1, max_workers=4)


def test_fidelity_has_makespan_p95_and_attempts(tmp_path: Path) -> None:
    fidelity = what_if(record(tmp_path / "a.jsonl"), runs=1, max_workers=5).fidelity
    assert fidelity.simulated_task_seconds_p95 == fidelity.recorded_task_seconds_p95
    assert fidelity.simulated_attempts == fidelity.recorded_attempts > 40
    assert fidelity.makespan_error == fidelity.task_seconds_p95_error == 0


def chains(path: Path, length: int, count: int) -> Path:
    """Each task submits the next one of its chain when it is about to end."""
    config = WorkerPoolConfig(max_workers=4, enable_instrumentation=False)
    draw = Random(3)
    with SimulatedWorkerPool(config, seed=2, journal=path) as pool:

        def work(left: int) -> None:
            current_attempt().sleep(draw.expovariate(1))
            if left:
                pool.submit_task(f"t{left}", work, (left - 1,))

        for _ in range(count):
            pool.submit_task("first", work, (length - 1,))
        pool.advance(1000)
    return path


def results_first(path: Path) -> Path:
    """The next task is submitted when the result of the last one is there."""
    config = WorkerPoolConfig(max_workers=4, enable_instrumentation=False)
    with SimulatedWorkerPool(config, seed=2, journal=path) as pool:
        for number in range(40):
            pool.submit_task(f"beside{number}", Modelled(Exponential(1)))
        for number in range(40):
            pool.get_task_result(pool.submit_task(f"t{number}", Modelled(0.1), priority=-1))
    return path


def test_results_that_lead_to_submissions_lead_to_them_again(tmp_path: Path) -> None:
    answer = what_if(results_first(tmp_path / "a.jsonl"), runs=1, max_workers=8)
    assert answer.notes == []
    assert answer.coming is not None
    assert answer.coming.used == "following"
    assert "39 submissions that came with tasks in flight" in answer.coming.why


def test_tasks_that_tasks_submit_come_when_those_do_and_need_no_note(tmp_path: Path) -> None:
    answer = what_if(chains(tmp_path / "a.jsonl", 15, 4), runs=1, max_workers=1)
    assert answer.notes == []
    ratio = answer.variant["makespan_seconds"].mean / answer.baseline["makespan_seconds"].mean
    assert ratio > 2  # four chains side by side, then one after another


@pytest.mark.parametrize("gap", [0.0, 0.31])
def test_submissions_at_their_own_times_are_not(tmp_path: Path, gap: float) -> None:
    assert what_if(record(tmp_path / "a.jsonl", gap=gap), runs=1, max_workers=8).notes == []


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.return_value == 0, done.output
    return done.stdout


def test_json_has_null_where_nothing_can_be_said(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl")
    command = ["replay", str(path), "--set", "max_workers=8", "--runs", "3"]
    document = json.loads(said(*command, "--json"))
    interval = document["variant"]["task_seconds_p99"]
    assert interval["kind"] == "not estimable"
    assert interval["low"] is interval["high"] is None
    assert interval["mean"] > 0
    assert document["tasks"] == 40
    assert document["notes"] == []
    assert document["fidelity"]["task_seconds_p95_error"] == 0
    shown = said(*command).replace("\n", " ")
    assert "not estimable: 40 tasks are too few to bound it; a p95 takes 59 tasks, a p99" in shown


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", max_retries=1)
    command = ["replay", str(path), "--set", "max_retries=3", "--set", "jitter=full", "--json"]
    first, again, other = (said(*command, "--seed", seed, "--runs", "5") for seed in "001")
    assert first == again != other


def test_more_replications_where_they_are_needed(tmp_path: Path) -> None:
    """39 at least, more where the means are not known within 5%, 199 at most."""
    steady = tmp_path / "a.jsonl"
    config = WorkerPoolConfig(max_workers=4, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=steady) as pool:
        for number in range(60):
            pool.submit_task(f"t{number}", Modelled(1.0 + number % 3))
        pool.wait_for_all()
    assert what_if(steady, max_workers=8).runs == 39
    assert what_if(record(tmp_path / "b.jsonl", tasks=6), max_workers=8).runs > 39


def test_an_interval_says_what_it_is_about_and_holds_its_figure(tmp_path: Path) -> None:
    answer = what_if(record(tmp_path / "a.jsonl", tasks=70), max_workers=8)
    for outcome, kind in (
        (answer.baseline, "next run"),
        (answer.variant, "next run"),
        (answer.difference, "paired"),
    ):
        for name, interval in outcome.items():
            if name == "task_seconds_p99":
                continue
            assert interval.kind == kind
            assert interval.low <= interval.mean <= interval.high
    assert all(not math.isnan(one.mean) for one in answer.variant.values())
