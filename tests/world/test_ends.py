"""How tasks, their threads and their pools end in a virtual world."""

from __future__ import annotations

import concurrent.futures
import threading
import time

import pytest

from runtime import TaskFailedError, WorkerPoolConfig, current_attempt
from simulation import DeadlockError, SimulatedWorkerPool
from simulation.world.patches import is_patched
from tests.world.conftest import MakePool


def test_failures_timeouts_and_backoffs_in_virtual_time(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=2, backoff_base_seconds=30, task_timeout_seconds=900)

    def flaky() -> float:
        number = current_attempt().number
        if number == 1:
            time.sleep(600)
            raise ConnectionError
        time.sleep(2000 if number == 2 else 600)
        return time.monotonic()

    result = pool.get_task_result(pool.submit_task("flaky", flaky))
    assert result.result == 600 + 30 + 900 + 60 + 600
    assert result.metrics.retries_used == 2


def test_what_a_task_raises_while_it_holds_a_lock_lets_go_of_it(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    lock = threading.Lock()

    def bad() -> None:
        with lock:
            time.sleep(5)
            raise ZeroDivisionError

    def good() -> float:
        time.sleep(1)
        with lock:
            return time.monotonic()

    bad_id, good_id = pool.submit_task("bad", bad), pool.submit_task("good", good)
    assert isinstance(pool.get_task_result(bad_id).error, TaskFailedError)
    assert pool.get_task_result(good_id).result == 5.0


def test_what_a_tasks_thread_raises_goes_to_the_hook(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_type))
    pool = make_pool()

    def bad() -> None:
        time.sleep(1)
        raise ZeroDivisionError

    def task() -> None:
        thread = threading.Thread(target=bad)
        thread.start()
        threading.Thread(target=time.sleep, args=(1e6,)).start()  # ended with its world
        thread.join()

    assert pool.get_task_result(pool.submit_task("t", task)).success
    assert hooked == [ZeroDivisionError]
    pool.shutdown()
    assert hooked == [ZeroDivisionError]


def test_what_is_left_is_ended_with_its_finally_blocks(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=10)
    left: list[str] = []
    lock = threading.Lock()

    def task(name: str) -> None:
        try:
            if name == "sleeps":
                time.sleep(1e6)
            else:
                lock.acquire()
        finally:
            left.append(name)

    lock.acquire()
    for name in ("sleeps", "waits"):
        pool.submit_task(name, task, (name,))
    assert [result.success for result in pool.wait_for_all()] == [False, False]
    assert left == []
    pool.shutdown()
    assert left == ["sleeps", "waits"]
    lock.release()
    assert not lock.locked()


def test_an_executor_beside_the_pool_is_real(make_pool: MakePool) -> None:
    pool = make_pool()
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert executor.submit(time.time).result() > 1.6e9
    assert pool.now == 0.0


def test_a_shutdown_that_does_not_wait_lets_the_rest_go_on(make_pool: MakePool) -> None:
    pool = make_pool()
    task = pool.submit_task("t", time.sleep, (5,))
    pool.shutdown(wait=False)
    assert pool.get_task_result(task).success
    assert pool.now == 5.0
    pool.shutdown()
    assert not is_patched()


def test_a_pool_in_a_task_of_a_pool(make_pool: MakePool, carrier: str) -> None:
    outer = make_pool()
    config = WorkerPoolConfig(enable_instrumentation=False)

    def task() -> tuple[float, float]:
        with SimulatedWorkerPool(config, carrier=carrier) as inner:
            inner.get_task_result(inner.submit_task("inner", time.sleep, (7,)))
            ended = inner.now
        time.sleep(1)
        return ended, time.monotonic()

    assert outer.get_task_result(outer.submit_task("outer", task)).result == (7.0, 1.0)


def test_a_task_that_waits_for_another_pool(make_pool: MakePool) -> None:
    one, other = make_pool(), make_pool()

    def task() -> tuple[float, float]:
        other.get_task_result(other.submit_task("there", time.sleep, (7,)))
        time.sleep(1)
        return one.now, other.now

    assert one.get_task_result(one.submit_task("here", task)).result == (1.0, 7.0)


def test_the_pools_own_thread_in_a_deadlock_is_named(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.world.locks.real_threads", dict)
    make_pool()
    event = threading.Event()
    with pytest.raises(DeadlockError) as caught:
        event.wait()
    told = str(caught.value)
    assert told.startswith("deadlock: the pool's own thread waits for a lock")
    assert "test_ends.py:" in told
    assert told.endswith(", and nothing is left to happen in virtual time")


def test_real_threads_that_the_pools_own_thread_may_wait_for_are_named(
    make_pool: MakePool,
) -> None:
    end = threading.Event()
    beside = threading.Thread(target=end.wait, name="beside")
    beside.start()
    make_pool(watchdog_seconds=0.1)
    event = threading.Event()
    with pytest.raises(DeadlockError) as caught:
        event.wait()
    told = str(caught.value)
    assert told.startswith("the pool's own thread waits for a lock")
    assert "no real thread has let go of it for 0.1 s. If one of these is to (" in told
    assert "'beside' at " in told
    assert "raise the pool's watchdog_seconds=" in told
    end.set()
    beside.join()


def test_the_pools_own_thread_may_wait_for_a_real_thread(make_pool: MakePool) -> None:
    go = threading.Event()
    told: list[str] = []

    def tell() -> None:
        go.wait()
        told.append("there")
        event.set()

    beside = threading.Thread(target=tell)
    beside.start()
    make_pool()
    event = threading.Event()
    go.set()
    event.wait()
    beside.join()
    assert told == ["there"]
