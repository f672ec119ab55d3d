"""Journals with every feature, made by a pool on virtual time that is driven at random."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

from runtime import WorkerPoolConfig, current_attempt
from runtime.journal import Journal, read_journal
from simulation import Fails, Modelled, SimulatedWorkerPool
from simulation.recording.read import Recording, read_recording
from simulation.replay import replay


def record(path: Path, config: WorkerPoolConfig, tasks: list[Any], **each: Any) -> Recording:
    """Run modelled tasks, all submitted at once, and read what was recorded.

    Args:
        path: for the journal.
        config: the pool's.
        tasks: what each does.
        each: further arguments of ``submit_task``, for all.
    """
    with SimulatedWorkerPool(config.replace(enable_instrumentation=False), journal=path) as pool:
        for number, task in enumerate(tasks, 1):
            pool.submit_task(f"t{number}", task, **each)
        pool.wait_for_all()
    return read(path)


def read(path: Path) -> Recording:
    """A journal that replays, as a recording."""
    journal = read_journal(path)
    replay(journal).raise_for_divergence()
    return read_recording(journal)


def _model(draw: Random, longest: float) -> Modelled:
    durations = [
        draw.choice([draw.expovariate(2), draw.expovariate(1), draw.expovariate(0.5), longest])
        for _ in range(draw.randint(1, 3))
    ]
    outcomes = [
        draw.choice([None, None, Fails(), Fails(error="ValueError", retryable=False)])
        for _ in range(draw.randint(1, 3))
    ]
    return Modelled(durations, outcomes)


def wild(path: Path, seed: int) -> Journal:
    """A journal of a run in which everything happens that a journal can hold.

    Hardly anything happens at one and the same instant, as in reality.

    Args:
        path: for the journal.
        seed: what happens.
    """
    draw = Random(seed)
    config = WorkerPoolConfig(
        max_workers=draw.randint(1, 5),
        task_timeout_seconds=draw.choice([1.0, 2.0, 3.5]),
        max_retries=draw.randint(0, 3),
        backoff_base_seconds=draw.choice([0.0, 0.5, 1.0]),
        backoff_max_seconds=4.0,
        jitter=draw.choice(["none", "full"]),
        seed=seed,
        max_abandoned_threads=draw.choice([0, 1, 50]),
        enable_instrumentation=False,
    )

    # where abandoned attempts hold their slots, one that never ends would hold it for ever
    longest = math.inf if config.max_abandoned_threads == 50 else 20.0
    with SimulatedWorkerPool(config, seed=seed, journal=path) as pool:

        def nest(depth: int) -> None:
            current_attempt().sleep(draw.random())
            if depth:
                pool.submit_task("child", nest, args=(depth - 1,))
            current_attempt().sleep(draw.random())
            pool.submit_task("leaf", Modelled(draw.random()), priority=-1)

        def heed() -> None:
            current_attempt().sleep(50)

        ids: list[str] = []
        for _ in range(draw.randint(10, 60)):
            if draw.random() < 0.5:
                pool.advance(draw.random())
            chance = draw.random()
            if chance < 0.6:
                options: dict[str, Any] = {
                    "priority": draw.randint(-1, 1),
                    "group": draw.choice(["a", "b"]),
                }
                if draw.random() < 0.2:
                    options["timeout"] = draw.choice([0.4, 6.0])
                if draw.random() < 0.2:
                    options["deadline"] = pool.now + draw.choice([0.0, 2.0, 8.0])
                task: Any = draw.choice([*(_model(draw, longest) for _ in range(3)), heed])
                ids.append(pool.submit_task("t", task, **options))
            elif chance < 0.65:
                ids.append(pool.submit_task("nest", nest, args=(2,)))
            elif chance < 0.72 and ids:
                pool.advance(draw.random())
                pool.cancel(draw.choice(ids))
            elif chance < 0.75:
                pool.abort_pending_tasks()
            else:
                pool.advance(draw.random() * 3)
        if draw.random() < 0.3:
            pool.drain()
        pool.wait_for_all()
        pool.advance(draw.choice([0.0, 60.0]))
    return read_journal(path)
