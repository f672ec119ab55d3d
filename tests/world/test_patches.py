"""What is patched, for whom, and that all of it is put back."""

from __future__ import annotations

import concurrent.futures
import select
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import WorkerPoolConfig
from simulation import Modelled, SimulatedWorkerPool
from simulation.world.errors import BlockedOutsideError
from simulation.world.patches import is_patched, patched_attributes
from tests.world import test_world
from tests.world.conftest import MakePool


def everything() -> dict[tuple[str, str], int]:
    """The identity of each attribute that a pool may replace, and of what the tests' own module
    keeps; a dictionary of the originals themselves would be mended, too.
    """
    found = {
        (module.__name__, name): getattr(module, name)
        for module, name, _ in patched_attributes()
        if hasattr(module, name)
    }
    own = {("test_world", name): value for name, value in vars(test_world).items()}
    inner = {
        ("inner", "default"): test_world.nap.__defaults__[0],
        ("inner", "static"): test_world.Napper.__dict__["sleep"],
        ("inner", "lock"): test_world.NAPPER.lock,
    }
    return {key: id(value) for key, value in (found | own | inner).items()}


def changed(before: dict[tuple[str, str], int]) -> set[str]:
    return {key[1] for key, value in everything().items() if value != before[key]}


@pytest.mark.parametrize("ends", ["well", "by an exception", "by Ctrl-C", "in a deadlock"])
def test_everything_is_put_back(carrier: str, ends: str) -> None:
    before, threads = everything(), set(threading.enumerate())
    config = WorkerPoolConfig(enable_instrumentation=False, task_timeout_seconds=None)
    caught = None
    try:
        with SimulatedWorkerPool(config, carrier=carrier) as pool:
            inside = changed(before)
            lock = threading.Lock()
            lock.acquire()
            pool.submit_task("t", time.sleep, (600,))
            pool.submit_task("stuck", lock.acquire if ends == "in a deadlock" else len, ("",))
            pool.advance(1)
            if ends == "by an exception":
                raise ZeroDivisionError
            if ends == "by Ctrl-C":
                raise KeyboardInterrupt
            if ends == "in a deadlock":
                pool.submit_task("blocked", lock.acquire)
                pool.wait_for_all()
    except BaseException as error:
        caught = type(error).__name__
    kinds = {"by an exception": "ZeroDivisionError", "by Ctrl-C": "KeyboardInterrupt"}
    assert caught == {**kinds, "in a deadlock": "DeadlockError"}.get(ends)
    assert {"sleep", "time", "datetime", "Lock", "RLock", "SimpleQueue"} <= inside
    assert {"captured_sleep", "MODULE_LOCK", "default", "static", "lock"} <= inside
    assert changed(before) == set()
    assert set(threading.enumerate()) == threads
    assert not is_patched()


def test_it_stays_patched_until_the_last_pool_is_closed() -> None:
    before = time.sleep
    with SimulatedWorkerPool():
        with SimulatedWorkerPool():
            pass
        assert time.sleep is not before
    assert time.sleep is before


def test_a_pool_that_nobody_closes_is_unpatched_with_its_end() -> None:
    before = time.sleep
    pool = SimulatedWorkerPool()
    pool.submit_task("t", Modelled(duration=1))
    assert time.sleep is not before
    del pool
    import gc

    gc.collect()
    assert time.sleep is before


def test_a_module_imported_meanwhile_keeps_the_originals(make_pool: MakePool) -> None:
    module = types.ModuleType("imported_meanwhile")
    try:
        with SimulatedWorkerPool():
            exec("from time import sleep", vars(module))
            sys.modules[module.__name__] = module
        assert module.sleep is time.sleep
        assert isinstance(module.sleep, types.BuiltinFunctionType)
    finally:
        del sys.modules[module.__name__]


def test_a_thread_beside_the_pool_is_in_the_real_world(make_pool: MakePool) -> None:
    told: list[object] = []
    go, seen = threading.Event(), threading.Event()

    def beside() -> None:
        go.wait()
        told.append(time.time())
        told.append(type(threading.Lock()))
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            told.append(executor.submit(time.time).result())
        seen.set()

    thread = threading.Thread(target=beside)
    thread.start()
    real_lock = type(threading.Lock())
    pool = make_pool()

    def task() -> float:
        go.set()
        while not seen.is_set():
            select.select([], [], [], 0.001)  # this one is real
        time.sleep(1e6)
        return time.time()

    assert pool.get_task_result(pool.submit_task("t", task)).result == 1e6
    thread.join()
    assert told[1] is real_lock
    assert all(at > 1.6e9 for at in (told[0], told[2]))


def test_the_pools_own_thread_can_start_real_threads(make_pool: MakePool) -> None:
    pool = make_pool()
    told: list[float] = []
    thread = threading.Thread(target=lambda: told.append(time.time()))
    thread.start()
    thread.join()
    assert told[0] > 1.6e9
    assert pool.now == 0.0


def test_who_blocks_outside_is_named() -> None:
    import socket

    before, threads = time.sleep, set(threading.enumerate())
    answers: list[bytes] = []
    ours, theirs = socket.socketpair()

    def fetch() -> None:
        answers.append(ours.recv(1))  # for ever

    def use() -> None:
        with SimulatedWorkerPool(watchdog_seconds=0.2) as pool:
            pool.submit_task("sleeps", time.sleep, (600,))
            pool.submit_task("fetch", fetch)
            pool.wait_for_all()

    with ours, theirs:
        with pytest.raises(
            BlockedOutsideError, match=r"^task 'fetch' \(pool-0\.2\) has not come back"
        ) as caught:
            use()
        stuck = set(threading.enumerate()) - threads
        assert [thread.name for thread in stuck] == ["pool-task-2.1"]
        theirs.send(b"x")
        for thread in stuck:
            thread.join()
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert "in fetch" in str(caught.value)
    assert answers == [b"x"]
    assert time.sleep is before


def test_a_greenlet_that_blocks_outside_is_interrupted_and_named() -> None:
    import signal
    import socket

    before, handler = time.sleep, signal.getsignal(signal.SIGURG)
    threads = set(threading.enumerate())
    left: list[str] = []
    ours, theirs = socket.socketpair()

    def fetch() -> None:
        try:
            ours.recv(1)  # for ever
        finally:
            left.append("fetch")

    def use() -> None:
        with SimulatedWorkerPool(watchdog_seconds=0.2, carrier="greenlet") as pool:
            pool.submit_task("sleeps", time.sleep, (600,))
            pool.submit_task("fetch", fetch)
            pool.wait_for_all()

    with (
        ours,
        theirs,
        pytest.raises(BlockedOutsideError, match=r"task 'fetch' \(pool-0\.2\) has not") as caught,
    ):
        use()
    assert "in fetch" in str(caught.value)
    assert left == ["fetch"]
    assert time.sleep is before
    assert set(threading.enumerate()) == threads
    assert signal.getsignal(signal.SIGURG) is handler


def test_the_watchdog_says_what_to_do_about_a_loop_that_looks_at_a_clock() -> None:
    stop: list[bool] = []

    def spin() -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end and not stop:
            pass

    with pytest.raises(BlockedOutsideError, match="must sleep in it") as caught:
        _run(spin, lambda: stop.append(True))
    assert "asyncio" not in str(caught.value)


def test_the_watchdog_names_asyncio() -> None:
    import asyncio

    async def wait() -> None:
        await asyncio.sleep(0.5)

    with pytest.raises(BlockedOutsideError, match="asyncio is not supported on virtual time"):
        _run(lambda: asyncio.run(wait()))


def _run(function: Callable[[], object], then: Callable[[], object] = int) -> None:
    before = set(threading.enumerate())
    config = WorkerPoolConfig(max_retries=0, enable_instrumentation=False)
    with SimulatedWorkerPool(config, watchdog_seconds=0.1) as pool:
        pool.submit_task("t", function)
        try:
            pool.wait_for_all()
        finally:
            then()
            for thread in set(threading.enumerate()) - before:
                thread.join(10)  # it was stuck, and ends by itself
