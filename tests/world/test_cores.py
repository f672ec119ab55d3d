"""The threads that carry tasks stay on one core, and nobody else does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from simulation.world import carriers, cores
from simulation.world.cores import keep_on, present_core
from tests.world.conftest import MakePool

affinity: Any = getattr(os, "sched_getaffinity", None)
several = pytest.mark.skipif(
    affinity is None or len(affinity(0)) < 2, reason="needs a choice of cores"
)


def where() -> frozenset[int]:
    """The cores that a task may run on, asked after a pause."""
    time.sleep(1)
    return frozenset(affinity(0))


def run(pool: Any, tasks: int = 4) -> set[frozenset[int]]:
    ids = [pool.submit_task("where", where) for _ in range(tasks)]
    return {pool.get_task_result(task).result for task in ids}


@several
def test_threads_of_tasks_share_a_core_and_their_owner_keeps_all(
    make_pool: MakePool, carrier: str
) -> None:
    mine = frozenset(affinity(0))
    pool = make_pool(max_workers=4)
    found = run(pool)
    assert len(found) == 1
    assert [len(allowed) for allowed in found] == [1 if carrier == "thread" else len(mine)]
    assert affinity(0) == mine


@several
@pytest.mark.parametrize("carrier", ["thread"], indirect=True)
def test_they_go_where_their_owner_has_been_woken(
    make_pool: MakePool, carrier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sorted(affinity(0))[:2]
    at = [first]
    monkeypatch.setattr(carriers, "present_core", lambda: at[0])
    pool = make_pool(max_workers=4)
    assert run(pool) == {frozenset({first})}
    owner: Any = pool._virtual.world.carrier_of(None)
    at[0] = second
    owner._gather()
    assert run(pool) == {frozenset({second})}


@pytest.mark.parametrize("carrier", ["thread"], indirect=True)
@pytest.mark.parametrize("how", ["refused", "not there", "no such file"])
def test_where_the_system_cannot_do_it_they_are_left_alone(
    make_pool: MakePool, carrier: str, monkeypatch: pytest.MonkeyPatch, how: str, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if how == "refused":
        monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    elif how == "not there":
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.delattr(os, "sched_setaffinity", raising=False)
        assert present_core() is None
    else:
        monkeypatch.setattr(cores, "_STAT", tmp_path / "none")
        assert present_core() is None
    pool = make_pool(max_workers=2)
    task = pool.submit_task("sleeps", lambda: time.sleep(60) or time.monotonic())
    assert pool.get_task_result(task).result == 60.0


@several
def test_the_present_core_is_one_that_the_thread_may_run_on() -> None:
    assert present_core() in affinity(0)
    keep_on(None)
    keep_on(present_core(), 2**22 + 1)  # no thread has this identity
