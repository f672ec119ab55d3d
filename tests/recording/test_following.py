"""Submissions that follow ends: told from the recording, and kept in a what-if.

Truth is another run of the same program on virtual time, under the other setting.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from runtime import WorkerPoolConfig, current_attempt
from runtime.core.records import TaskSubmitted
from simulation import Modelled, SimulatedWorkerPool
from simulation.cli import cli
from simulation.outcome import measure
from simulation.recording.arrivals import AUTO, CLOSED, RECORDED, Arrivals
from simulation.recording.following import Following, following_of
from simulation.recording.read import Recording
from simulation.recording.workload import RecordedWorkload
from simulation.simulate import Run, simulate
from simulation.whatif.answer import DishonestError
from simulation.whatif.backtest import backtest
from simulation.whatif.gate import gate
from simulation.whatif.predict import what_if
from simulation.whatif.recommend import recommend
from simulation.whatif.settings import changed_settings
from simulation.whatif.sweep import sweep

from .journals import read

Program = Callable[[SimulatedWorkerPool], None]


def took(number: int, low: float = 0.02, high: float = 0.12) -> float:
    """The same task takes as long in every run."""
    return Random(number).uniform(low, high)


def phases(pool: SimulatedWorkerPool) -> None:
    """The demo's orchestrator, smaller: four phases, then extra work that is aborted."""
    number = 0
    for count in (90, 60, 30, 10):
        ids = []
        for _ in range(count):
            number += 1
            ids.append(pool.submit_task(f"t{number}", Modelled(took(number))))
        for one in ids:
            pool.get_task_result(one)
        pool.advance(0.0003)  # it thinks
    for extra in range(40):
        pool.submit_task(f"extra {extra}", Modelled(0.3), group="extra")
    pool.abort_pending_tasks()


def rounds(pool: SimulatedWorkerPool) -> None:
    """Map and reduce, six times."""
    for n in range(6):
        for i in range(24):
            pool.submit_task(f"map {n}-{i}", Modelled(took(n * 100 + i)), group="map")
        pool.wait_for_all()
        pool.advance(0.0002)
        last = pool.submit_task(f"reduce {n}", Modelled(took(n * 100 + 99)), group="reduce")
        pool.get_task_result(last)
        pool.advance(0.0002)


def window(pool: SimulatedWorkerPool) -> None:
    """Eight in flight: the next is submitted when the oldest has ended."""
    waiting = []
    for number in range(60):
        if len(waiting) == 8:
            pool.get_task_result(waiting.pop(0))
            pool.advance(0.0002)
        waiting.append(pool.submit_task(f"t{number}", Modelled(took(number))))


def crawler(pool: SimulatedWorkerPool) -> None:
    """Pages that lead to pages; then an index of all, when nothing is left."""

    def visit(number: int, depth: int) -> None:
        current_attempt().sleep(took(number))
        for child in range(3 * (depth < 3)):
            pool.submit_task(f"p{number * 3 + child}", visit, (number * 3 + child, depth + 1))

    for number in range(1, 7):
        pool.submit_task("root", visit, (number * 1000, 0))
        results = -1
        while (ended := len(pool.wait_for_all())) != results:  # until none has led to another
            results = ended
        pool.advance(0.0002)


def poisson(pool: SimulatedWorkerPool) -> None:
    """Requests that come when they come."""
    draw = Random(5)
    for number in range(80):
        pool.advance(draw.expovariate(60.0))
        pool.submit_task(f"t{number}", Modelled(took(number)))


def recorded(path: Path, program: Program, workers: int) -> Recording:
    config = WorkerPoolConfig(max_workers=workers, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        program(pool)
        pool.wait_for_all()
    return read(path)


def again(recording: Recording, workers: int, arrivals: Arrivals = AUTO) -> Run:
    settings = changed_settings(recording.settings, {"max_workers": workers})
    workload = RecordedWorkload(recording, settings, arrivals=arrivals)
    run = simulate(workload, settings, 0)
    assert run.unfinished == workload.waiting == 0
    return run


def ends(run: Run) -> dict[int, tuple[int, str]]:
    return {end.task: (at, end.outcome) for at, end in zip(run.ended_at_ns, run.ends, strict=True)}


# ---------------------------------------------------------------- what follows, follows again


@pytest.mark.parametrize("program", [phases, rounds], ids=lambda program: program.__name__)
@pytest.mark.parametrize("workers", [2, 8, 50, 100])
def test_phases_come_as_they_would(tmp_path: Path, program: Program, workers: int) -> None:
    """To the nanosecond, every task, from any number of workers to any other."""
    recording = recorded(tmp_path / "a.jsonl", program, 50)
    assert following_of(recording).verdict == "follows"
    real = recorded(tmp_path / "b.jsonl", program, workers)
    assert ends(again(recording, workers)) == ends(real.run)
    assert ends(again(real, 50)) == ends(recording.run)


@pytest.mark.parametrize("workers", [4, 6, 8, 24])
def test_a_window_keeps_its_number_in_flight(tmp_path: Path, workers: int) -> None:
    recording = recorded(tmp_path / "a.jsonl", window, 8)
    assert following_of(recording).verdict == "follows"
    real = measure(recorded(tmp_path / "b.jsonl", window, workers).run)["makespan_seconds"]
    assert measure(again(recording, workers))["makespan_seconds"] == pytest.approx(real, rel=0.1)


def test_who_waits_for_all_waits_for_what_tasks_submit_too(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.jsonl", crawler, 8)
    assert len(following_of(recording).leaders) == 5
    real = recorded(tmp_path / "b.jsonl", crawler, 2)
    found = again(recording, 2)
    # children are numbered as they come, which another setting changes; how many come is the same
    assert len(found.ends) == len(real.run.ends) == 6 * 40
    assert measure(found)["makespan_seconds"] == pytest.approx(
        measure(real.run)["makespan_seconds"], rel=0.02
    )


def test_an_abort_does_not_meet_a_later_phase(tmp_path: Path) -> None:
    """At its recorded instant it would cancel what a slower setting has not begun."""
    recording = recorded(tmp_path / "a.jsonl", phases, 20)
    assert measure(recording.run)["cancelled"] == 20
    assert measure(again(recording, 5))["cancelled"] == 35  # of the 40 extra ones
    assert measure(again(recording, 5, RECORDED))["cancelled"] > 100


def test_an_abort_that_found_nothing_does_nothing(tmp_path: Path) -> None:
    def batch(pool: SimulatedWorkerPool) -> None:
        for number in range(40):
            pool.submit_task(f"t{number}", Modelled(took(number)))
        pool.wait_for_all()
        pool.abort_pending_tasks()

    recording = recorded(tmp_path / "a.jsonl", batch, 20)
    assert measure(again(recording, 2))["cancelled"] == 0
    assert measure(again(recording, 2, RECORDED))["cancelled"] > 0


# ---------------------------------------------------------------- what does not, does not


def test_an_open_source_stays_as_recorded(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.jsonl", poisson, 8)
    judged = following_of(recording)
    assert judged.verdict == "open"
    assert len(judged.barriers) + len(judged.others) > 30
    assert ends(again(recording, 2)) == ends(again(recording, 2, RECORDED))
    assert ends(again(recording, 2)) == ends(recorded(tmp_path / "b.jsonl", poisson, 2).run)


def queue(seed: int, tasks: int, load: float, workers: int, batch: int = 1) -> Following:
    """Tasks from a Poisson source, or batches of them, at so many workers; first come first served.

    A batch's tasks come 20 microseconds apart.
    """
    draw = Random(seed)
    instants: list[int] = []
    at = 0.0
    while len(instants) < tasks:
        at += draw.expovariate(load * workers / batch)
        instants += [round((at + 2e-5 * place) * 1e9) for place in range(batch)]
    instants.sort()
    free = [0] * workers
    ended = []
    for instant in instants:
        end = max(instant, heappop(free)) + round(draw.expovariate(1.0) * 1e9)
        heappush(free, end)
        ended.append(end)
    ended.sort()
    recording = SimpleNamespace(
        parents={},
        following=None,
        run=SimpleNamespace(ended_at_ns=ended, ends=[SimpleNamespace(task=-1)] * tasks),
        arrivals=[
            (instant, TaskSubmitted(task=number, name="", group=""))
            for number, instant in enumerate(instants, 1)
        ],
        ends_before=[bisect_right(ended, instant) for instant in instants],
    )
    return following_of(recording)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize("tasks", [10, 40, 200])
def test_false_alarms_are_rare(tasks: int, batch: int) -> None:
    """Over loads from nearly none to more than can be served, and from one to fifty workers."""
    told = [
        queue(seed, tasks, load, workers, batch).verdict
        for load in (0.05, 0.3, 0.7, 0.95, 1.5)
        for workers in (1, 4, 50)
        for seed in range(20)
    ]
    assert told.count("follows") <= 1  # of 300
    assert told.count("part") <= 1
    assert told.count("unclear") <= 30


def test_the_chances_of_an_open_source_are_even() -> None:
    """What is held against chance is what chance gives: as many below 5% as there should be."""
    found = [
        one.probability
        for seed in range(40)
        for judged in [queue(seed, 200, (0.2, 0.5, 0.8)[seed % 3], (1, 4, 16)[seed % 3])]
        for one in (*judged.barriers, *judged.others)
    ]
    assert len(found) > 2000
    for share in (0.01, 0.05, 0.2):
        assert sum(one <= share for one in found) / len(found) < 1.5 * share


# ---------------------------------------------------------------- where it is not clear


def two_batches(path: Path, pause: float) -> Path:
    def program(pool: SimulatedWorkerPool) -> None:
        for batch in range(2):
            for number in range(40):
                pool.submit_task(f"t{number}", Modelled(took(batch * 40 + number)))
            pool.wait_for_all()
            pool.advance(pause)

    recorded(path, program, 8)
    return path


def test_two_batches_in_doubt_are_refused_where_it_matters(tmp_path: Path) -> None:
    """The second comes a while after the first ended: because of that, or by the clock?"""
    path = two_batches(tmp_path / "a.jsonl", 0.05)
    assert following_of(read(path)).verdict == "unclear"
    with pytest.raises(DishonestError, match="whether submissions follow ends decides"):
        what_if(path, max_workers=2, runs=1)
    with pytest.raises(DishonestError, match="whether submissions follow ends decides"):
        sweep(path, {"max_workers": [2, 8]}, runs=2)
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "a.jsonl")
    assert gate(tmp_path / "folder", "failed<1", changes={"max_workers": 2}).state == "cannot tell"
    path = tmp_path / "folder" / "a.jsonl"
    follows, opened = (
        what_if(path, max_workers=2, runs=1, arrivals=how).variant["makespan_seconds"].mean
        for how in ("closed", "recorded")
    )
    assert follows > 1.01 * opened


def test_where_it_does_not_matter_it_is_answered(tmp_path: Path) -> None:
    path = two_batches(tmp_path / "a.jsonl", 0.05)
    answer = what_if(path, max_workers=8, task_timeout_seconds=9.0, runs=1)
    assert answer.coming is not None
    assert "not clear" in answer.coming.why


# ---------------------------------------------------------------- every command


def test_every_answer_follows_the_same_rule(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorded(path, phases, 50)
    recorded(tmp_path / "b.jsonl", phases, 10)
    real = measure(read(tmp_path / "b.jsonl").run)["makespan_seconds"]
    answer = what_if(path, max_workers=10, runs=1)
    assert answer.variant["makespan_seconds"].mean == pytest.approx(real)
    assert answer.coming is not None
    assert answer.coming.used == "following"
    found = sweep(path, {"max_workers": [10]}, runs=2)
    assert found.cells[0].outcome["makespan_seconds"].mean == pytest.approx(real)
    assert found.coming == answer.coming
    judged = backtest(tmp_path, runs=2).pairs[0].judged[0]
    assert judged.error == pytest.approx(0.0)
    bound = f"makespan_seconds<{real}"
    told = recommend(path, bound, over={"max_workers": [1, 3]})
    assert [one.verdict for one in told.tried] == ["missed", "missed"]
    assert told.coming == answer.coming
    held = gate(tmp_path, f"makespan_seconds<{real * 0.9}", changes={"max_workers": 10})
    assert held.state == "falls short"
    assert held.journals[0].coming == answer.coming


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.return_value in (0, 1), done.output
    return done.stdout.replace("\n", " ")


def test_the_first_lines_say_which_and_why(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jsonl")
    recorded(tmp_path / "a.jsonl", phases, 50)
    why = "each phase comes when the one before has ended"
    setting = ["--set", "max_workers=10"]
    assert why in said("replay", path, *setting, "--runs", "1").partition("what if")[0]
    assert why in said("sweep", path, "--vary", "max_workers=10", "--runs", "2")[:700]
    assert why in said("why", path, *setting)[:300]
    must = ["--require", "makespan_seconds<0.9"]
    assert why in said("gate", str(tmp_path), *setting, *must)
    asked = said("gate", str(tmp_path), *setting, *must, "--arrivals", "recorded")
    assert "at their recorded instants, as was asked, although 4 submissions" in asked
    document = json.loads(said("replay", path, *setting, "--runs", "1", "--json"))
    assert document["arrivals"]["used"] == "following"
    assert document["changes"] == {"max_workers": 10}


def test_closed_and_following_agree_where_all_follows(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.jsonl", rounds, 8)
    assert ends(again(recording, 24)) == ends(again(recording, 24, CLOSED))


# ---------------------------------------------------------------- a small group among them


def test_the_small_group_that_makes_a_range_wide_is_named(tmp_path: Path) -> None:
    """Six reduces of which none failed: one failure in ten would cost seconds of backoff."""
    recorded(tmp_path / "a.jsonl", rounds, 8)
    answer = what_if(tmp_path / "a.jsonl", max_workers=24)
    assert answer.variant["makespan_seconds"].high > 2 * answer.variant["makespan_seconds"].mean
    (note,) = [note for note in answer.notes if "range is wide" in note]
    assert "because of group reduce: its 6 attempts leave open how often one fails" in note
