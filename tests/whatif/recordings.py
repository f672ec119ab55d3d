"""Journals and scenarios for the tests of sweeps, recorded on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime import WorkerPoolConfig
from simulation import Fails, LogNormal, Modelled, SimulatedWorkerPool


def record(
    path: Path,
    tasks: int = 80,
    model: Modelled | Callable[[int], Modelled] | None = None,
    *,
    seed: int = 9,
    epoch: float = 1e9,
    **fields: object,
) -> Path:
    model = model or Modelled(LogNormal(2.0, 0.6), Fails(0.1))
    config = WorkerPoolConfig(
        **{"max_workers": 8, "enable_instrumentation": False, **fields}  # type: ignore[arg-type]
    )
    with SimulatedWorkerPool(config, seed=seed, journal=path, epoch=epoch) as pool:
        for n in range(tasks):
            pool.submit_task(f"t{n}", model if isinstance(model, Modelled) else model(n))
        pool.wait_for_all()
    return path


SCENARIO = """
[pool]
max_workers = 4
max_retries = 1
task_timeout_seconds = 60

[[tasks]]
count = 40
duration = { lognormal = { median = 2.0, sigma = 0.6 } }
fails = { probability = 0.1, error = "ConnectionError" }
"""
