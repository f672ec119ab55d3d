"""Whether reading all results and all metrics takes time in proportion to their number.

Both calls make an object a task, and CPython's cyclic collector walks through all of them again and
again while they are made. Users run with the collector on, so the goal is asked of that; the same
with the collector off tells how much of the growth is the calls' own.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sized

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["linear"]

_FEW, _MANY = 20_000, 200_000
_TOLERANCE = 0.3


def _nothing() -> None:
    return None


def _read(tasks: int) -> Figures:
    from runtime import WorkerPool, WorkerPoolConfig

    config = WorkerPoolConfig(max_workers=8, enable_instrumentation=False)
    with WorkerPool(config) as pool:
        for number in range(tasks):
            pool.submit_task(f"task-{number}", _nothing)
        pool.wait_for_all()
        figures = {}
        for name, call in (("wait_for_all", pool.wait_for_all), ("get_metrics", pool.get_metrics)):
            figures[name] = _milliseconds(call, tasks)
            gc.disable()
            try:
                figures[f"{name}, collector off"] = _milliseconds(call, tasks)
            finally:
                gc.enable()
    return figures


def _milliseconds(call: Callable[[], Sized], tasks: int) -> float:
    gc.collect()  # so that both sizes begin with nothing owed to the collector
    began = time.perf_counter()
    answer = call()
    taken = time.perf_counter() - began
    assert len(answer) == tasks
    return taken * 1e3


def linear(size: Size) -> Benchmark:
    """``wait_for_all()`` and ``get_metrics()`` over 20,000 and 200,000 finished tasks.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    few, many = f"pool, {_FEW:,}", f"pool, {_MANY:,}"
    times = _MANY / _FEW
    asked = [
        (call, how, goal)
        for call in ("wait_for_all", "get_metrics")
        for how, goal in (("", True), (", collector off", False))
    ]
    return Benchmark(
        "linear",
        f"One call over {_FEW:,} and over {_MANY:,} finished tasks; {times:g} times the tasks "
        f"should take {times:g} times as long.",
        {call + how: "ms" for call, how, _ in asked},
        size.of(5, 1),
        [Contestant(few, lambda _: _read(_FEW)), Contestant(many, lambda _: _read(_MANY))],
        [
            Comparison(
                f"{call}(){how}: {_MANY:,} tasks / {_FEW:,}",
                (many, call + how),
                (few, call + how),
                at_least=times * (1 - _TOLERANCE) if goal else None,
                at_most=times * (1 + _TOLERANCE) if goal else None,
            )
            for call, how, goal in asked
        ],
    )
