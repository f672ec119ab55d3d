"""What a recording does not tell: censored attempts, retries, arrivals; against what is true."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import pytest
from msgspec.structs import replace

from runtime import WorkerPoolConfig, current_attempt
from runtime.core import CoreSettings
from runtime.core.records import TaskSubmitted
from simulation import Fails, LogNormal, Modelled, SimulatedWorkerPool
from simulation.models import Behaviour
from simulation.outcome import measure
from simulation.recording.arrivals import CLOSED, RECORDED, Arrivals, parse_arrivals
from simulation.recording.draws import FEWEST, Draws, later_rate
from simulation.recording.read import Recording
from simulation.recording.workload import Beyond, RecordedWorkload
from simulation.simulate import Run, simulate
from simulation.whatif.settings import changed_settings

from .journals import read, record

SECOND = 10**9


def run(
    recording: Recording,
    seed: int = 0,
    *,
    beyond: Beyond = "never",
    arrivals: Arrivals = RECORDED,
    **changes: Any,
) -> tuple[Run, RecordedWorkload]:
    settings = changed_settings(recording.settings, changes)
    workload = RecordedWorkload(recording, settings, beyond=beyond, arrivals=arrivals)
    return simulate(workload, settings, seed), workload


def handmade(attempts: dict[tuple[int, int], tuple[float, str]], retries: int = 5) -> Recording:
    """Tasks whose attempts took so many seconds and ended so; ``>`` for censored ones."""
    recording = Recording(CoreSettings(1000, max_retries=retries))
    for (task, attempt), (seconds, fate) in attempts.items():
        key, took = (task, attempt), round(seconds * SECOND)
        if task not in recording.specs:
            recording.specs[task] = TaskSubmitted(task)
            recording.arrivals.append((0, recording.specs[task]))
            recording.ends_before.append(0)
        recording.begun_at[key] = 0
        if fate == ">":
            recording.censored[key] = took
            recording.fates[key] = "timeout"
        else:
            recording.done[key] = Behaviour(took, None if fate == "ok" else Fails(error=fate))
            recording.fates[key] = fate
    return recording


# ---------------------------------------------------------------- censored attempts


def by_timeouts(draw: Random, count: int, timeouts: list[float]) -> Recording:
    """Log-normal attempts, each with one of the timeouts, that heed their tokens."""
    attempts = {}
    for task in range(1, count + 1):
        took, limit = draw.lognormvariate(1.0, 0.8), draw.choice(timeouts)
        attempts[task, 1] = (took, "ok") if took <= limit else (limit, ">")
    return handmade(attempts, retries=0)


def test_a_longer_timeout_is_predicted_without_bias_where_the_recording_knows() -> None:
    """Half of the tasks had 3 s, half 30 s; what if all had 8 s? Against the true probability.

    Over 120 recordings of 100 tasks; the mean error must be below half a point. To take the timeout
    for a duration, or to leave out what timed out, is off by many points.
    """
    true = 0.5 * (1 + math.erf((math.log(8.0) - 1.0) / (0.8 * math.sqrt(2))))
    predictions, naive = [], []
    for seed in range(120):
        recording = by_timeouts(Random(seed), 100, [3.0, 30.0])
        ran, workload = run(recording, seed, task_timeout_seconds=8.0)
        predictions.append(measure(ran)["success_rate"])
        assert workload.unknown_in(ran) == 0
        short = [did for did in recording.done.values() if (did.duration_ns or 0) <= 8 * SECOND]
        naive.append(len(short) / 100)
    assert fmean(predictions) == pytest.approx(true, abs=0.012)
    assert abs(fmean(naive) - true) > 0.1
    # each is one sample of 100 tasks of which half have to be drawn: as far off as that says
    spread = math.sqrt(true * (1 - true) / 100)
    assert fmean(abs(one - true) <= 2.8 * spread for one in predictions) >= 0.9


def test_beyond_the_support_the_truth_lies_between_the_two_ends() -> None:
    """All had 3 s; what if they had 8? The recording cannot know, and says between what."""
    true = 0.5 * (1 + math.erf((math.log(8.0) - 1.0) / (0.8 * math.sqrt(2))))
    for seed in range(20):
        recording = by_timeouts(Random(seed), 100, [3.0])
        never, workload = run(recording, seed, task_timeout_seconds=8.0)
        shortest, _ = run(recording, seed, beyond="shortest", task_timeout_seconds=8.0)
        assert workload.unknown_in(never) == len(recording.censored) > 20
        low, high = measure(never)["success_rate"], measure(shortest)["success_rate"]
        assert low < true < high == 1.0
        assert measure(shortest)["makespan_seconds"] < measure(never)["makespan_seconds"] == 8.0


def test_both_ends_are_the_same_where_all_is_known(tmp_path: Path) -> None:
    recording = record(
        tmp_path / "run.jsonl",
        WorkerPoolConfig(max_workers=5, max_retries=1),
        [Modelled(LogNormal(1.0, 0.5), Fails(0.3))] * 50,
    )
    never, _ = run(recording, max_retries=3)
    shortest, _ = run(recording, beyond="shortest", max_retries=3)
    assert never.ends == shortest.ends


def test_one_that_never_came_home_is_known_for_as_long_as_it_was_watched(tmp_path: Path) -> None:
    config = WorkerPoolConfig(task_timeout_seconds=2.0, max_retries=0)
    with SimulatedWorkerPool(config, journal=tmp_path / "run.jsonl") as pool:
        pool.submit_task("never", Modelled(math.inf))
        pool.submit_task("late", Modelled(7.0))
        pool.submit_task("long", Modelled(50.0), timeout=60.0)
        pool.wait_for_all()
    recording = read(tmp_path / "run.jsonl")
    assert recording.censored == {(1, 1): 50 * SECOND}
    assert recording.done[2, 1].duration_ns == 7 * SECOND
    ran, workload = run(recording, task_timeout_seconds=40.0)
    assert workload.unknown_in(ran) == 0
    assert ran.timeouts == 1


def test_a_killed_process_leaves_its_running_attempts_censored(tmp_path: Path) -> None:
    record(
        tmp_path / "whole.jsonl",
        WorkerPoolConfig(max_workers=3),
        [Modelled(float(seconds)) for seconds in (1, 2, 50, 3, 4)],
    )
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    head = lines[0].replace(b'"state":"closed    "', b'"state":"open      "')
    # without the end at 6 s, the one at 50 s, what closes a pool, and the footer
    (tmp_path / "killed.jsonl").write_bytes(head + b"".join(lines[1:-5]))
    recording = read(tmp_path / "killed.jsonl")
    assert recording.last_at == 4 * SECOND
    assert recording.censored == {(3, 1): 4 * SECOND, (5, 1): 2 * SECOND}
    assert not any(key in recording.fates for key in recording.censored)


def test_who_was_taken_although_late_took_no_longer_than_he_was_allowed() -> None:
    """A timer fires a moment late on real threads; under the same limit he must be in time."""
    from runtime.core.records import AttemptSucceeded
    from simulation.recording.read import _take_end

    recording = Recording(CoreSettings(1, timeout_ns=5 * SECOND))
    recording.begun_at[1, 1] = SECOND
    _take_end(recording, 6 * SECOND + 70, AttemptSucceeded(1, 1, 0, 0, 0), 6 * SECOND)
    assert recording.done[1, 1].duration_ns == 5 * SECOND


# ---------------------------------------------------------------- retries that were never made


def test_a_retry_fails_as_often_as_retries_do_and_not_as_often_as_first_attempts() -> None:
    """One in five inputs is bad and fails for ever; the others fail once in ten."""
    attempts = {}
    draw = Random(3)
    for task in range(1, 1001):
        bad = task % 5 == 0
        for attempt in (1, 2, 3):
            fails = bad or draw.random() < 0.1
            attempts[task, attempt] = (
                (1.0, "ValueError" if bad else "OSError")
                if fails
                else (
                    1.0,
                    "ok",
                )
            )
            if not fails:
                break
    recording = handmade(attempts, retries=2)
    ran, workload = run(recording, max_retries=5)
    assert measure(ran)["success_rate"] == pytest.approx(0.8, abs=0.005)
    assert workload.drawn >= 3 * 200
    assert workload.assumed == 0


@pytest.mark.parametrize(("bad", "chance"), [(0.05, 0.1), (0.2, 0.1), (0.0, 0.1)])
def test_retries_past_those_recorded_do_not_cure_bad_inputs(bad: float, chance: float) -> None:
    """One retry was recorded; what would three give? Within a point over 25 recordings.

    That the third attempt fails as often as the second would be four points too hopeful.
    """
    rates = []
    for seed in range(25):
        draw = Random(seed)
        attempts = {}
        for task in range(1, 301):
            never = draw.random() < bad
            for attempt in (1, 2):
                fails = never or draw.random() < chance
                attempts[task, attempt] = (1.0, "OSError" if fails else "ok")
                if not fails:
                    break
        ran, _ = run(handmade(attempts, retries=1), seed, max_retries=3)
        rates.append(measure(ran)["success_rate"])
    # of 300 tasks: the recordings' own scatter is half a point of their mean where 20% are bad
    assert fmean(rates) == pytest.approx((1 - bad) * (1 - chance**4), abs=0.012)


def test_the_share_of_bad_inputs_is_told_from_two_rates() -> None:
    bad, chance = 0.3, 0.25

    def row(count: int) -> float:
        return bad + (1 - bad) * chance**count

    for later in (1, 2, 5):
        found = later_rate(row(1), row(2) / row(1), later)
        assert found == pytest.approx(row(later + 2) / row(later + 1))
    assert later_rate(0.3, 0.3, 4) == 0.3
    assert later_rate(0.3, 0.1, 4) == 0.1
    assert later_rate(0.3, 1.0, 1) == later_rate(1.0, 1.0, 3) == 1.0


def test_without_retries_in_the_recording_the_assumption_is_counted() -> None:
    attempts = {(task, 1): (1.0, "OSError" if task % 2 else "ok") for task in range(1, 201)}
    ran, workload = run(handmade(attempts, retries=0), max_retries=2)
    assert workload.assumed == workload.drawn >= 100
    assert measure(ran)["success_rate"] == pytest.approx(1 - 0.5**3, abs=0.06)


def test_the_pools_are_asked_in_order() -> None:
    attempts: dict[tuple[int, int], tuple[float, str]] = {}
    for task in range(1, FEWEST + 1):  # first attempts 1 s, after an OSError 2 s, then 3 s
        attempts[task, 1] = (1.0, "OSError")
        attempts[task, 2] = (2.0, "OSError")
        attempts[task, 3] = (3.0, "ok")
    for task in range(101, 101 + FEWEST):  # after a timeout 5 s
        attempts[task, 1] = (4.0, ">")
        attempts[task, 2] = (5.0, "ok")
    for task in range(201, 201 + FEWEST - 1):  # too few after a KeyError, of 6 s
        attempts[task, 1] = (1.0, "KeyError")
        attempts[task, 2] = (6.0, "ok")
    draws = Draws(handmade(attempts))

    def seconds(attempt: int, before: str | None, u: float = 0.5) -> float:
        taken = draws.draw("default", attempt, before, u).duration_ns
        assert taken is not None
        return taken / SECOND

    assert seconds(1, None, 0.1) == 1.0
    assert seconds(2, "OSError") == 2.0
    assert seconds(3, "OSError") == 3.0
    assert seconds(9, "OSError") == 3.0  # who has failed more often fails more surely
    assert seconds(2, "timeout") == 5.0
    assert {seconds(2, "KeyError", u / 20) for u in range(20)} == {2.0, 6.0}  # any error
    assert not draws.draw("default", 2, "KeyError", 0.5).assumed
    other = draws.draw("elsewhere", 1, None, 0.5)
    assert other.duration_ns is None
    assert other.longer_than_ns == 0


def test_retries_of_several_numbers_are_pooled_where_each_has_too_few() -> None:
    attempts: dict[tuple[int, int], tuple[float, str]] = {}
    for task in range(1, FEWEST):
        attempts[task, 1] = (1.0, "OSError")
        attempts[task, 2] = (2.0, "OSError" if task < 3 else "ok")
        if task < 3:
            attempts[task, 3] = (3.0, "ok")
    draws = Draws(handmade(attempts))
    drawn = [draws.draw("default", 2, "OSError", u / 110) for u in range(110)]
    assert [one.duration_ns for one in drawn] == [2 * SECOND] * 90 + [3 * SECOND] * 20
    assert not drawn[0].assumed


def test_failures_of_mixed_kinds_are_no_trouble() -> None:
    """After a timeout and an OSError, a third retry: no attempt 2 was made after an OSError."""
    attempts: dict[tuple[int, int], tuple[float, str]] = {}
    for task in range(1, 3 * FEWEST):
        attempts[task, 1] = (1.0, ">")
        attempts[task, 2] = (2.0, "OSError")
        attempts[task, 3] = (3.0, "OSError" if task % 2 else "ok")
    draws = Draws(handmade(attempts))
    assert draws.draw("default", 4, "OSError", 0.5).duration_ns == 3 * SECOND


def test_resampled_pools_draw_from_the_resample_only() -> None:
    attempts = {(task, 1): (float(task), "ok") for task in range(1, 41)}
    draws = Draws(handmade(attempts), tasks=[7] * 30 + [9] * 10)
    drawn = [draws.draw("default", 1, None, u / 400).duration_ns for u in range(400)]
    assert drawn == [7 * SECOND] * 300 + [9 * SECOND] * 100


def test_one_that_would_heed_heeds_under_a_shorter_timeout_too(tmp_path: Path) -> None:
    """Some of the group were abandoned and came home at once; a shorter limit finds more."""
    config = WorkerPoolConfig(max_workers=40, task_timeout_seconds=5.0, max_retries=0)
    with SimulatedWorkerPool(config, journal=tmp_path / "run.jsonl") as pool:
        for seconds in range(1, 10):
            pool.submit_task("t", lambda s=seconds: current_attempt().sleep(s))
        pool.wait_for_all()
        pool.advance(1.0)
    recording = read(tmp_path / "run.jsonl")
    ran, _ = run(recording, task_timeout_seconds=2.0, max_workers=1, max_abandoned_threads=0)
    assert measure(ran)["completed"] == 2
    assert ran.unfinished == 0


# ---------------------------------------------------------------- arrivals


def client(path: Path, in_flight: int, *, workers: int, seconds: float = 1.0) -> Recording:
    """Whoever submits waits for a result before he submits the next, 0.25 s later."""
    config = WorkerPoolConfig(max_workers=workers, enable_instrumentation=False)
    draw = Random(1)
    with SimulatedWorkerPool(config, journal=path) as pool:
        waiting: list[tuple[str, float]] = []
        for number in range(40):
            if len(waiting) == in_flight:
                done = min(waiting, key=lambda one: one[1])
                waiting.remove(done)
                pool.get_task_result(done[0])
                pool.advance(0.25)
            took = seconds * (1 + draw.random())
            waiting.append((pool.submit_task(f"t{number}", Modelled(took)), pool.now + took))
        pool.wait_for_all()
    return read(path)


def test_a_closed_source_follows_its_results(tmp_path: Path) -> None:
    """One at a time: twice as many workers change nothing, half the duration nearly halves all."""
    recording = client(tmp_path / "run.jsonl", 1, workers=1)
    closed, _ = run(recording, arrivals=CLOSED, max_workers=8)
    assert closed.ended_at_ns == recording.run.ended_at_ns
    for key, did in recording.done.items():
        assert did.duration_ns is not None
        recording.done[key] = replace(did, duration_ns=did.duration_ns // 2)
    faster, _ = run(recording, arrivals=CLOSED)
    recorded = measure(recording.run)["makespan_seconds"]
    think = 39 * 0.25
    assert measure(faster)["makespan_seconds"] == pytest.approx(think + (recorded - think) / 2)
    left_open, _ = run(recording)
    assert measure(left_open)["makespan_seconds"] > 0.95 * recorded


def test_a_closed_source_keeps_its_number_in_flight(tmp_path: Path) -> None:
    recording = client(tmp_path / "run.jsonl", 4, workers=4)
    slow, workload = run(recording, arrivals=CLOSED, max_workers=1)
    submitted = sorted(end.submitted_at_ns for end in slow.ends)
    for place, at in enumerate(submitted):
        ended = sum(end <= at for end in slow.ended_at_ns)
        assert place + 1 - ended <= 4
    assert workload.waiting == 0
    opened, _ = run(recording, max_workers=1)
    assert measure(opened)["task_seconds_p95"] > 2 * measure(slow)["task_seconds_p95"]


def test_scaled_arrivals_come_so_much_faster(tmp_path: Path) -> None:
    with SimulatedWorkerPool(journal=tmp_path / "run.jsonl") as pool:
        pool.advance(5.0)
        for number in range(5):
            task = pool.submit_task(f"t{number}", Modelled(0.5), deadline=pool.now + 3.0)
            pool.advance(2.0)
        late = pool.submit_task("late", Modelled(9.0))
        pool.advance(1.0)
        pool.cancel(late)
        pool.wait_for_all()
        assert task
    recording = read(tmp_path / "run.jsonl")
    ran, workload = run(recording, arrivals=Arrivals("scaled", 4.0))
    assert [end.submitted_at_ns / 1e9 for end in sorted(ran.ends, key=lambda end: end.task)] == [
        5.0,
        5.5,
        6.0,
        6.5,
        7.0,
        7.5,
    ]
    # the deadline and the cancel keep their distance
    assert workload._source.deadline_at(5) == 10 * SECOND
    (cancelled,) = [end for end in ran.ends if end.outcome == "cancelled"]
    assert cancelled.running_ns == SECOND


def test_a_child_follows_its_parent(tmp_path: Path) -> None:
    config = WorkerPoolConfig(max_workers=2, max_retries=1, backoff_base_seconds=0.0)
    with SimulatedWorkerPool(config, journal=tmp_path / "run.jsonl") as pool:

        def parent() -> None:
            current_attempt().sleep(1.0)
            if current_attempt().number == 1:
                raise OSError
            pool.submit_task("child", Modelled(2.0), deadline=pool.now + 10.0)
            current_attempt().sleep(1.0)

        for _ in range(6):
            pool.submit_task("parent", parent)
        pool.wait_for_all()
        pool.drain()
        pool.wait_for_all()
    recording = read(tmp_path / "run.jsonl")
    assert sorted(recording.parents.values()) == [(task, 2) for task in range(1, 7)]
    wide, _ = run(recording, max_workers=20)
    children = [end for end in wide.ends if end.task > 6]
    assert {end.submitted_at_ns for end in children} == {2 * SECOND}
    assert measure(wide)["makespan_seconds"] == 4.0
    # without a retry the parents fail before they submit, and their children never come
    never, _ = run(recording, max_retries=0)
    assert [end.task for end in never.ends] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("text", ["open", "closed=2", "scaled", "scaled=fast", "scaled=0", ""])
def test_bad_arrivals_give_one_clear_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"arrivals.*must be") as caught:
        parse_arrivals(text)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what must not matter


def scaled(recording: Recording, by: int) -> Recording:
    """All times so many times as long."""
    settings = recording.settings
    assert settings.timeout_ns is not None
    other = Recording(
        replace(
            settings,
            timeout_ns=by * settings.timeout_ns,
            backoff_base_ns=by * settings.backoff_base_ns,
            backoff_max_ns=by * settings.backoff_max_ns,
        ),
        specs=recording.specs,
        arrivals=[(by * at, part) for at, part in recording.arrivals],
        ends_before=recording.ends_before,
        fates=recording.fates,
        run=recording.run,
    )
    for key, did in recording.done.items():
        assert did.duration_ns is not None
        other.done[key] = replace(did, duration_ns=by * did.duration_ns)
    for name in ("censored", "heeded", "begun_at", "stopped_at"):
        getattr(other, name).update({k: by * ns for k, ns in getattr(recording, name).items()})
    return other


@pytest.mark.parametrize("changes", [{"max_workers": 2}, {"max_retries": 5}], ids=str)
def test_scaling_all_times_scales_the_answer(tmp_path: Path, changes: dict[str, Any]) -> None:
    recording = record(
        tmp_path / "run.jsonl",
        WorkerPoolConfig(max_workers=7, max_retries=1, task_timeout_seconds=3.0, jitter="full"),
        [Modelled(LogNormal(1.0, 0.9), Fails(0.4))] * 80,
    )
    one, first = run(recording, 3, **changes)
    settings = changed_settings(recording.settings, changes)
    slow = scaled(recording, 3)
    three = replace(
        slow.settings, max_workers=settings.max_workers, max_retries=settings.max_retries
    )
    workload = RecordedWorkload(slow, three)
    other = simulate(workload, three, 3)
    assert workload.drawn == first.drawn
    assert [end.task for end in other.ends] == [end.task for end in one.ends]
    for here, there in zip(one.ended_at_ns, other.ended_at_ns, strict=True):
        assert there == pytest.approx(3 * here, abs=50)  # the backoffs are rounded


def test_what_tasks_are_called_does_not_matter(tmp_path: Path) -> None:
    config = WorkerPoolConfig(max_workers=4, max_retries=1)
    tasks = [Modelled(LogNormal(1.0, 0.9), Fails(0.4))] * 60
    recording = record(tmp_path / "run.jsonl", config, tasks)
    before, _ = run(recording, max_retries=4)
    recording.specs = {task: replace(spec, name="x") for task, spec in recording.specs.items()}
    recording.arrivals = [
        (at, replace(part, name="x")) if isinstance(part, TaskSubmitted) else (at, part)
        for at, part in recording.arrivals
    ]
    after, _ = run(recording, max_retries=4)
    assert after.ends == before.ends
