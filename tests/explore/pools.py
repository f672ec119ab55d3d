"""Ordinary functions on pools, to be explored."""

from __future__ import annotations

import threading
import time

from runtime import WorkerPoolConfig
from simulation import Modelled, World


def counted(world: World) -> None:
    """Two tasks that read, wait and write without a lock: an update is lost in another order."""
    count = 0
    lock = threading.Lock()

    def add() -> None:
        nonlocal count
        with lock:
            seen = count
        with lock:
            count = seen + 1

    with world.pool(WorkerPoolConfig(max_workers=2)) as pool:
        tasks = [pool.submit_task(f"add-{n}", add) for n in range(2)]
        results = [pool.get_task_result(task) for task in tasks]
    if all(result.success for result in results):
        assert count == 2, "an update was lost"


def polite(world: World) -> None:
    """Tasks that sleep, lock, are retried, time out: whatever strikes, each has one end."""
    lock = threading.Lock()
    done = []

    def work(number: int) -> None:
        time.sleep(1)
        with lock:
            time.sleep(0.5)
            done.append(number)

    with world.pool(WorkerPoolConfig(max_workers=2, max_retries=1, task_timeout_seconds=9)) as pool:
        tasks = [pool.submit_task(f"work-{n}", work, (n,)) for n in range(3)]
        pool.submit_task("stuck", time.sleep, (30,), timeout=2, max_retries=0)
        pool.submit_task("modelled", Modelled(duration=2.25))
        results = [pool.get_task_result(task) for task in tasks]
        pool.wait_for_all()
        summary = pool.get_summary_metrics()
    assert summary["completed"] + summary["failed"] + summary["cancelled"] == 5
    assert sum(result.success for result in results) <= len(done)
