"""Many threads at once: nothing is lost, mixed up, or out of order."""

from __future__ import annotations

import random
import threading

from runtime import TaskStatus, current_attempt
from runtime.core.invariants import check
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads, until

SUBMITTERS = 16
TASKS = 100_000
STATUSES = ("pending", "running", "retrying", "completed", "failed", "cancelled")


def test_many_submitters_lose_nothing_and_keep_their_order(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=8, enable_instrumentation=False)
    each = TASKS // SUBMITTERS
    ids: list[list[str]] = [[] for _ in range(SUBMITTERS)]

    def submit(me: int) -> None:
        for n in range(each):
            ids[me].append(pool.submit_task("t", lambda *value: value, (me, n)))

    in_threads(SUBMITTERS, submit)
    results = pool.wait_for_all(timeout=2 * DEADLINE)
    values: list[list[int]] = [[] for _ in range(SUBMITTERS)]
    for result in results:
        me, n = result.result
        values[me].append(n)
    assert values == [list(range(each))] * SUBMITTERS
    assert len({task for own in ids for task in own}) == len(results) == each * SUBMITTERS
    for me in range(SUBMITTERS):
        assert pool.get_task_result(ids[me][7]).result == (me, 7)
    pool._host.held(lambda: check(pool._engine.core))
    assert pool._engine.core.busy == 0
    assert pool.get_summary_metrics()["completed"] == len(results)


def test_priorities_hold_whoever_submits(
    make_pool: MakePool, gate: threading.Event, stuck: object
) -> None:
    pool = make_pool(max_workers=1)
    pool.submit_task("first", stuck)
    order: list[tuple[int, int, int]] = []

    def submit(me: int) -> None:
        draw = random.Random(me)
        for n in range(50):
            priority = draw.randrange(-3, 4)
            pool.submit_task("t", order.append, ((priority, me, n),), priority=priority)

    in_threads(SUBMITTERS, submit)
    gate.set()
    pool.wait_for_all(timeout=DEADLINE)
    assert len(order) == 50 * SUBMITTERS
    assert [priority for priority, _, _ in order] == sorted(priority for priority, _, _ in order)
    for me in range(SUBMITTERS):
        own = [(priority, n) for priority, who, n in order if who == me]
        assert own == sorted(own)


def test_many_threads_wait_for_the_same_tasks(
    make_pool: MakePool, gate: threading.Event, stuck: object
) -> None:
    pool = make_pool(max_workers=4)
    ids = [pool.submit_task(f"t{n}", lambda n=n: stuck() and n) for n in range(200)]
    waiting = threading.Barrier(13, action=gate.set)

    def wait(me: int) -> None:
        waiting.wait(DEADLINE)
        if me == 12:
            return
        if me % 3 == 0:
            assert [r.result for r in pool.wait_for_all(DEADLINE)] == list(range(200))
        elif me % 3 == 1:
            assert pool.wait_for_all(DEADLINE, "FIRST_COMPLETED")
        else:
            for n in reversed(range(me, 200, 7)):
                assert pool.get_task_result(ids[n], DEADLINE).result == n

    in_threads(13, wait)


def test_every_sample_of_the_summary_adds_up(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4, max_retries=2, backoff_base_seconds=0.001)
    ended: list[int] = []
    samples = 0

    def work(n: int) -> None:
        if n % 5 == 0 and current_attempt().number < 3:
            raise ConnectionError
        if n % 7 == 0:
            raise ValueError

    def play(me: int) -> None:
        nonlocal samples
        if me == 0:
            while len(ended) < 4:
                samples += 1
                summary = pool.get_summary_metrics()
                assert sum(summary[name] for name in STATUSES) == summary["total_tasks"]
                assert 0 <= summary["running"] <= summary["busy_workers"] <= 4
                assert all(summary[name] >= 0 for name in (*STATUSES, "total_retries"))
                metrics = pool.get_metrics()
                assert len(metrics) >= summary["total_tasks"]
                running = [m for m in metrics.values() if m.status is TaskStatus.RUNNING]
                assert len(running) <= 4
                pool._host.held(lambda: check(pool._engine.core))
            return
        try:
            ids = [pool.submit_task(f"t{n}", work, (n,)) for n in range(1500)]
            for n in range(0, 1500, 11):
                pool.cancel(ids[n])
            if me == 2:
                pool.abort_pending_tasks()
            for task in ids:
                pool.get_task_result(task, DEADLINE)
        finally:
            ended.append(me)

    in_threads(5, play)
    assert samples > 0
    # The abort may have met every task that fails, and the cancels none: one of each for sure.
    assert not pool.get_task_result(pool.submit_task("fails", work, (7,)), DEADLINE).success
    stuck = threading.Event()
    for n in range(4):
        pool.submit_task(f"stuck{n}", stuck.wait)
    assert pool.cancel(pool.submit_task("never starts", work, (1,)))
    stuck.set()
    pool.wait_for_all(DEADLINE)
    summary = pool.get_summary_metrics()
    assert summary["total_tasks"] == 6006
    assert summary["completed"] + summary["failed"] + summary["cancelled"] == 6006
    assert summary["failed"] > 0
    assert summary["cancelled"] > 0
    attempts = sum(r.metrics.retries_used for r in pool.wait_for_all(DEADLINE))
    assert summary["total_retries"] == attempts
    assert len(pool.get_metrics()) == 6006


def test_a_flood_that_nobody_else_would_take_in_is_taken_by_the_clock_thread(
    make_pool: MakePool,
) -> None:
    pool = make_pool(max_workers=1)
    gate = threading.Event()
    pool.submit_task("holds the only worker", gate.wait)

    def flood() -> None:
        ids.extend(pool.submit_task("t", int) for _ in range(2000))

    ids: list[str] = []
    thread = threading.Thread(target=flood)

    def meanwhile() -> None:
        thread.start()
        thread.join()

    pool._host.held(meanwhile)  # all of them wait at the door; one batch comes in with us
    until(lambda: not pool._host._inbox)
    gate.set()
    assert all(pool.get_task_result(task, DEADLINE).success for task in ids)
