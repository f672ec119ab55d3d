"""Threads come with more workers, and go with fewer."""

from __future__ import annotations

import threading
from pathlib import Path

from runtime import WorkerPool, WorkerPoolConfig
from simulation.replay import replay
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads, threads_of, until


def test_threads_come_and_go(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    for workers in (8, 3, 6, 1):
        pool.resize(workers)
        together = threading.Barrier(workers)
        for n in range(workers):
            pool.submit_task(f"t{n}", together.wait, (DEADLINE,))
        assert all(result.success for result in pool.wait_for_all(DEADLINE))
        until(lambda workers=workers: len(threads_of(pool, "thread")) == workers, "thread count")


def test_a_busy_thread_goes_when_its_attempt_ends(
    make_pool: MakePool, gate: threading.Event
) -> None:
    pool = make_pool(max_workers=4)
    for n in range(4):
        pool.submit_task(f"t{n}", gate.wait, (DEADLINE,))
    until(lambda: len(threads_of(pool, "thread")) == 4)
    pool.resize(1)
    assert len(threads_of(pool, "thread")) == 4
    gate.set()
    until(lambda: len(threads_of(pool, "thread")) == 1)
    assert pool.get_task_result(pool.submit_task("more", lambda: 7), DEADLINE).result == 7


def test_resizes_from_many_threads_amid_work(tmp_path: Path) -> None:
    """Whatever comes between what: all tasks end, the threads fit, and the journal replays."""
    path = tmp_path / "run.jsonl"
    with WorkerPool(
        WorkerPoolConfig(max_workers=3, enable_instrumentation=False, max_retries=0), journal=path
    ) as pool:

        def work(number: int) -> None:
            for n in range(60):
                if n % 5 == number % 5:
                    pool.resize(1 + (n + number) % 7)
                pool.submit_task(f"{number}.{n}", pow, (n, 2))

        in_threads(6, work)
        results = pool.wait_for_all(DEADLINE)
        assert len(results) == 360
        assert all(result.success for result in results)
        pool.resize(2)
        until(lambda: len(threads_of(pool, "thread")) <= 2)
    found = replay(path, check=True)
    assert found.divergence is None
    assert found.journal.complete
