"""Cancel, abort, drain, shutdown, waiting."""

from __future__ import annotations

import pytest

from runtime import (
    TaskCancelledError,
    TaskStatus,
    WaitTimeoutError,
    WouldDeadlockError,
    current_attempt,
)
from tests.behaviour.conftest import UNIT, MakePool
from tests.behaviour.test_outcomes import pause


def test_cancel_of_a_waiting_task(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    pool.submit_task("first", pause, (2,))
    task = pool.submit_task("second", pause, (2,))
    assert pool.cancel(task) is True
    assert pool.cancel(task) is False
    result = pool.get_task_result(task)
    assert isinstance(result.error, TaskCancelledError)
    assert result.metrics.status is TaskStatus.CANCELLED


def test_cancel_of_a_running_task_sets_its_token_and_frees_its_worker(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, task_timeout_seconds=None)
    seen: list[str] = []

    def stuck() -> None:
        try:
            pause(1000)
        finally:
            seen.append("woken")

    task = pool.submit_task("stuck", stuck)
    pool.submit_task("killer", pause, (0,), priority=1)
    with pytest.raises(WaitTimeoutError):
        pool.get_task_result(task, timeout=UNIT)
    assert pool.cancel(task) is True
    assert pool.get_task_result(task).error.reason == "cancelled"
    assert len(pool.wait_for_all()) == 2
    pool.get_task_result(pool.submit_task("later", pause, (1,)))
    assert seen == ["woken"]


def test_abort_cancels_what_waits_and_lets_run_what_runs(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=3)

    def fail_later() -> None:
        pause(2)
        raise ConnectionError

    running = [pool.submit_task("runs", pause, (2,)), pool.submit_task("fails", fail_later)]
    waiting = [pool.submit_task(f"waits {n}", pause, (1,)) for n in range(5)]
    assert pool.abort_pending_tasks() == 5
    assert pool.abort_pending_tasks() == 0
    good, bad = [pool.get_task_result(task) for task in running]
    assert good.success
    assert bad.metrics.retries_used == 0
    assert all(pool.get_task_result(task).error.reason == "aborted" for task in waiting)
    assert pool.get_task_result(pool.submit_task("after", pause, (0,))).success


def test_abort_ends_backoffs(make_pool: MakePool) -> None:
    pool = make_pool(backoff_base_seconds=50.0)
    task = pool.submit_task("bad", lambda: 1 / 0)
    with pytest.raises(WaitTimeoutError):
        pool.get_task_result(task, timeout=UNIT)
    assert pool.get_metrics()[task].status is TaskStatus.RETRYING
    assert pool.abort_pending_tasks() == 1
    error = pool.get_task_result(task).error
    assert isinstance(error, TaskCancelledError)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_drain_refuses_new_work_and_finishes_the_rest(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    tasks = [pool.submit_task(f"t{n}", pause, (1,)) for n in range(3)]
    assert pool.drain() is True
    assert all(pool.get_task_result(task).success for task in tasks)
    with pytest.raises(RuntimeError, match="takes no more tasks"):
        pool.submit_task("late", pause, (1,))


def test_shutdown_is_idempotent_and_results_stay(make_pool: MakePool) -> None:
    pool = make_pool()
    task = pool.submit_task("t", pause, (1,))
    pool.shutdown()
    pool.shutdown(wait=False)
    pool.shutdown(cancel_futures=True)
    assert pool.get_task_result(task).success
    with pytest.raises(RuntimeError):
        pool.submit_task("late", pause, (1,))


def test_shutdown_can_cancel_what_waits(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    tasks = [pool.submit_task(f"t{n}", pause, (1,)) for n in range(3)]
    pool.shutdown(cancel_futures=True)
    statuses = [pool.get_task_result(task).metrics.status for task in tasks]
    assert statuses == [TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.CANCELLED]


def test_leaving_the_block_by_an_exception_aborts_what_waits(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    tasks = []

    def leave() -> None:
        with pool:
            tasks.extend(pool.submit_task(f"t{n}", pause, (1,)) for n in range(3))
            raise LookupError

    with pytest.raises(LookupError):
        leave()
    statuses = [pool.get_task_result(task).metrics.status for task in tasks]
    assert statuses == [TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.CANCELLED]


def test_waiting_too_long_tells_what_is_there_and_what_is_not(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    quick = pool.submit_task("quick", pause, (1,))
    slow = pool.submit_task("slow", pause, (20,))
    with pytest.raises(TimeoutError) as caught:
        pool.wait_for_all(timeout=5 * UNIT)
    assert isinstance(caught.value, WaitTimeoutError)
    assert [result.task_id for result in caught.value.results] == [quick]
    assert caught.value.open_ids == [slow]
    assert len(pool.wait_for_all()) == 2


def test_wait_for_the_first(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    pool.submit_task("slow", pause, (20,))
    pool.submit_task("quick", pause, (1,))
    assert [r.task_name for r in pool.wait_for_all(return_when="FIRST_COMPLETED")] == ["quick"]
    assert len(pool.wait_for_all()) == 2


def test_wait_for_the_first_exception(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=3, max_retries=0)

    def bad() -> None:
        pause(4)
        raise ValueError

    pool.submit_task("good", pause, (1,))
    pool.submit_task("bad", bad)
    pool.submit_task("slow", pause, (20,))
    done = pool.wait_for_all(return_when="FIRST_EXCEPTION")
    assert [result.task_name for result in done] == ["good", "bad"]
    with pytest.raises(ValueError, match="return_when"):
        pool.wait_for_all(return_when="SOMETIME")  # type: ignore[arg-type]


def test_unknown_ids(make_pool: MakePool) -> None:
    pool = make_pool()
    task = pool.submit_task("t", pause, (0,))
    for unknown in ("", "t", f"{task}0", f"{task} ", task[:-1] + "01", task[:-1] + "٣", None):
        for call in (pool.get_task_result, pool.cancel):
            with pytest.raises(KeyError) as caught:
                call(unknown)  # type: ignore[arg-type]
            assert caught.value.args == (unknown,)
            assert str(caught.value) == f"no task of this pool has the id {unknown!r}"


def test_a_task_may_submit_and_wait_while_others_are_free(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)

    def parent() -> float:
        child = pool.submit_task("child", pause, (1,))
        return pool.get_task_result(child).result

    assert pool.get_task_result(pool.submit_task("parent", parent)).result == 1


def test_waiting_from_the_last_free_worker_raises(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, max_retries=0)

    def parent() -> None:
        pool.get_task_result(pool.submit_task("child", pause, (1,)))

    result = pool.get_task_result(pool.submit_task("parent", parent))
    assert isinstance(result.error.__cause__, WouldDeadlockError)


def test_a_task_that_waits_for_itself_raises(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4, max_retries=0)

    def itself() -> None:
        pool.get_task_result(current_attempt().task_id)

    def everything() -> None:
        pool.wait_for_all()

    for function in (itself, everything):
        result = pool.get_task_result(pool.submit_task("t", function))
        assert isinstance(result.error.__cause__, WouldDeadlockError)


def test_priorities_and_then_submission_order(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1)
    order: list[str] = []
    pool.submit_task("block", pause, (2,))
    for name, priority in (("c", 1), ("a", 0), ("d", 1), ("b", 0), ("first", -5)):
        pool.submit_task(name, order.append, (name,), priority=priority)
    pool.wait_for_all()
    assert order == ["first", "a", "b", "c", "d"]


def test_ageing_lifts_what_has_waited_long(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, ageing_seconds=2 * UNIT)
    order: list[str] = []
    pool.submit_task("block", pause, (8,))
    pool.submit_task("old", order.append, ("old",), priority=1)

    def late() -> None:
        pool.submit_task("new", order.append, ("new",), priority=0)

    with pytest.raises(WaitTimeoutError):
        pool.wait_for_all(timeout=5 * UNIT)
    late()
    pool.wait_for_all()
    assert order == ["old", "new"]


def test_the_summary_adds_up(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=1)
    pool.submit_task("good", pause, (1,))
    pool.submit_task("bad", lambda: 1 / 0, priority=-1)
    pool.submit_task("slow", pause, (30,))
    for _ in range(3):
        pool.submit_task("waits", pause, (30,), priority=1)
    with pytest.raises(WaitTimeoutError):
        pool.wait_for_all(timeout=10 * UNIT)
    pool.abort_pending_tasks()
    summary = pool.get_summary_metrics()
    parts = ("pending", "running", "retrying", "completed", "failed", "cancelled")
    assert sum(summary[part] for part in parts) == summary["total_tasks"] == 6
    assert summary["completed"] == 1
    assert summary["failed"] == 1
    assert summary["total_retries"] == 1
    assert set(pool.get_metrics()) == {f"{pool._prefix}{n}" for n in range(1, 7)}
