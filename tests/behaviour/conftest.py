"""One suite, two clocks: each test here runs on real threads and on virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.invariants import check
from simulation import SimulatedWorkerPool

#: What counts as one unit of time: long enough that a busy machine keeps the order of events.
UNIT = 1 / 16  # exact in binary, so that sums compare

MakePool = Callable[..., WorkerPool]


@pytest.fixture(params=["threads", "virtual"])
def make_pool(request: pytest.FixtureRequest) -> Iterator[MakePool]:
    """Makes pools on one of the clocks; closes them and checks their core at the end."""
    kind = WorkerPool if request.param == "threads" else SimulatedWorkerPool
    with contextlib.ExitStack() as stack:
        pools: list[WorkerPool] = []

        def make(**fields: object) -> WorkerPool:
            fields = {"backoff_base_seconds": UNIT, "enable_instrumentation": False, **fields}
            pool = kind(WorkerPoolConfig(**fields))
            pools.append(pool)
            return stack.enter_context(pool)

        yield make
        for pool in pools:
            pool._host.held(lambda pool=pool: check(pool._engine.core))
