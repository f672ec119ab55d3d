"""Coroutine functions are no tasks, and that is said rather than taken for success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from runtime import AwaitableResultError, TaskFailedError
from tests.behaviour.conftest import MakePool


async def fetch(number: int = 1) -> int:
    return number


async def pages() -> AsyncIterator[int]:
    yield 1


class Fetcher:
    async def get(self) -> int:
        return 1

    async def __call__(self) -> int:
        return 2


def sync() -> int:
    return 3


@pytest.mark.parametrize(
    "function",
    [fetch, partial(fetch, 2), partial(partial(fetch), 2), pages, Fetcher().get, Fetcher()],
)
def test_a_coroutine_function_is_refused(make_pool: MakePool, function: Callable[..., Any]) -> None:
    pool = make_pool()
    with pytest.raises(TypeError, match=r"asyncio\.run\("):
        pool.submit_task("co", function)
    with pytest.raises(TypeError, match="is a coroutine function"):
        pool.submit_task("co", function, kwargs={"number": 1})
    assert pool.wait_for_all() == []


@pytest.mark.parametrize("function", [sync, partial(sync), int, Fetcher, [].copy, lambda: None])
def test_other_callables_are_taken(make_pool: MakePool, function: Callable[..., Any]) -> None:
    pool = make_pool()
    assert pool.get_task_result(pool.submit_task("t", function)).success


@pytest.mark.parametrize("function", [lambda: fetch(2), lambda: aiter(pages())])
def test_a_coroutine_is_no_result(make_pool: MakePool, function: Callable[[], Any]) -> None:
    pool = make_pool(max_retries=3)
    result = pool.get_task_result(pool.submit_task("co", function))
    assert isinstance(result.error, TaskFailedError)
    assert result.error.reason == "not retryable"
    assert isinstance(result.error.__cause__, AwaitableResultError)
    assert "task 'co'" in str(result.error)
    assert "asyncio.run(" in str(result.error)


def test_a_future_of_asyncio_is_no_result(make_pool: MakePool) -> None:
    loop = asyncio.new_event_loop()
    try:
        pool = make_pool()
        result = pool.get_task_result(pool.submit_task("co", loop.create_future))
        assert isinstance(result.error.__cause__, AwaitableResultError)
    finally:
        loop.close()


def test_other_things_that_can_be_awaited_are_values(make_pool: MakePool) -> None:
    class Ticket:
        def __await__(self) -> Any: ...

    ticket = Ticket()
    pool = make_pool()
    assert pool.get_task_result(pool.submit_task("t", lambda: ticket)).result is ticket
