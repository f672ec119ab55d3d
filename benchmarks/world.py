"""Ordinary functions on virtual time: tasks a second, and virtual over wall time.

A task sleeps twice. ``thread`` and ``greenlet`` are the carriers of a simulated pool. That all of
the time passed shows in the pool's clock, which is checked.
"""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["world"]

_WORKERS: Final = 10
_SHORT: Final = 60.0
_LONG: Final = 600.0


def _sleeps() -> None:
    time.sleep(_SHORT)
    time.sleep(_LONG)


def _run(tasks: int, carrier: Any) -> Figures:
    from runtime import WorkerPoolConfig
    from simulation import SimulatedWorkerPool

    config = WorkerPoolConfig(
        max_workers=_WORKERS, task_timeout_seconds=None, enable_instrumentation=False
    )
    began = time.perf_counter()
    with SimulatedWorkerPool(config, carrier=carrier) as pool:
        for _ in range(tasks):
            pool.submit_task("sleeps", _sleeps)
        results = pool.wait_for_all()
        virtual = pool.now
    seconds = time.perf_counter() - began
    assert all(result.success for result in results)
    assert virtual == tasks / _WORKERS * (_SHORT + _LONG), f"{virtual} s passed"
    return {"rate": tasks / seconds, "virtual": virtual / seconds}


def world(size: Size) -> Benchmark:
    """Tasks of two sleeps on 10 workers.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    tasks = size.of(10_000, 3_000)

    def contestant(carrier: str) -> Contestant:
        return Contestant(carrier, lambda number: _run(tasks, carrier))

    def figure(carrier: str, name: str, at_least: float) -> Comparison:
        label = {"rate": "tasks a second", "virtual": "virtual / wall time"}[name]
        return Comparison(f"{carrier}: {label}", (carrier, name), 1.0, at_least=at_least)

    return Benchmark(
        "world",
        f"{tasks:,} tasks of time.sleep({_SHORT:g}) and time.sleep({_LONG:g}) on {_WORKERS} "
        f"workers of a simulated pool, which is opened and closed within the time.",
        {"rate": "tasks/s", "virtual": "s/s"},
        size.of(7, 3),
        [contestant("thread"), contestant("greenlet")],
        [
            figure("thread", "rate", 10_000),
            figure("greenlet", "rate", 40_000),
            figure("thread", "virtual", 2_000),
            figure("greenlet", "virtual", 2_000),
        ],
    )
