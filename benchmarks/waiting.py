"""Tasks that wait, on real threads: workers that are kept busy, and the way there and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["roundtrip", "sleep"]

_NAP_SECONDS: Final = 0.001
_NAPPERS: Final = 50
_IDLE_WORKERS: Final = 8


def _nothing() -> None:
    return None


def _executor_sleep(tasks: int) -> Figures:
    began = time.perf_counter()
    with ThreadPoolExecutor(_NAPPERS) as executor:
        futures = [executor.submit(time.sleep, _NAP_SECONDS) for _ in range(tasks)]
        for future in futures:
            future.result()
        wall = time.perf_counter() - began
    return {"wall": wall}


def _pool_sleep(tasks: int) -> Figures:
    from runtime import WorkerPool, WorkerPoolConfig

    names = [f"nap-{number}" for number in range(tasks)]
    config = WorkerPoolConfig(max_workers=_NAPPERS, enable_instrumentation=False)
    began = time.perf_counter()
    with WorkerPool(config) as pool:
        for name in names:
            pool.submit_task(name, time.sleep, (_NAP_SECONDS,))
        results = pool.wait_for_all()
        values = [result.result for result in results]
        wall = time.perf_counter() - began
        assert len(values) == tasks
        assert all(result.success for result in results)
    return {"wall": wall}


def sleep(size: Size) -> Benchmark:
    """10,000 naps of 1 ms on 50 workers.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    tasks = 10_000
    ideal = tasks * _NAP_SECONDS / _NAPPERS
    pool, executor = ("pool", "wall"), ("executor", "wall")
    return Benchmark(
        "sleep",
        f"{tasks:,} tasks of time.sleep({_NAP_SECONDS}) on {_NAPPERS} workers; were there no cost "
        f"at all, it would take {ideal:g} s.",
        {"wall": "s"},
        size.of(7, 3),
        [
            Contestant("executor", lambda _: _executor_sleep(tasks)),
            Contestant("pool", lambda _: _pool_sleep(tasks)),
        ],
        [
            Comparison("pool / executor", pool, executor, at_most=0.75),
            Comparison("executor / ideal", executor, ideal),
            Comparison("pool / ideal", pool, ideal),
        ],
    )


def _trips(trips: int, trip: Callable[[], object]) -> Figures:
    trip()  # makes a thread
    taken = []
    for _ in range(trips):
        began = time.perf_counter_ns()
        trip()
        taken.append((time.perf_counter_ns() - began) / 1e3)
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def _executor_trips(trips: int) -> Figures:
    with ThreadPoolExecutor(_IDLE_WORKERS) as executor:
        return _trips(trips, lambda: executor.submit(_nothing).result())


def _pool_trips(trips: int) -> Figures:
    from runtime import WorkerPool, WorkerPoolConfig

    config = WorkerPoolConfig(max_workers=_IDLE_WORKERS, enable_instrumentation=False)
    with WorkerPool(config) as pool:
        return _trips(
            trips, lambda: pool.get_task_result(pool.submit_task("trip", _nothing)).result
        )


def roundtrip(size: Size) -> Benchmark:
    """One task at a time to an idle pool and back, 2,000 times.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    trips = 2_000
    return Benchmark(
        "roundtrip",
        f"One task handed to an idle pool of {_IDLE_WORKERS} workers and its result fetched, "
        f"{trips:,} times one after the other.",
        {"p50": "us", "p99": "us"},
        size.of(9, 3),
        [
            Contestant("executor", lambda _: _executor_trips(trips)),
            Contestant("pool", lambda _: _pool_trips(trips)),
        ],
        [
            Comparison("pool / executor, p50", ("pool", "p50"), ("executor", "p50"), at_most=1.0),
            Comparison("pool / executor, p99", ("pool", "p99"), ("executor", "p99")),
        ],
    )
