"""Outages: found where there is one, not where there is none, and kept where they were."""

from __future__ import annotations

from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runtime import WorkerPoolConfig, current_attempt
from simulation import SimulatedWorkerPool
from simulation.outcome import measure
from simulation.recording.outages import FALSE_ALARM, Ran, find_outages
from simulation.recording.read import Recording
from simulation.recording.workload import RecordedWorkload
from simulation.simulate import simulate
from simulation.whatif.settings import changed_settings

from .journals import read


def world(
    seed: int,
    *,
    tasks: int = 300,
    workers: int = 10,
    failing: float = 0.05,
    retries: int = 3,
    outage: tuple[float, float] | None = None,
    share: float = 1.0,
    stops: bool = False,
    bad: range = range(0),
    bad_retried: bool = True,
) -> list[Ran]:
    """First come, first served, with failures at random, in an outage, and of bad inputs."""
    draw = Random(seed)
    queue = list(range(1, tasks + 1))
    attempts = dict.fromkeys(queue, 0)
    coming: list[tuple[float, int, float, bool]] = []
    ran: list[tuple[int, int, float, float, bool]] = []
    free, now = workers, 0.0
    while queue or coming:
        while free and queue:
            task = queue.pop(0)
            free -= 1
            attempts[task] += 1
            took, fails = draw.lognormvariate(0.5, 0.5), draw.random() < failing
            if task in bad:
                took, fails = 0.1 + 0.2 * draw.random(), True
            if outage and outage[0] <= now < outage[1] and draw.random() < share:
                took, fails = 0.05 + 0.3 * draw.random(), True
            elif outage and stops and now < outage[0] < now + took:
                took, fails = outage[0] - now + 0.01 * draw.random(), True
            heappush(coming, (now + took, task, now, fails))
        now, task, began, fails = heappop(coming)
        if began < 0:
            queue.append(task)
            continue
        free += 1
        ran.append((task, attempts[task], began, now, fails))
        if fails and attempts[task] <= retries and (bad_retried or task not in bad):
            heappush(coming, (now + 2.0 ** (attempts[task] - 1), task, -1.0, False))
    well = {task for task, _, _, _, fails in ran if not fails}
    return [
        Ran(task, attempt, "g", round(began * 1e9), round(ended * 1e9), fails, task in well)
        for task, attempt, began, ended, fails in ran
    ]


@pytest.mark.parametrize("failing", [0.02, 0.2])
def test_a_constant_failure_rate_is_hardly_ever_an_outage(failing: float) -> None:
    """At most FALSE_ALARM of recordings; of 30 here none, though each has many runs of failures."""
    alarms = sum(bool(find_outages(world(seed, failing=failing))) for seed in range(30))
    assert alarms <= 30 * FALSE_ALARM + 1


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({}, 10),
        ({"failing": 0.2}, 10),
        ({"stops": True}, 9),
        ({"share": 0.6}, 9),
        ({"stops": True, "retries": 0}, 4),
    ],
    ids=["all fail", "beside many failures", "stops what runs", "fails some", "never retried"],
)
def test_an_outage_is_found_where_it_was(more: dict[str, Any], least: int) -> None:
    found = 0
    for seed in range(10):
        sure = [one for one in find_outages(world(seed, outage=(20.0, 30.0), **more)) if one.sure]
        if len(sure) == 1:
            (outage,) = sure
            ends_right = abs(outage.to_ns / 1e9 - 30) < 1.5 or more.get("retries") == 0
            found += abs(outage.from_ns / 1e9 - 20) < 1.5 and ends_right
            assert outage.share > (0.9 if "share" not in more else 0.4)
    assert found >= least


def test_whether_it_stopped_what_ran_is_seen() -> None:
    for seed in range(10):
        for stops in (False, True):
            (outage,) = find_outages(world(seed, outage=(20.0, 30.0), stops=stops, failing=0.0))
            assert outage.stops == stops


def test_bad_inputs_in_a_row_are_no_outage_where_they_were_retried() -> None:
    for seed in range(20):
        assert not any(one.sure for one in find_outages(world(seed, bad=range(100, 130))))


def test_bad_inputs_that_were_never_retried_are_at_most_suspected() -> None:
    """Nothing ran twice, and in the order of submission: nobody can tell the two apart."""
    for seed in range(20):
        batch = find_outages(world(seed, bad=range(100, 130), retries=0))
        assert [one.sure for one in batch] == [False]
        outage = find_outages(world(seed, outage=(20.0, 30.0), retries=0, tasks=400))
        assert [one.sure for one in outage] == [False]


def test_success_of_others_in_that_time_says_that_it_was_the_inputs() -> None:
    """Their own attempts fail in a row, never retried, while retries of others succeed."""
    believed = 0
    for seed in range(15):
        found = find_outages(world(seed, bad=range(100, 130), bad_retried=False, failing=0.2))
        believed += any(one.sure for one in found)
    assert believed <= 1


def test_an_outage_of_one_group_leaves_the_others_alone() -> None:
    draw = Random(5)
    attempts = []
    for task in range(1, 401):
        began = task // 4
        group = draw.choice(["a", "b"])
        out = group == "b" and 40 <= began < 55
        fails = out or draw.random() < 0.03
        attempts.append(Ran(task, 1, group, began * 10**9, began * 10**9 + 10**8, fails, not out))
        if fails:
            again = began + 30
            attempts.append(Ran(task, 2, group, again * 10**9, again * 10**9 + 10**8, False, True))
    (outage,) = [one for one in find_outages(attempts) if one.sure]
    assert outage.groups == ("b",)
    assert outage.covers(45 * 10**9, "b")
    assert not outage.covers(45 * 10**9, "a")
    assert not outage.covers(60 * 10**9, "b")


# ---------------------------------------------------------------- under another setting


def recorded(
    path: Path, *, outage: tuple[float, float] = (20.0, 30.0), every: float = 0.0, **fields: Any
) -> Recording:
    """300 tasks that fail at random and in an outage of the clock, whatever their number."""
    config = WorkerPoolConfig(
        **{
            "max_workers": 10,
            "task_timeout_seconds": 60.0,
            "enable_instrumentation": False,
            **fields,
        }
    )
    with SimulatedWorkerPool(config, journal=path) as pool:
        begun = pool.now

        def work(number: int) -> None:
            draw = Random((number << 8) | current_attempt().number)
            if outage[0] <= pool.now - begun < outage[1]:
                current_attempt().sleep(0.05 + 0.3 * draw.random())
                raise ConnectionError
            current_attempt().sleep(draw.lognormvariate(0.5, 0.5))
            if draw.random() < 0.03:
                raise OSError

        for number in range(300):
            pool.submit_task(f"t{number}", work, args=(number,))
            if every:
                pool.advance(every)
        pool.wait_for_all()
    return read(path)


def predicted(recording: Recording, seed: int = 0, **changes: Any) -> dict[str, float]:
    settings = changed_settings(recording.settings, changes)
    return measure(simulate(RecordedWorkload(recording, settings), settings, seed))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_retries": 6},
        {"max_retries": 4, "backoff_base_seconds": 0.2},
        {"max_workers": 20},
        {"max_workers": 5},
    ],
    ids=str,
)
def test_a_changed_setting_meets_the_same_outage(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Against the truth: the same work and the same outage under that setting."""
    base: dict[str, Any] = {"max_retries": 4, "backoff_base_seconds": 1.0}
    recording = recorded(tmp_path / "a.jsonl", **base)
    assert [outage.sure for outage in recording.outages] == [True]
    truth = measure(recorded(tmp_path / "b.jsonl", **{**base, **changes}).run)
    runs = [predicted(recording, seed, **changes) for seed in range(20)]
    for name, near in (("success_rate", 0.03), ("attempts", 0.06 * truth["attempts"])):
        mean = sum(run[name] for run in runs) / len(runs)
        assert mean == pytest.approx(truth[name], abs=near), name


def test_more_retries_are_no_cure_for_an_outage_that_outlasts_them(tmp_path: Path) -> None:
    """Drawn each by itself, three more retries within a second would look like success."""
    recording = recorded(
        tmp_path / "a.jsonl",
        max_retries=3,
        backoff_base_seconds=2.0,
        outage=(10.0, 60.0),
        every=0.3,
    )
    (outage,) = recording.outages
    assert outage.sure
    before = measure(recording.run)["success_rate"]
    after = predicted(recording, max_retries=6, backoff_base_seconds=0.05)["success_rate"]
    assert after <= before + 0.01
    recording.outages.clear()
    recording.hit.clear()
    naive = predicted(recording, max_retries=6, backoff_base_seconds=0.05)["success_rate"]
    assert naive > before + 0.05
