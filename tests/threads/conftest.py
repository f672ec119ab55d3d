"""Pools on real threads, closed and checked at the end of each test."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.invariants import check
from tests.threads.helpers import DEADLINE, in_threads

MakePool = Callable[..., WorkerPool]

_numbers = itertools.count(1)


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Makes pools without timeout and backoff; closes them, within the deadline, at the end."""
    pools: list[WorkerPool] = []

    def make(*, journal: Any = None, observers: Any = (), **fields: Any) -> WorkerPool:
        fields = {
            "task_timeout_seconds": None,
            "backoff_base_seconds": 0.0,
            "name": f"tested{next(_numbers)}",
            **fields,
        }
        pool = WorkerPool(WorkerPoolConfig(**fields), journal=journal, observers=observers)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        in_threads(1, lambda _, pool=pool: pool.shutdown(cancel_futures=True))
        pool._host.held(lambda pool=pool: check(pool._engine.core))


@pytest.fixture
def gate(make_pool: MakePool) -> Iterator[threading.Event]:
    """What stuck tasks wait for; opened before the pools are closed."""
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def stuck(gate: threading.Event) -> Callable[[], bool]:
    """A function that heeds no token and returns only when the gate is open."""

    def wait() -> bool:
        return gate.wait(4 * DEADLINE)

    return wait
