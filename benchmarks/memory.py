"""What a task weighs while it waits and when it has ended.

Each measurement is a process of its own: ``python -m benchmarks.memory CONTESTANT METER TASKS``
prints the bytes a task as JSON. One worker is blocked, so that all tasks wait; then it is let go.
The tasks' names are made before the baseline, and each returns ``None``: what is counted is what
the pool adds. What a user must keep to come by the results counts too: the list of an executor's
futures; a pool needs nothing of the kind.

Meters: ``traced`` is what Python allocated (tracemalloc), exact; ``resident`` is what the process
grew by, in whole pages and with what the allocator keeps.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["memory"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_GOAL: Final = 600.0


def _nothing() -> None:
    return None


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def _resident() -> int:
    with open("/proc/self/statm") as fields:
        return int(fields.read().split()[1]) * os.sysconf("SC_PAGESIZE")


_METERS: Final[dict[str, Callable[[], int]]] = {"traced": _traced, "resident": _resident}


class _Blocker:
    """A task that holds its worker until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.began.set()
        self.go_on.wait()


def _executor(read: Callable[[], int], names: list[str]) -> Figures:
    blocker = _Blocker()
    with ThreadPoolExecutor(1) as executor:
        blocked = executor.submit(blocker)
        blocker.began.wait()
        gc.collect()
        base = read()
        futures: list[Future[None]] = [executor.submit(_nothing) for _ in names]
        gc.collect()
        pending = read() - base
        blocker.go_on.set()
        for future in [blocked, *futures]:
            future.result()
        del future
        gc.collect()
        finished = read() - base
    return {"pending": pending / len(names), "finished": finished / len(names)}


def _pool(read: Callable[[], int], names: list[str]) -> Figures:
    from runtime import WorkerPool, WorkerPoolConfig

    blocker = _Blocker()
    config = WorkerPoolConfig(max_workers=1, enable_instrumentation=False)
    with WorkerPool(config) as pool:
        pool.submit_task("blocker", blocker)
        blocker.began.wait()
        gc.collect()
        base = read()
        for name in names:
            pool.submit_task(name, _nothing)
        waiting = pool.get_summary_metrics()["pending"]
        gc.collect()
        pending = read() - base
        blocker.go_on.set()
        ended = len(pool.wait_for_all())
        gc.collect()
        finished = read() - base
        assert (waiting, ended) == (len(names), len(names) + 1), "not all were pending, or ended"
    return {"pending": pending / len(names), "finished": finished / len(names)}


_CONTESTANTS: Final[dict[str, Callable[[Callable[[], int], list[str]], Figures]]] = {
    "executor": _executor,
    "pool": _pool,
}


def _in_this_process(contestant: str, meter: str, tasks: int) -> Figures:
    names = [f"task-{number}" for number in range(tasks)]
    if meter == "traced":
        tracemalloc.start()
    return _CONTESTANTS[contestant](_METERS[meter], names)


def _in_a_process(contestant: str, tasks: int) -> Figures:
    if contestant == "pool":
        from runtime import WorkerPool as _  # noqa: F401  # an ImportError is told here
    figures = {}
    for meter in _METERS:
        if meter == "resident" and not sys.platform.startswith("linux"):
            continue
        command = [sys.executable, "-m", "benchmarks.memory", contestant, meter, str(tasks)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr.strip().splitlines()[-1:]
        for figure, value in json.loads(done.stdout).items():
            figures[f"{figure}, {meter}"] = value
    return figures


def memory(size: Size) -> Benchmark:
    """Bytes a task, pending and finished.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    tasks = size.of(50_000, 20_000)
    goals = [
        Comparison(
            f"{name}: bytes per {state} task",
            (name, f"{state}, traced"),
            None,
            at_most=_GOAL if name == "pool" else None,
        )
        for name in ("executor", "pool")
        for state in ("pending", "finished")
    ]
    return Benchmark(
        "memory",
        f"{tasks:,} tasks behind one that blocks the only worker, and the same when all have "
        f"ended; each measurement in a process of its own.",
        {f"{state}, {meter}": "B/task" for state in ("pending", "finished") for meter in _METERS},
        size.of(3, 1),
        [
            Contestant("executor", lambda _: _in_a_process("executor", tasks)),
            Contestant("pool", lambda _: _in_a_process("pool", tasks)),
        ],
        goals,
    )


if __name__ == "__main__":
    json.dump(_in_this_process(sys.argv[1], sys.argv[2], int(sys.argv[3])), sys.stdout)
