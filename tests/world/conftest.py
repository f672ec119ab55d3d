"""Pools whose tasks are ordinary functions, on both kinds of carriers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from runtime import WorkerPoolConfig
from simulation import SimulatedWorkerPool
from simulation.world.patches import is_patched

MakePool = Callable[..., SimulatedWorkerPool]


@pytest.fixture(params=["thread", "greenlet"])
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_pool(carrier: str) -> Iterator[MakePool]:
    """Makes pools; nothing is patched and no thread is left once they are closed."""
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:

        def make(*, watchdog_seconds: float = 60, **fields: object) -> SimulatedWorkerPool:
            fields = {
                "enable_instrumentation": False,
                "task_timeout_seconds": None,
                "max_retries": 0,
                **fields,
            }
            pool = SimulatedWorkerPool(
                WorkerPoolConfig(**fields), carrier=carrier, watchdog_seconds=watchdog_seconds
            )
            return stack.enter_context(pool)

        yield make
    assert not is_patched()
    assert set(threading.enumerate()) == before
