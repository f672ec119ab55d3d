"""What ordinary functions meet in a simulated pool: time, locks, queues, threads, futures."""

from __future__ import annotations

import concurrent.futures
import contextvars
import datetime
import queue
import threading
import time
from collections.abc import Callable
from time import monotonic as captured_monotonic
from time import sleep as captured_sleep

import pytest

from runtime import TaskCancelledError, WorkerPoolConfig, current_attempt
from simulation import SimulatedWorkerPool
from simulation.world.errors import DeadlockError
from tests.world.conftest import MakePool

MODULE_LOCK = threading.Lock()
MODULE_RLOCK = threading.RLock()
MODULE_EVENT = threading.Event()
MODULE_QUEUE: queue.Queue[int] = queue.Queue()


def nap(seconds: float, sleep: Callable[[float], None] = time.sleep) -> float:
    sleep(seconds)
    return seconds


class Napper:
    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.lock = threading.Lock()


NAPPER = Napper()


def results(pool: SimulatedWorkerPool) -> list[object]:
    return [result.unwrap() for result in pool.wait_for_all()]


def run_all(pool: SimulatedWorkerPool, *functions: Callable[[], object]) -> list[object]:
    for number, function in enumerate(functions):
        pool.submit_task(f"task{number}", function)
    return results(pool)


def test_sleeping_and_clocks_are_virtual(make_pool: MakePool) -> None:
    def task() -> list[float]:
        began = time.time(), time.monotonic(), time.perf_counter()
        time.sleep(600)
        ended = time.time_ns(), time.monotonic_ns(), time.perf_counter_ns()
        assert all(isinstance(at, int) for at in ended)
        return [b / 1e9 - a for a, b in zip(began, ended, strict=True)]

    assert run_all(make_pool(), task) == [[600.0] * 3]


def test_dates_are_virtual_and_real_to_isinstance(carrier: str) -> None:
    utc = datetime.UTC
    epoch = datetime.datetime(2030, 1, 1, tzinfo=utc)

    def task() -> None:
        time.sleep(86_400)
        now = datetime.datetime.now(utc)
        assert now == datetime.datetime(2030, 1, 2, tzinfo=utc)
        assert now - epoch == datetime.timedelta(days=1)
        assert isinstance(now, datetime.datetime)
        assert isinstance(epoch, datetime.datetime)
        assert datetime.datetime.utcnow() == datetime.datetime(2030, 1, 2)
        assert datetime.date.today().year == datetime.datetime.today().year == 2030
        assert isinstance(datetime.date.today(), datetime.date)
        assert time.gmtime()[:3] == (2030, 1, 2)
        assert time.strftime("%Y") == "2030"
        assert datetime.datetime.strptime("2020", "%Y") == datetime.datetime(2020, 1, 1)

    config = WorkerPoolConfig(task_timeout_seconds=None)
    with SimulatedWorkerPool(config, epoch=epoch.timestamp(), carrier=carrier) as pool:
        pool.get_task_result(pool.submit_task("t", task)).unwrap()
        assert pool.now == epoch.timestamp() + 86_400
        assert abs(datetime.datetime.now(utc).timestamp() - time.time()) < 60
        assert time.time() != pool.now


def test_captured_names_are_virtual_too(make_pool: MakePool) -> None:
    def task() -> float:
        captured_sleep(100)
        nap(10)
        Napper.sleep(1)
        return captured_monotonic()

    assert run_all(make_pool(), task) == [111.0]


@pytest.mark.parametrize("which", ["inside", "module", "module's RLock", "module's object"])
def test_who_waits_longest_gets_a_lock(make_pool: MakePool, which: str) -> None:
    pool = make_pool(max_workers=5)
    inside = threading.Lock()
    got: list[tuple[int, float]] = []

    def task(number: int) -> None:
        lock = {
            "inside": inside,
            "module": MODULE_LOCK,
            "module's RLock": MODULE_RLOCK,
            "module's object": NAPPER.lock,
        }[which]
        time.sleep((number * 7) % 5)
        with lock:
            got.append((number, time.monotonic()))
            time.sleep(10)

    for number in range(5):
        pool.submit_task(f"t{number}", task, (number,))
    results(pool)
    assert got == [(0, 0.0), (3, 10.0), (1, 20.0), (4, 30.0), (2, 40.0)]


def test_a_lock_is_waited_for_in_virtual_time(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    lock = threading.Lock()

    def holder() -> None:
        with lock:
            time.sleep(10)

    def waiter() -> list[object]:
        time.sleep(1)
        assert not lock.acquire(blocking=False)
        first = lock.acquire(timeout=4), time.monotonic()
        second = lock.acquire(timeout=50), time.monotonic()
        lock.release()
        return [first, second, lock.locked()]

    assert run_all(pool, holder, waiter)[1] == [(False, 5.0), (True, 10.0), False]


def test_an_rlock_is_its_strands(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    lock = threading.RLock()

    def task() -> float:
        with lock, lock:
            time.sleep(10)
        with pytest.raises(RuntimeError):
            lock.release()
        return time.monotonic()

    assert run_all(pool, task, task) == [10.0, 20.0]


def test_conditions_events_semaphores_barriers_timers(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4)
    condition, event = threading.Condition(), threading.Event()
    barrier, semaphore = threading.Barrier(2), threading.BoundedSemaphore(1)
    ready: list[int] = []

    def waits() -> list[object]:
        with condition:
            assert condition.wait_for(lambda: ready, timeout=100)
            told = time.monotonic()
            assert not condition.wait(timeout=5)
        assert not event.wait(timeout=1)
        timer = threading.Timer(60, event.set)
        timer.start()
        assert event.wait(timeout=100)
        timer.join()
        return [told, time.monotonic()]

    def tells() -> None:
        time.sleep(30)
        with condition:
            ready.append(1)
            condition.notify_all()

    def meets(seconds: float) -> float:
        time.sleep(seconds)
        barrier.wait()
        with semaphore:
            time.sleep(1)
            return time.monotonic()

    out = run_all(pool, waits, tells, lambda: meets(3), lambda: meets(8))
    assert out[0] == [30.0, 96.0]
    assert sorted(out[2:]) == [9.0, 10.0]


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "module's"])
def test_queues(make_pool: MakePool, kind: str) -> None:
    pool = make_pool(max_workers=2)
    items = MODULE_QUEUE if kind == "module's" else getattr(queue, kind)()
    if kind == "SimpleQueue":
        assert isinstance(items, queue.SimpleQueue)

    def takes() -> list[object]:
        with pytest.raises(queue.Empty):
            items.get(timeout=5)
        return [time.monotonic(), items.get(timeout=100), items.get(), time.monotonic()]

    def puts() -> None:
        time.sleep(20)
        items.put(1)
        time.sleep(20)
        items.put(2)

    assert run_all(pool, takes, puts)[0] == [5.0, 1, 2, 40.0]


def test_a_full_queue_is_waited_for(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    items: queue.Queue[int] = queue.Queue(1)

    def puts() -> float:
        items.put(1)
        with pytest.raises(queue.Full):
            items.put(2, timeout=3)
        items.put(3)
        items.join()
        return time.monotonic()

    def takes() -> None:
        time.sleep(10)
        for _ in range(2):
            items.get()
            time.sleep(1)
            items.task_done()

    assert run_all(pool, puts, takes)[0] == 12.0


def test_threads_and_executors_that_a_task_starts(make_pool: MakePool) -> None:
    def task() -> list[object]:
        thread = threading.Thread(target=time.sleep, args=(50,), name="child")
        thread.start()
        thread.join(timeout=20)
        alive = thread.is_alive(), time.monotonic()
        thread.join()
        gone = thread.is_alive(), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            futures = [executor.submit(nap, seconds) for seconds in (30, 10, 20)]
            with pytest.raises(concurrent.futures.TimeoutError):
                futures[0].result(timeout=5)
            done = [future.result() for future in concurrent.futures.as_completed(futures)]
            mapped = list(executor.map(nap, [1, 2]))
        return [alive, gone, sorted(done), mapped, time.monotonic()]

    assert run_all(make_pool(), task) == [[(True, 20.0), (False, 50.0), [10, 20, 30], [1, 2], 82.0]]


def test_nested_submits_and_waits(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3)

    def parent() -> list[object]:
        ids = [pool.submit_task("child", nap, (seconds,)) for seconds in (10, 20)]
        return [pool.get_task_result(task).result for task in ids]

    assert run_all(pool, parent)[0] == [10, 20]
    assert pool.now == 20.0


def test_context_variables_are_each_attempts_own(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3)
    variable = contextvars.ContextVar("variable", default=-1)

    def task(number: int) -> int:
        assert variable.get() == -1
        variable.set(number)
        time.sleep(10 - number)
        return variable.get()

    assert run_all(pool, *[lambda n=n: task(n) for n in range(6)]) == list(range(6))


def test_current_attempt_is_each_attempts_own(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3)

    def task() -> tuple[str, str]:
        before = current_attempt().task_name
        time.sleep(3)
        return before, current_attempt().task_name

    assert run_all(pool, task, task, task) == [(f"task{n}", f"task{n}") for n in range(3)]
    with pytest.raises(RuntimeError):
        current_attempt()


def test_an_abandoned_attempt_goes_on_sleeping(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, task_timeout_seconds=10, max_retries=1)
    woke: list[float] = []

    def task() -> int:
        number = current_attempt().number
        if number == 1:
            time.sleep(30)
            woke.append(time.monotonic())
        else:
            time.sleep(5)
        return number

    first = pool.submit_task("slow", task)
    assert pool.get_task_result(first).result == 2
    assert woke == []
    pool.advance(60)
    assert woke == [30.0]
    assert pool.get_summary_metrics()["late_results"] == 1


def test_a_token_reaches_who_looks(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=10)
    seen: list[float] = []

    def task() -> None:
        try:
            while True:
                time.sleep(3)
                current_attempt().raise_if_cancelled()
        except TaskCancelledError:
            seen.append(time.monotonic())
            raise

    assert not pool.get_task_result(pool.submit_task("t", task)).success
    pool.advance(10)
    assert seen == [12.0]


def test_a_deadlock_is_named(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    first, second = threading.Lock(), threading.Lock()

    def task(one: threading.Lock, other: threading.Lock) -> None:
        with one:
            time.sleep(1)
            with other:
                pass

    pool.submit_task("a", task, (first, second))
    pool.submit_task("b", task, (second, first))
    with pytest.raises(DeadlockError) as caught:
        pool.wait_for_all()
    told = str(caught.value)
    assert "task 'a' (pool-0.1) waits for a lock held by task 'b' (pool-0.2)" in told
    assert "task 'b' (pool-0.2) waits for a lock held by task 'a' (pool-0.1)" in told
    assert told.count("test_world.py:") == 2
    assert "in task" in told


def test_the_pools_own_thread_can_wait_for_its_tasks(make_pool: MakePool) -> None:
    pool = make_pool()
    event = threading.Event()

    def task() -> None:
        time.sleep(20)
        event.set()

    pool.submit_task("t", task)
    assert not event.wait(timeout=5)
    assert pool.now == 5.0
    assert event.wait()
    assert pool.now == 20.0


def test_two_pools_at_once(make_pool: MakePool) -> None:
    one, other = make_pool(), make_pool()
    assert run_all(one, lambda: nap(10)) == [10]
    assert run_all(other, lambda: [nap(3), time.monotonic()]) == [[3, 3.0]]
    assert run_all(one, time.monotonic)[1:] == [10.0]
