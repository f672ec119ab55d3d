"""Whatever a function raises, its worker lives on and the pool says what happened."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import gc
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from runtime import TaskFailedError, TaskStatus, current_attempt
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")

    __repr__ = __str__


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Unusual(BaseException):
    pass


class Stubborn(Exception):
    @property
    def retry_after_seconds(self) -> float:
        raise RuntimeError("not yours to know")


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(1),
        asyncio.CancelledError(),
        Unusual("u"),
        Unspeakable(),
        Frozen(7),
        Stubborn(),
        ExceptionGroup("several", [ValueError(), OSError()]),
        BaseExceptionGroup("worse", [KeyboardInterrupt()]),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
        ValueError("\udc80"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_fails_its_task_and_nothing_else(
    make_pool: MakePool, error: BaseException
) -> None:
    pool = make_pool(max_workers=1, max_retries=2)
    result = pool.get_task_result(pool.submit_task("bad", raising(error)), DEADLINE)
    assert isinstance(result.error, TaskFailedError)
    assert result.error.__cause__ is error
    retried = isinstance(error, Exception)
    assert result.metrics.retries_used == (2 if retried else 0)
    assert result.error.reason == ("retries exhausted" if retried else "not retryable")
    assert type(error).__name__ in str(result.error)
    assert result.metrics.error_message == str(result.error)
    assert pool.get_task_result(pool.submit_task("good", lambda: 1), DEADLINE).result == 1
    assert pool.get_summary_metrics()["failed"] == 1


def test_the_traceback_ends_in_the_users_own_code(make_pool: MakePool) -> None:
    def where_it_happens() -> None:
        raise ValueError("here")

    pool = make_pool(max_retries=0)
    error = pool.get_task_result(pool.submit_task("bad", where_it_happens)).error
    traceback = error.__cause__.__traceback__
    assert traceback.tb_frame.f_code is where_it_happens.__code__
    assert traceback.tb_next is None
    del traceback


@pytest.mark.parametrize(
    ("value", "floor_seconds"),
    [
        (0.03, 0.03),
        (0, 0.0),
        (None, 0.0),
        ("0.03", 0.0),
        (b"1", 0.0),
        (True, 0.0),
        (-1, 0.0),
        (math.nan, 0.0),
        (math.inf, 0.0),
        (-math.inf, 0.0),
        (10**400 * -1, 0.0),
        (decimal.Decimal("0.03"), 0.0),
        (1j, 0.0),
        ([], 0.0),
        (object(), 0.0),
    ],
)
def test_an_odd_retry_after_is_ignored(
    make_pool: MakePool, value: Any, floor_seconds: float
) -> None:
    pool = make_pool(max_retries=1, max_workers=1)
    error = OSError("busy")
    error.retry_after_seconds = value  # type: ignore[attr-defined]
    result = pool.get_task_result(pool.submit_task("bad", raising(error)), DEADLINE)
    assert result.metrics.retries_used == 1
    assert result.metrics.backoff_time_ms >= floor_seconds * 1000
    if floor_seconds == 0:
        assert result.metrics.backoff_time_ms < DEADLINE * 1000


@pytest.mark.parametrize("value", [10**400, 1e308, 10**12], ids=["10**400", "1e308", "10**12"])
def test_an_endless_retry_after_passes_any_deadline(make_pool: MakePool, value: float) -> None:
    pool = make_pool(max_retries=1, max_workers=1)
    error = OSError("busy")
    error.retry_after_seconds = value  # type: ignore[attr-defined]
    task = pool.submit_task("bad", raising(error), deadline=pool.now + 1000)
    result = pool.get_task_result(task, DEADLINE)
    assert isinstance(result.error, TaskFailedError)
    assert result.error.reason in ("retry would pass the deadline", "retries exhausted")


def only_odd(error: BaseException) -> bool:
    return error.args[0] % 2 == 1


def broken(error: BaseException) -> bool:
    raise RuntimeError("the predicate is broken")


def leaving(error: BaseException) -> bool:
    raise SystemExit


class Ambiguous:
    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


def ambiguous(error: BaseException) -> Any:
    return Ambiguous()


@pytest.mark.parametrize(
    ("retry_on", "error", "retries"),
    [
        (ValueError, ValueError(1), 2),
        (ValueError, UnicodeError(1), 2),
        (ValueError, KeyError(1), 0),
        ((ValueError, OSError), ConnectionError(1), 2),
        ((ValueError, OSError), KeyError(1), 0),
        ((), ValueError(1), 0),
        (BaseException, Unusual(1), 2),
        (BaseException, KeyboardInterrupt(), 0),
        (only_odd, ValueError(1), 2),
        (only_odd, ValueError(2), 0),
        (only_odd, Unusual(1), 2),
        (only_odd, ValueError(), 0),
        (broken, ValueError(1), 0),
        (leaving, ValueError(1), 0),
        (ambiguous, ValueError(1), 0),
    ],
)
def test_what_is_retried(
    make_pool: MakePool, retry_on: Any, error: BaseException, retries: int
) -> None:
    pool = make_pool(max_retries=2, retry_on=retry_on, max_workers=1)
    result = pool.get_task_result(pool.submit_task("bad", raising(error)), DEADLINE)
    assert result.metrics.retries_used == retries
    assert pool.get_task_result(pool.submit_task("good", lambda: 1), DEADLINE).success


def test_a_broken_predicate_is_logged(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(retry_on=broken)
    pool.get_task_result(pool.submit_task("bad", raising(ValueError(1))), DEADLINE)
    records = [r for r in caplog.records if "retry_on raised" in r.getMessage()]
    assert [record.levelno for record in records] == [logging.ERROR]
    assert "the predicate is broken" in caplog.text


def test_one_exception_object_raised_by_many_tasks(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=1, max_workers=4)
    error = ValueError("the same")
    ids = [pool.submit_task(f"t{n}", raising(error)) for n in range(50)]
    assert all(pool.get_task_result(task, DEADLINE).error.__cause__ is error for task in ids)


def test_a_retry_runs_with_the_same_arguments(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=3)
    seen: list[tuple[Any, ...]] = []

    def note(*args: Any, **kwargs: Any) -> None:
        seen.append((args, kwargs, current_attempt().number))
        raise ConnectionError

    given: dict[str, int] = {"k": 1}
    task = pool.submit_task("t", note, (1, 2), given)
    given["k"] = 2
    result = pool.get_task_result(task, DEADLINE)
    assert seen == [((1, 2), {"k": 1}, n) for n in (1, 2, 3, 4)]
    assert result.metrics.status is TaskStatus.FAILED


class CallsBack:
    """Its destructor asks the pool something."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


def test_a_destructor_may_ask_the_pool(
    make_pool: MakePool, stuck: Callable[[], bool], gate: Any
) -> None:
    pool = make_pool(max_workers=1)
    pool.submit_task("first", stuck)
    asked: list[int] = []

    def ask() -> None:
        asked.append(pool.get_summary_metrics()["total_tasks"])

    task = pool.submit_task("never", print, (CallsBack(ask),))
    in_threads(1, lambda _: pool.cancel(task))
    gate.set()
    ran = pool.submit_task("runs", lambda _: None, (CallsBack(ask),))
    assert pool.get_task_result(ran, DEADLINE).success
    gc.collect()
    assert len(asked) == 2
