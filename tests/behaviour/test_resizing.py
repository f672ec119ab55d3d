"""More and fewer workers while a pool runs."""

from __future__ import annotations

import pytest

from runtime import TaskStatus, WaitTimeoutError, WouldDeadlockError
from tests.behaviour.conftest import UNIT, MakePool
from tests.behaviour.test_outcomes import pause


def test_more_workers_start_at_once_what_waits(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    tasks = [pool.submit_task(f"t{n}", pause, (4,)) for n in range(4)]
    pool.resize(4)
    assert pool.get_summary_metrics()["busy_workers"] == 4
    metrics = [pool.get_task_result(task).metrics for task in tasks]
    assert all(metric.queue_time_ms < 2 * UNIT * 1000 for metric in metrics)
    assert {metric.worker_id for metric in metrics} == {f"worker-{n}" for n in range(1, 5)}


def test_with_fewer_what_runs_finishes_and_nothing_starts_until_fewer_run(
    make_pool: MakePool,
) -> None:
    pool = make_pool(max_workers=3)
    running = [pool.submit_task(f"runs {n}", pause, (4,)) for n in range(3)]
    waiting = [pool.submit_task(f"waits {n}", pause, (2,)) for n in range(2)]
    pool.resize(1)
    summary = pool.get_summary_metrics()
    assert (summary["max_workers"], summary["busy_workers"]) == (1, 3)
    for task in running:
        assert pool.get_task_result(task).success
    pool.wait_for_all()
    first, second = [pool.get_task_result(task).metrics for task in waiting]
    assert second.queue_time_ms >= first.queue_time_ms + 2 * UNIT * 1000 * 0.99
    assert pool.get_summary_metrics()["busy_workers"] == 0


def test_a_pool_can_grow_and_shrink_from_inside_a_task(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)

    def grow() -> object:
        pool.resize(2)
        return pool.get_task_result(pool.submit_task("inner", pause, (1,))).result

    assert pool.get_task_result(pool.submit_task("outer", grow)).result == 1
    pool.resize(1)
    order: list[int] = []
    for n in range(4):
        pool.submit_task(f"t{n}", order.append, (n,))
    pool.wait_for_all()
    assert order == [0, 1, 2, 3]


def test_resize_meets_tasks_in_every_state(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=1, backoff_base_seconds=4 * UNIT)
    states: dict[str, str] = {
        "done": pool.submit_task("done", pause, (0,)),
        "failed": pool.submit_task("failed", lambda: 1 / 0, max_retries=0),
        "backoff": pool.submit_task("backoff", lambda: 1 / 0),
    }
    with pytest.raises(WaitTimeoutError):
        pool.wait_for_all(timeout=UNIT)
    states["running"] = pool.submit_task("running", pause, (6,))
    pool.submit_task("running too", pause, (6,))
    states["waiting"] = pool.submit_task("waiting", pause, (1,))
    states["cancelled"] = pool.submit_task("cancelled", pause, (1,))
    pool.cancel(states["cancelled"])
    before = {name: pool.get_metrics()[task].status for name, task in states.items()}
    assert before == {
        "done": TaskStatus.COMPLETED,
        "failed": TaskStatus.FAILED,
        "backoff": TaskStatus.RETRYING,
        "running": TaskStatus.RUNNING,
        "waiting": TaskStatus.PENDING,
        "cancelled": TaskStatus.CANCELLED,
    }
    pool.resize(1)
    assert before == {name: pool.get_metrics()[task].status for name, task in states.items()}
    results = pool.wait_for_all()
    assert [result.success for result in results] == [True, False, False, True, True, True, False]


def test_a_closed_pool_takes_a_resize_and_nothing_comes_of_it(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    pool.shutdown()
    pool.resize(3)
    assert pool.get_summary_metrics()["busy_workers"] == 0


@pytest.mark.parametrize("workers", [0, -1, 100_001])
def test_out_of_range_is_refused(make_pool: MakePool, workers: int) -> None:
    pool = make_pool(max_workers=2)
    with pytest.raises(ValueError, match=f"max_workers={workers}: must be 1 to 100000"):
        pool.resize(workers)
    assert pool.get_summary_metrics()["max_workers"] == 2


@pytest.mark.parametrize("workers", [None, 2.5, "3", True])
def test_what_is_no_whole_number_is_refused(make_pool: MakePool, workers: object) -> None:
    pool = make_pool()
    with pytest.raises(TypeError, match="max_workers="):
        pool.resize(workers)  # type: ignore[arg-type]


# ---------------------------------------------------------------- tasks that wait for their pool


def test_more_workers_free_a_pool_in_which_one_would_be_too_few(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, max_retries=0)

    def outer() -> object:
        return pool.get_task_result(pool.submit_task("inner", pause, (1,))).result

    stuck = pool.get_task_result(pool.submit_task("outer", outer))
    assert isinstance(stuck.error.__cause__, WouldDeadlockError)
    pool.resize(2)
    assert pool.get_task_result(pool.submit_task("outer", outer)).result == 1


def test_of_those_that_wait_one_is_told_when_too_few_workers_are_left(make_pool: MakePool) -> None:
    """Three wait for tasks of their own pool, and the fourth worker, which could have served them,
    goes when its attempt ends: the one that began to wait last gives way, and the others come home.
    """
    pool = make_pool(max_workers=4, max_retries=0)

    def outer(units: float) -> object:
        pause(units)
        return pool.get_task_result(pool.submit_task("inner", pause, (1,))).result

    outers = [pool.submit_task(f"outer {n}", outer, (n,)) for n in range(3)]
    last = pool.submit_task("last", pause, (5,))
    pool.submit_task("block", pause, (1,), priority=1)
    with pytest.raises(WaitTimeoutError):
        pool.wait_for_all(timeout=0.5 * UNIT)
    pool.resize(3)
    assert pool.get_task_result(last).success
    errors = [pool.get_task_result(task, timeout=60).error for task in outers]
    told = [error for error in errors if error is not None]
    assert len(told) == 1
    assert isinstance(told[0].__cause__, WouldDeadlockError)
    assert "since the pool was resized to 3" in str(told[0].__cause__)
    assert len(pool.wait_for_all()) == 8
