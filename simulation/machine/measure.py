"""A calibration run: what a task, a hand-over, a switch and a sleep cost on this machine.

Each figure is a median, or the best, of several short measurements, since whatever else runs on the
machine only ever makes them worse; the load average is kept beside them. Work is pure Python: it is
what holds the GIL.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.records import AttemptSucceeded
from runtime.journal import read_journal
from simulation.machine.calibration import FORMAT, Calibration

__all__ = ["calibrate"]

#: Threads that compute at once, beside one alone.
_THREADS: Final = (2, 4, 8, 16, 32)
#: How long each of them does: some turns of the GIL, which changes hands after 5 ms.
_TURN_SECONDS: Final = 0.012
_NAP_SECONDS: Final = 0.002


def calibrate(
    *, seconds: float = 4.0, progress: Callable[[int, int], None] | None = None
) -> Calibration:
    """Measure this machine.

    Args:
        seconds: about how long it may take.
        progress: called with the steps done and their number.

    Returns:
        What it costs.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    rounds = max(3, round(seconds * 0.8 / (2 * sum(_THREADS) * _TURN_SECONDS)))
    steps = rounds * len(_THREADS) + 3
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    loops = _loops_in(_TURN_SECONDS)
    ratios: dict[int, list[tuple[float, float]]] = {threads: [] for threads in _THREADS}
    for _ in range(rounds):  # in turn, so that a busy moment meets all alike
        for threads in _THREADS:
            # held against one thread that does as much: a longer run is oftener in the way of
            # whatever else runs here
            wall, cpu = _time_of(1, loops * threads)
            together_wall, together_cpu = _time_of(threads, loops)
            ratios[threads].append((wall / together_wall, cpu / together_cpu))
            step()
    lag_ns = _timer_lag_ns(seconds * 0.05)
    step()
    switch_ns = _switch_ns()
    step()
    pool_ns, handover_ns = _pool_costs()
    step()
    affinity = getattr(os, "sched_getaffinity", None)
    gil = getattr(sys, "_is_gil_enabled", None)
    return Calibration(
        FORMAT,
        f"{platform.python_implementation()} {platform.python_version()}",
        len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
        True if gil is None else gil(),
        pool_ns,
        handover_ns,
        switch_ns,
        lag_ns,
        {1: 1.0}
        | {
            # more than one a thread is noise
            threads: round(min(float(threads), max(0.01, _together(of))), 4)
            for threads, of in ratios.items()
        },
        round(load, 2),
    )


def _spin(loops: int) -> int:
    total = 0
    for number in range(loops):
        total += number * number % 7
    return total


def _loops_in(seconds: float) -> int:
    """How much one thread gets done in so long."""
    loops = 10_000
    while True:
        began = time.perf_counter()
        _spin(loops)
        took = time.perf_counter() - began
        if took > seconds / 2:
            return max(1, round(loops * seconds / took))
        loops *= 2


def _together(ratios: Sequence[tuple[float, float]]) -> float:
    """What so many threads get done, to one: by the clock, or by CPU time where that says more.

    By the clock whatever else runs on the machine counts against them. By CPU time it does not,
    and nor does computing on several cores at once.
    """
    return max(
        statistics.median(wall for wall, _ in ratios), statistics.median(cpu for _, cpu in ratios)
    )


def _time_of(threads: int, loops: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU time in which threads do so many loops each."""
    go = threading.Barrier(threads + 1)

    def work() -> None:
        go.wait()
        _spin(loops)

    crew = [threading.Thread(target=work) for _ in range(threads)]
    for one in crew:
        one.start()
    go.wait()
    began, cpu_began = time.perf_counter(), time.process_time()
    for one in crew:
        one.join()
    return time.perf_counter() - began, max(1e-9, time.process_time() - cpu_began)


def _timer_lag_ns(seconds: float) -> int:
    lags = []
    for _ in range(max(5, round(seconds / _NAP_SECONDS))):
        began = time.perf_counter_ns()
        time.sleep(_NAP_SECONDS)
        lags.append(time.perf_counter_ns() - began - round(_NAP_SECONDS * 1e9))
    return max(0, round(statistics.median(lags)))


def _switch_ns(turns: int = 500) -> int:
    """Two threads that wake each other: half of a round."""
    ping, pong = threading.Lock(), threading.Lock()
    ping.acquire()
    pong.acquire()

    def answer() -> None:
        for _ in range(turns):
            ping.acquire()
            pong.release()

    other = threading.Thread(target=answer)
    other.start()
    took = []
    for _ in range(turns):
        began = time.perf_counter_ns()
        ping.release()
        pong.acquire()
        took.append(time.perf_counter_ns() - began)
    other.join()
    return round(statistics.median(took) / 2)


def _nothing() -> None:
    pass


def _nap() -> None:
    time.sleep(_NAP_SECONDS)


def _pool_costs(tasks: int = 400) -> tuple[int, int]:
    """CPU time that the pool takes for a task with its journal, and the time of a hand-over."""
    with tempfile.TemporaryDirectory() as folder:
        costs = []
        for number in range(3):
            config = WorkerPoolConfig(max_workers=4, enable_instrumentation=False)
            began = time.process_time_ns()
            with WorkerPool(config, journal=Path(folder, f"{number}.jsonl")) as pool:
                for _ in range(tasks):
                    pool.submit_task("nothing", _nothing)
                pool.wait_for_all()
            costs.append((time.process_time_ns() - began) // tasks)
        path = Path(folder, "naps.jsonl")
        with WorkerPool(config, journal=path) as pool:  # an idle process: one nap at a time
            for _ in range(30):
                pool.get_task_result(pool.submit_task("nap", _nap))
        handovers = [
            record.stimulus.begun_at_ns - record.stimulus.dispatched_at_ns
            for record in read_journal(path).records
            if isinstance(record.stimulus, AttemptSucceeded)
        ]
    return min(costs), max(0, round(statistics.median(handovers)))
