"""How tasks end: success, failure, retries, timeouts, deadlines."""

from __future__ import annotations

import pytest

from runtime import (
    TaskCancelledError,
    TaskFailedError,
    TaskStatus,
    TaskTimeoutError,
    current_attempt,
)
from tests.behaviour.conftest import UNIT, MakePool


def pause(units: float) -> float:
    current_attempt().sleep(units * UNIT)
    return units


def test_results_come_in_submission_order_whatever_the_order_of_completion(
    make_pool: MakePool,
) -> None:
    pool = make_pool(max_workers=3)
    for units in (6, 1, 3):
        pool.submit_task(f"t{units}", pause, (units,))
    results = pool.wait_for_all()
    assert [result.result for result in results] == [6, 1, 3]
    assert all(result.success and result.error is None for result in results)
    assert [result.metrics.status for result in results] == [TaskStatus.COMPLETED] * 3


def test_args_and_kwargs_reach_the_function(make_pool: MakePool) -> None:
    pool = make_pool()
    task = pool.submit_task("f", lambda *a, **k: (a, k), (1, 2), {"x": 3})
    assert pool.get_task_result(task).result == ((1, 2), {"x": 3})


def test_a_failure_is_retried_and_the_retry_can_succeed(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=3)

    def flaky() -> int:
        number = current_attempt().number
        if number < 3:
            raise ConnectionError(number)
        return number

    result = pool.get_task_result(pool.submit_task("flaky", flaky))
    assert result.result == 3
    assert result.metrics.retries_used == 2
    assert result.metrics.backoff_time_ms >= (1 + 2) * UNIT * 1000


def test_retries_exhausted(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=2)

    def bad() -> None:
        raise ValueError(current_attempt().number)

    result = pool.get_task_result(pool.submit_task("bad", bad))
    assert not result.success
    assert result.result is None
    assert isinstance(result.error, TaskFailedError)
    assert [error.args for error in result.error.attempts] == [(1,), (2,), (3,)]
    assert result.error.__cause__ is result.error.attempts[-1]
    assert result.error.reason == "retries exhausted"
    assert result.metrics.status is TaskStatus.FAILED
    assert result.metrics.retries_used == 2
    with pytest.raises(TaskFailedError):
        result.unwrap()


def test_what_retry_on_excludes_is_not_retried(make_pool: MakePool) -> None:
    pool = make_pool(retry_on=ConnectionError)
    task = pool.submit_task("bad", lambda: 1 / 0)
    result = pool.get_task_result(task)
    assert result.metrics.retries_used == 0
    assert result.error.reason == "not retryable"
    assert isinstance(result.error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_is_never_retried(
    make_pool: MakePool, kind: type[BaseException]
) -> None:
    pool = make_pool(retry_on=BaseException)

    def leave() -> None:
        raise kind

    result = pool.get_task_result(pool.submit_task("leave", leave))
    assert result.metrics.retries_used == 0
    assert isinstance(result.error.__cause__, kind)


def test_a_retry_after_is_a_floor_for_the_backoff(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=1, backoff_base_seconds=0.0)

    class Busy(Exception):
        retry_after_seconds = 3 * UNIT

    def busy() -> None:
        if current_attempt().number == 1:
            raise Busy

    result = pool.get_task_result(pool.submit_task("busy", busy))
    assert result.success
    assert result.metrics.backoff_time_ms >= 3 * UNIT * 1000


def test_an_attempt_that_takes_too_long_is_abandoned_and_retried(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=2 * UNIT, max_retries=1)

    def slow_at_first() -> str:
        if current_attempt().number == 1:
            pause(1000)
        return "done"

    result = pool.get_task_result(pool.submit_task("slow", slow_at_first))
    assert result.result == "done"
    assert pool.get_summary_metrics()["timeouts"] == 1


def test_a_task_whose_attempts_all_take_too_long_times_out(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=UNIT, max_retries=1)
    result = pool.get_task_result(pool.submit_task("slow", pause, (1000,)))
    assert isinstance(result.error, TaskTimeoutError)
    assert isinstance(result.error, TimeoutError)
    assert [type(error) for error in result.error.attempts] == [TimeoutError] * 2
    assert result.metrics.status is TaskStatus.FAILED
    assert pool.get_summary_metrics()["timed_out"] == 1


def test_own_timeout_and_retries_go_before_the_pools(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=UNIT, max_retries=5)
    long = pool.submit_task("long", pause, (3,), timeout=None)
    once = pool.submit_task("once", lambda: 1 / 0, max_retries=0)
    assert pool.get_task_result(long).success
    assert pool.get_task_result(once).metrics.retries_used == 0


def test_a_deadline_ends_a_running_task(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=None)
    task = pool.submit_task("late", pause, (1000,), deadline=pool.now + 2 * UNIT)
    result = pool.get_task_result(task)
    assert isinstance(result.error, TaskTimeoutError)
    assert result.error.reason == "deadline passed"


def test_a_task_whose_deadline_has_passed_is_never_started(make_pool: MakePool) -> None:
    pool = make_pool()
    calls: list[int] = []
    task = pool.submit_task("late", calls.append, (1,), deadline=pool.now - 1)
    result = pool.get_task_result(task)
    assert result.error.reason == "deadline passed"
    assert result.metrics.start_time == 0.0
    assert result.metrics.worker_id is None
    assert calls == []


def test_a_retry_that_would_pass_the_deadline_is_not_made(make_pool: MakePool) -> None:
    pool = make_pool(backoff_base_seconds=20 * UNIT)
    task = pool.submit_task("bad", lambda: 1 / 0, deadline=pool.now + 10 * UNIT)
    result = pool.get_task_result(task)
    assert isinstance(result.error, TaskFailedError)
    assert result.error.reason == "retry would pass the deadline"
    assert result.metrics.retries_used == 0


def test_a_late_result_changes_nothing(make_pool: MakePool) -> None:
    pool = make_pool(task_timeout_seconds=UNIT, max_retries=0, max_workers=1)
    gone: list[str] = []

    def deaf() -> str:
        try:
            pause(2)
        except TaskCancelledError:
            gone.append("token seen")
        return "late"

    task = pool.submit_task("deaf", deaf)
    result = pool.get_task_result(task)
    assert isinstance(result.error, TaskTimeoutError)
    after = pool.submit_task("after", pause, (3,), timeout=None)
    assert pool.get_task_result(after).success
    assert gone == ["token seen"]
    assert pool.get_task_result(task).result is None
    assert pool.get_summary_metrics()["late_results"] == 1


def test_execution_queue_and_backoff_time_stand_apart(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, max_retries=1)

    def once() -> None:
        pause(2)
        if current_attempt().number == 1:
            raise ConnectionError

    first = pool.submit_task("first", pause, (3,))
    second = pool.submit_task("second", once)
    metrics = pool.get_task_result(second).metrics
    assert metrics.queue_time_ms >= 2.9 * UNIT * 1000
    assert metrics.execution_time_ms >= 3.9 * UNIT * 1000
    assert metrics.backoff_time_ms >= 0.99 * UNIT * 1000
    assert pool.get_task_result(first).metrics.backoff_time_ms == 0


def test_the_idempotency_key_is_the_same_for_all_attempts(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=2)
    keys: dict[str, set[str]] = {"a": set(), "b": set(), "c": set()}

    def note(name: str) -> None:
        keys[name].add(current_attempt().idempotency_key)
        raise ConnectionError

    for name, own in (("a", None), ("b", None), ("c", "mine")):
        pool.submit_task(name, note, (name,), idempotency_key=own)
    pool.wait_for_all()
    assert [len(found) for found in keys.values()] == [1, 1, 1]
    assert len(set.union(*keys.values())) == 3
    assert keys["c"] == {"mine"}
