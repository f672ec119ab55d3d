"""Runs that the tests of this folder look at."""

from __future__ import annotations

from pathlib import Path

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool

__all__ = ["EVIL", "real_run", "simulated_run"]

#: A name that would be a script if anything failed to escape it.
EVIL = "</script><img src=x onerror=window.evil=1><b>`${window.evil=1}`</b>"


def simulated_run(path: Path, *, tasks: int = 60, workers: int = 6, seed: int = 3) -> Path:
    """Failures, retries, timeouts, cancels, a task that never starts, late results."""
    config = WorkerPoolConfig(
        max_workers=workers,
        max_retries=2,
        task_timeout_seconds=6,
        max_abandoned_threads=2,
        enable_instrumentation=False,
    )
    with SimulatedWorkerPool(config, seed=seed, journal=path) as pool:
        pool.advance(5)  # so that nothing begins at 0 by chance
        ids = [
            pool.submit_task(
                f"Q{n:03d}" if n else EVIL,
                Modelled(Exponential(3.5), Fails(0.2, "app.<locals>.Broken")),
                group=("ask", "fetch")[n % 2],
            )
            for n in range(tasks)
        ]
        pool.submit_task("fails for good", Modelled(1.0, Fails(1.0, "KeyError", False)))
        pool.submit_task("has a deadline", Modelled(1.0), deadline=8.0)
        pool.advance(4)
        pool.cancel(ids[-1])
        pool.submit_task("comes late", Modelled(40.0), timeout=None)
        pool.wait_for_all()
    return path


def real_run(path: Path) -> Path:
    """Real threads: some waiting, some computing, one that is slow to heed its timeout."""

    def work(number: int) -> int:
        attempt = current_attempt()
        if number == 7 and attempt.number == 1:
            attempt.sleep(5)
        if number % 5 == 0 and attempt.number == 1:
            raise ConnectionError("again")
        attempt.sleep(0.002)
        return sum(range(20_000))

    config = WorkerPoolConfig(
        max_workers=4,
        max_retries=2,
        task_timeout_seconds=1.0,
        backoff_base_seconds=0.01,
        enable_instrumentation=False,
    )
    with WorkerPool(config, journal=path) as pool:
        for number in range(40):
            pool.submit_task(f"T{number}", work, (number,))
        pool.wait_for_all(timeout=60)
    return path
