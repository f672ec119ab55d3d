"""Tasks that submit tasks: none is lost while the block is left, or while somebody waits."""

from __future__ import annotations

import threading

import pytest

from runtime import (
    PoolClosedError,
    TaskFailedError,
    WaitTimeoutError,
    WorkerPool,
    current_attempt,
)
from tests.behaviour.conftest import UNIT, MakePool
from tests.behaviour.test_outcomes import pause

PAGES = 1 + 3 + 9 + 27


def visit(pool: WorkerPool, depth: int) -> int:
    """A page that has three more, down to a depth."""
    pause(0.1)
    if depth < 3:
        for n in range(3):
            pool.submit_task(f"page {depth + 1}.{n}", visit, (pool, depth + 1))
    return depth


def test_leaving_the_block_takes_what_tasks_submit_until_nothing_is_in_flight(
    make_pool: MakePool,
) -> None:
    pool = make_pool(max_workers=4)
    with pool:
        pool.submit_task("root", visit, (pool, 0))
    summary = pool.get_summary_metrics()
    assert summary["completed"] == summary["total_tasks"] == PAGES
    with pytest.raises(PoolClosedError):
        pool.submit_task("late", int)


def test_waiting_for_all_waits_for_what_those_tasks_submit(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4)
    pool.submit_task("root", visit, (pool, 0))
    results = pool.wait_for_all()
    assert len(results) == PAGES
    ids = [result.task_id for result in results]
    assert ids == sorted(ids, key=lambda task_id: int(task_id.rpartition(".")[2]))
    assert sorted(result.result for result in results) == [0] + [1] * 3 + [2] * 9 + [3] * 27


def test_a_long_chain_is_followed_to_its_end(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)

    def link(left: int) -> None:
        if left:
            pool.submit_task(f"{left}", link, (left - 1,))

    pool.submit_task("first", link, (300,))
    assert len(pool.wait_for_all()) == 301


def test_a_timeout_tells_of_children_too(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    open_ids: list[str] = []

    def parent() -> None:
        open_ids.append(pool.submit_task("child", pause, (20,)))

    done = pool.submit_task("parent", parent)
    with pytest.raises(WaitTimeoutError) as caught:
        pool.wait_for_all(timeout=5 * UNIT)
    assert [result.task_id for result in caught.value.results] == [done]
    assert caught.value.open_ids == open_ids
    assert "1 of 2 tasks" in str(caught.value)


def test_a_child_that_fails_is_the_first_exception(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3, max_retries=0)

    def parent() -> None:
        pool.submit_task("child", lambda: 1 / 0)
        pause(2)
        pool.submit_task("grandchild", pause, (30,))
        pause(30)

    pool.submit_task("parent", parent)
    results = pool.wait_for_all(return_when="FIRST_EXCEPTION")
    assert [result.task_name for result in results] == ["child"]


def test_a_child_may_fail_after_its_parent_has_ended(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0)

    def child() -> None:
        pause(2)
        raise ValueError

    def parent() -> None:
        pool.submit_task("child", child)
        pool.submit_task("slow", pause, (30,))

    pool.submit_task("parent", parent)
    results = pool.wait_for_all(return_when="FIRST_EXCEPTION")
    assert [(result.task_name, result.success) for result in results] == [
        ("parent", True),
        ("child", False),
    ]


def test_only_running_attempts_of_the_pool_may_submit_while_it_closes(
    make_pool: MakePool,
) -> None:
    pool, other = make_pool(max_workers=2), make_pool(max_workers=2, max_retries=0)
    foreign: list[object] = []

    def of_another_pool() -> None:
        pause(2)
        with pytest.raises(PoolClosedError):
            pool.submit_task("foreign", int)
        foreign.append("refused")

    def parent() -> None:
        pause(4)
        pool.submit_task("child", int)

    other.submit_task("foreign", of_another_pool)
    with pool:
        pool.submit_task("parent", parent)
        if type(pool) is not WorkerPool:
            return  # virtual pools have a clock each
    other.wait_for_all()
    assert foreign == ["refused"]
    assert pool.get_summary_metrics()["completed"] == 2


def test_leaving_the_block_by_an_exception_takes_no_more(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    tasks: list[str] = []

    def parent() -> None:
        pause(3)
        pool.submit_task("child", int)

    def leave() -> None:
        with pool:
            tasks.append(pool.submit_task("parent", parent))
            with pytest.raises(WaitTimeoutError):
                pool.get_task_result(tasks[0], timeout=UNIT)
            raise LookupError

    with pytest.raises(LookupError):
        leave()
    assert isinstance(pool.get_task_result(tasks[0]).error.__cause__, PoolClosedError)


def test_a_pool_that_takes_no_more_is_not_asked_again(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, max_retries=3)

    def parent() -> None:
        pause(3)
        pool.submit_task("child", int)

    task = pool.submit_task("parent", parent)
    with pytest.raises(WaitTimeoutError):
        pool.get_task_result(task, timeout=UNIT)
    pool.drain()
    result = pool.get_task_result(task)
    assert isinstance(result.error, TaskFailedError)
    assert isinstance(result.error.__cause__, PoolClosedError)
    assert result.error.reason == "not retryable"
    assert result.metrics.retries_used == 0


def test_an_abandoned_attempt_submits_as_long_as_the_pool_is_open(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0)

    def heedless() -> None:
        attempt = current_attempt()
        while not attempt.cancelled:
            try:
                pause(0.5)
            except Exception:
                break
        pool.submit_task("child", int)

    with pool:
        pool.submit_task("parent", heedless, timeout=UNIT)
        pool.submit_task("other", pause, (5,))
    summary = pool.get_summary_metrics()
    assert summary["total_tasks"] == 3
    assert summary["completed"] == 2


def test_nothing_slips_in_between_the_last_task_and_the_end() -> None:
    """Each parent submits in its last moment; the block is left meanwhile, many times."""
    for _ in range(200):
        ran: list[int] = []
        with WorkerPool() as pool:

            def parent(pool: WorkerPool = pool, ran: list[int] = ran) -> None:
                pool.submit_task("child", ran.append, (1,))

            for _ in range(3):
                pool.submit_task("parent", parent)
        assert len(ran) == 3
        assert pool.get_summary_metrics()["completed"] == 6


def test_ctrl_c_while_the_block_waits_still_closes_the_pool() -> None:
    release = threading.Event()
    pool = WorkerPool()

    def leave() -> None:
        with pool:
            pool.submit_task("t", release.wait)
            pool._host.wait = interrupted  # type: ignore[method-assign]

    def interrupted(*args: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    del pool._host.wait  # type: ignore[attr-defined]
    release.set()
    with pytest.raises(PoolClosedError):
        pool.submit_task("late", int)
    pool.shutdown()
    assert not pool._engine.core.accepting
