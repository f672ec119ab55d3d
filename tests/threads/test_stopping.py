"""Shutdown from many sides, and what the pool leaves behind: no thread, no object."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime import (
    PoolClosedError,
    TaskCancelledError,
    TaskStatus,
    WaitTimeoutError,
    WorkerPool,
    WorkerPoolConfig,
    WouldDeadlockError,
    current_attempt,
)
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads, threads_of, until

SHORT = 0.02

Stuck = Callable[[], bool]


def test_cancel_in_every_state(make_pool: MakePool, gate: threading.Event, stuck: Stuck) -> None:
    pool = make_pool(max_workers=1, max_abandoned_threads=0)
    running = pool.submit_task("runs", stuck)
    pending = pool.submit_task("waits", stuck)
    until(lambda: pool.get_metrics()[running].status is TaskStatus.RUNNING)
    assert pool.get_metrics()[pending].status is TaskStatus.PENDING
    for task in (pending, running):
        assert pool.cancel(task) is True
        assert pool.cancel(task) is False
        assert isinstance(pool.get_task_result(task).error, TaskCancelledError)
        assert pool.get_metrics()[task].status is TaskStatus.CANCELLED
    gate.set()
    until(lambda: pool.get_summary_metrics()["late_results"] == 1)
    retrying = pool.submit_task("retries", lambda: gate.is_set() and 1 / 0)
    until(lambda: pool.get_metrics()[retrying].status is TaskStatus.FAILED)
    assert pool.cancel(retrying) is False
    done = pool.submit_task("done", lambda: 1)
    assert pool.get_task_result(done, DEADLINE).success
    assert pool.cancel(done) is False


def test_cancel_of_a_task_in_backoff_keeps_its_failure(make_pool: MakePool) -> None:
    pool = make_pool(backoff_base_seconds=60.0)
    task = pool.submit_task("bad", lambda: 1 / 0)
    until(lambda: pool.get_metrics()[task].status is TaskStatus.RETRYING)
    assert pool.cancel(task) is True
    result = pool.get_task_result(task)
    assert isinstance(result.error.__cause__, ZeroDivisionError)
    assert result.metrics.retries_used == 0
    assert result.metrics.worker_id == "worker-1"


def test_cancel_races_with_the_end_and_one_of_them_wins(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4)
    for _ in range(100):
        ids = [pool.submit_task("t", lambda: 1) for _ in range(4)]
        won = [False] * 4

        def cancel(n: int, ids: list[str] = ids, won: list[bool] = won) -> None:
            won[n] = pool.cancel(ids[n])

        for n in range(4):
            cancel(n)
        for task, cancelled in zip(ids, won, strict=True):
            assert pool.get_task_result(task, DEADLINE).success is not cancelled


def test_shutdown_from_many_threads_at_once_lets_all_of_them_go(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    for _ in range(5):
        pool = make_pool(max_workers=8)
        for n in range(8):
            pool.submit_task(f"t{n}", stuck)

        def close(me: int, pool: WorkerPool = pool) -> None:
            if me == 0:
                gate.set()
            pool.shutdown()

        in_threads(8, close)
        assert not threads_of(pool)
        gate.clear()


def test_shutdown_without_waiting_goes_on_by_itself(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=2)
    tasks = [pool.submit_task(f"t{n}", stuck) for n in range(6)]
    pool.shutdown(wait=False)
    with pytest.raises(PoolClosedError, match=pool.config.name):
        pool.submit_task("late", print)
    assert len(threads_of(pool, "thread-")) == 2
    gate.set()
    assert all(pool.get_task_result(task, DEADLINE).success for task in tasks)
    until(lambda: not threads_of(pool), "all threads left")
    pool.shutdown()


def test_a_drain_that_takes_too_long_goes_on(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=1)
    tasks = [pool.submit_task(f"t{n}", stuck) for n in range(3)]
    assert pool.drain(timeout=SHORT) is False
    assert pool.drain(timeout=0) is False
    with pytest.raises(PoolClosedError):
        pool.submit_task("late", print)
    gate.set()
    assert pool.drain(timeout=DEADLINE) is True
    assert all(pool.get_task_result(task).success for task in tasks)


def test_submitting_while_another_thread_shuts_down_loses_nothing(make_pool: MakePool) -> None:
    for _ in range(20):
        pool = make_pool(max_workers=4)
        ids: list[str] = []

        def play(me: int, pool: WorkerPool = pool, ids: list[str] = ids) -> None:
            if me == 3:
                until(lambda: len(ids) > 50)
                pool.shutdown()
                return
            with contextlib.suppress(PoolClosedError):
                while True:
                    ids.append(pool.submit_task("t", lambda: 1))

        in_threads(4, play)
        for task in ids:
            result = pool.get_task_result(task, DEADLINE)
            assert result.success or result.error.reason == "submitted while draining"
        assert pool.get_summary_metrics()["total_tasks"] == len(ids)
        assert not threads_of(pool)


def test_leaving_the_block_by_control_c_does_not_wait_for_what_is_stuck(
    make_pool: MakePool, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=1, exit_grace_seconds=0.1)
    ids: list[str] = []

    def leave(_: int) -> None:
        with pool:
            ids.extend(pool.submit_task(f"t{n}", stuck) for n in range(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(1, leave)
    reasons = [pool.get_task_result(task).error.reason for task in ids]
    assert reasons == ["cancelled", "aborted", "aborted"]


def test_waiting_is_bounded_by_its_timeout(make_pool: MakePool, stuck: Stuck) -> None:
    pool = make_pool(max_workers=2)
    done = pool.submit_task("done", lambda: 1)
    assert pool.get_task_result(done, DEADLINE).success
    open_one = pool.submit_task("open", stuck)
    for timeout in (0, 0.0, SHORT):
        with pytest.raises(WaitTimeoutError) as caught:
            pool.get_task_result(open_one, timeout)
        assert caught.value.open_ids == [open_one]
        with pytest.raises(TimeoutError) as caught:
            pool.wait_for_all(timeout)
        assert caught.value.open_ids == [open_one]
        assert [result.task_id for result in caught.value.results] == [done]
        with pytest.raises(TimeoutError):
            pool.wait_for_all(timeout, "FIRST_EXCEPTION")
        assert [r.task_id for r in pool.wait_for_all(timeout, "FIRST_COMPLETED")] == [done]
    assert pool.get_task_result(done, 0).result == 1
    assert not pool._engine._watches
    assert not pool._host._waiting


def test_waiting_for_no_task_at_all_is_over_at_once(make_pool: MakePool) -> None:
    pool = make_pool()
    for mode in ("ALL_COMPLETED", "FIRST_EXCEPTION"):
        assert pool.wait_for_all(DEADLINE, mode) == []
    assert pool.drain(DEADLINE) is True


def test_tasks_may_wait_for_each_other_while_a_worker_is_free(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3)

    def nested(depth: int) -> int:
        if depth == 0:
            return 0
        return 1 + pool.get_task_result(pool.submit_task("child", nested, (depth - 1,))).result

    assert pool.get_task_result(pool.submit_task("root", nested, (2,)), DEADLINE).result == 2


def test_the_last_free_worker_may_not_wait(make_pool: MakePool, gate: threading.Event) -> None:
    pool = make_pool(max_workers=3, max_retries=0)

    def nested(depth: int) -> int:
        if depth == 0:
            return 0
        return 1 + pool.get_task_result(pool.submit_task("child", nested, (depth - 1,))).unwrap()

    result = pool.get_task_result(pool.submit_task("root", nested, (3,)), DEADLINE)
    error = result.error
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    assert isinstance(error, WouldDeadlockError)
    assert "last free worker of 3" in str(error)


def test_two_tasks_that_wait_for_each_other(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0)
    ids: list[str] = []
    both = threading.Barrier(3)

    def wait_for(other: int) -> None:
        both.wait(DEADLINE)
        pool.get_task_result(ids[other])

    ids += [pool.submit_task(f"t{n}", wait_for, (1 - n,)) for n in range(2)]
    both.wait(DEADLINE)
    errors = [result.error for result in pool.wait_for_all(DEADLINE)]
    assert sum(error is not None for error in errors) == 1
    assert isinstance(next(filter(None, errors)).__cause__, WouldDeadlockError)


def test_an_abandoned_attempt_that_waits_does_not_count_as_its_retry(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=2, max_retries=1, max_abandoned_threads=4)
    retried = threading.Event()

    def asks() -> int:
        assert retried.wait(DEADLINE)
        return pool.get_task_result(pool.submit_task("child", lambda: 1)).unwrap()

    def waits_at_first(other: str) -> None:
        if current_attempt().number == 1:
            pool.get_task_result(other)
        retried.set()
        current_attempt().sleep(1000)

    asking = pool.submit_task("asks", asks, max_retries=0)
    # its attempt 1 waits, abandoned, while attempt 2 runs and waits for nothing
    pool.submit_task("waits", waits_at_first, (asking,), timeout=0.5)
    assert pool.get_task_result(asking, DEADLINE).unwrap() == 1


def test_waiting_from_a_task_for_another_pool_is_no_deadlock(make_pool: MakePool) -> None:
    inner, outer = make_pool(max_workers=1), make_pool(max_workers=1)

    def ask() -> int:
        return inner.get_task_result(inner.submit_task("t", lambda: 1)).result

    assert outer.get_task_result(outer.submit_task("ask", ask), DEADLINE).result == 1


def test_a_task_that_shuts_its_own_pool_down(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=0)
    task = pool.submit_task("t", lambda: pool.shutdown(wait=False))
    assert pool.get_task_result(task, DEADLINE).success
    until(lambda: not threads_of(pool))
    pool = make_pool(max_retries=0)
    task = pool.submit_task("t", pool.shutdown)
    assert isinstance(pool.get_task_result(task, DEADLINE).error.__cause__, WouldDeadlockError)
    until(lambda: not threads_of(pool))


def test_failures_that_nobody_fetched_are_reported_once(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(max_retries=0)
    ids = [pool.submit_task(f"bad {n}", lambda n=n: 1 // (n - n)) for n in range(9)]
    pool.get_task_result(ids[0], DEADLINE)
    pool.submit_task("good", lambda: 1)
    pool.shutdown()
    pool.shutdown()
    (record,) = [r for r in caplog.records if "never fetched" in r.msg]
    assert record.levelno == logging.ERROR
    text = record.getMessage()
    assert "the failures of 8 tasks" in text
    assert "bad 1" in text
    assert "bad 0" not in text
    assert "and 3 more" in text
    assert record.exc_info


def test_fetched_failures_are_not_reported(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(max_retries=0)
    pool.submit_task("bad", lambda: 1 / 0)
    pool.cancel(pool.submit_task("cancelled", lambda: 1, priority=1))
    pool.wait_for_all(DEADLINE)
    pool.shutdown()
    assert not [r for r in caplog.records if "never fetched" in r.msg]


# ---------------------------------------------------------------- what is left behind


class Thing:
    pass


def test_a_finished_task_lets_go_of_all_it_was_given(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=1)
    gc.collect()
    gc.disable()  # no cycle may be needed to let go
    try:
        for fails in (False, True):
            things = [Thing() for _ in range(3)]
            gone = [weakref.ref(thing) for thing in things]

            def use(a: Thing, b: Thing, c: Thing = things[2], fails: bool = fails) -> None:
                del a, b, c
                if fails:
                    raise ValueError

            gone.append(weakref.ref(use))
            task = pool.submit_task("t", use, (things[0],), {"b": things[1]})
            until(lambda task=task: pool.get_metrics()[task].end_time is not None)
            del use, things
            if fails:
                for error in pool.get_task_result(task).error.attempts:
                    error.__traceback__ = None  # its frames have the arguments, as anywhere
            until(lambda gone=gone: not any(ref() for ref in gone), "everything was let go of")
    finally:
        gc.enable()


def test_a_task_that_never_ran_lets_go_too(
    make_pool: MakePool, stuck: Stuck, gate: threading.Event
) -> None:
    pool = make_pool(max_workers=1)
    pool.submit_task("first", stuck)
    things = [Thing() for _ in range(2)]
    gone = [weakref.ref(thing) for thing in things]
    ids = [pool.submit_task("never", print, (thing,)) for thing in things]
    del things
    pool.cancel(ids[0])
    pool.abort_pending_tasks()
    assert not any(ref() for ref in gone)
    gate.set()


def test_an_abandoned_attempts_late_result_is_let_go(
    make_pool: MakePool, stuck: Stuck, gate: threading.Event
) -> None:
    pool = make_pool(max_workers=1, max_retries=0)
    made: list[weakref.ref[Thing]] = []

    def late() -> Thing:
        stuck()
        thing = Thing()
        made.append(weakref.ref(thing))
        return thing

    pool.get_task_result(pool.submit_task("late", late, timeout=SHORT), DEADLINE)
    gate.set()
    until(lambda: pool.get_summary_metrics()["late_results"] == 1)
    until(lambda: made[0]() is None, "the late result was let go of")


def test_no_thread_is_left(make_pool: MakePool) -> None:
    before = threading.active_count()
    with make_pool(max_workers=16, journal=None) as pool:
        for n in range(64):
            pool.submit_task(f"t{n}", lambda: current_attempt().sleep(0.001), timeout=5.0)
    assert not threads_of(pool)
    assert threading.active_count() <= before


def test_a_pool_that_nobody_refers_to_lets_its_threads_go() -> None:
    done: list[int] = []
    pool = WorkerPool(WorkerPoolConfig(max_workers=4, name="forgotten"))
    for n in range(100):
        pool.submit_task(f"t{n}", done.append, (n,))
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    begin = "forgotten-"
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith(begin)])
    assert len(done) == 100


def test_pools_come_and_go(make_pool: MakePool) -> None:
    def use(me: int) -> None:
        for _ in range(25):
            with WorkerPool(WorkerPoolConfig(max_workers=3, name=f"brief{me}")) as pool:
                for n in range(10):
                    pool.submit_task(f"t{n}", lambda: 1, timeout=9.0)
            assert len(pool.wait_for_all()) == 10

    in_threads(4, use)
    assert not [t for t in threading.enumerate() if t.name.startswith("brief")]


def test_inside_another_executor(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    with ThreadPoolExecutor(4) as executor:
        futures = [
            executor.submit(
                lambda n=n: pool.get_task_result(pool.submit_task("t", lambda: n), DEADLINE).result
            )
            for n in range(40)
        ]
        assert [future.result(DEADLINE) for future in futures] == list(range(40))
