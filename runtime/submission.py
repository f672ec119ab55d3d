"""What may be handed in: the checks of ``submit_task``, and of what a function brings home.

A pool calls ordinary functions. A coroutine function would be "done" as soon as it is called, with
nothing of it run, so it is refused; and so is a result that somebody would have to await.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from types import AsyncGeneratorType, BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

from runtime.config import (
    HIGHEST_PRIORITY,
    LONGEST_SECONDS,
    LOWEST_PRIORITY,
    MOST_RETRIES,
    check_group,
    check_int,
    check_seconds,
    plain_text,
    seconds_to_ns,
)
from runtime.core.records import UNSET, TaskSubmitted, UnsetType
from runtime.errors import AwaitableResultError
from runtime.tracebacks import said_to_users

__all__ = ["ASYNC", "checked", "is_async", "refuse_awaitable"]
__tracebackhide__ = said_to_users

#: The flags of a code object whose call gives a coroutine or an asynchronous generator.
ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_MEND: Final = "asyncio is not supported; run it inside the task: lambda: asyncio.run({}(...))"


def is_async(fn: Any) -> bool:
    """Whether calling something gives a coroutine or an asynchronous generator.

    Args:
        fn: a callable; methods and partials are looked into.

    Returns:
        Whether it surely does; what a function returns is not known before it is called.

    Example:
        >>> async def fetch(): ...
        >>> is_async(fetch), is_async(partial(fetch)), is_async(print)
        (True, True, False)
    """
    while True:
        kind = type(fn)
        if kind is FunctionType:
            return bool(fn.__code__.co_flags & ASYNC)
        if kind is MethodType:
            fn = fn.__func__
        elif kind is partial:
            fn = fn.func
        elif kind is BuiltinFunctionType:
            return False
        else:
            fn = getattr(kind, "__call__", None)  # noqa: B004  # what it is, not whether
            return type(fn) is FunctionType and bool(fn.__code__.co_flags & ASYNC)


def refuse_awaitable(value: Any, task_name: str) -> None:
    """Raise where a function's result is a coroutine, an asynchronous generator, or a future of
    asyncio's: its work is not done. Other things that can be awaited, such as futures of a
    cluster's client, are values.

    Args:
        value: what it returned, of a type that has ``__await__`` or is an asynchronous generator.
        task_name: whose function that was.

    Raises:
        AwaitableResultError: it is one of those.
    """
    if isinstance(value, Coroutine):
        value.close()  # else Python warns that nobody awaited it
        what = "coroutine"
    elif type(value) is AsyncGeneratorType:
        what = "asynchronous generator"
    elif hasattr(type(value), "_asyncio_future_blocking"):  # how asyncio knows its futures
        what = "future of asyncio's"
    else:
        return
    raise AwaitableResultError(
        f"the function of task {task_name!r} returned a {what}, so its work is not done: "
        f"{_MEND.format('its_function')}"
    )


def checked(  # noqa: D417  # the others are described where users read it
    numbers: Iterator[int],
    parent: int,
    epoch_ns: int,
    task_name: str,
    task_fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    priority: int,
    group: str,
    timeout: float | UnsetType | None,
    max_retries: int | UnsetType,
    deadline: float | None,
    idempotency_key: str | None,
) -> TaskSubmitted:
    """Look at everything that was given to ``submit_task``.

    Args:
        numbers: gives the task its number, once all else is right.
        parent: the number of the task that submits it, 0 for none.
        epoch_ns: the epoch nanoseconds at which the pool's clock was at 0.
        task_name: as for ``WorkerPool.submit_task``, as are the others.

    Returns:
        What the core is told.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is out of range.
    """
    task_name = plain_text("task_name", task_name)
    if not callable(task_fn):
        raise TypeError(f"task_fn={task_fn!r}: must be callable")
    if is_async(task_fn):
        named = getattr(task_fn, "__name__", None) or "its_function"
        raise TypeError(
            f"task_fn={task_fn!r}: is a coroutine function, and calling it does none of its work: "
            f"{_MEND.format(named)}"
        )
    if not isinstance(args, tuple):
        raise TypeError(f"args={args!r}: must be a tuple, such as (value,)")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs={kwargs!r}: must be a mapping of names to values")
    if kwargs is not None and not all(isinstance(key, str) for key in kwargs):
        raise TypeError(f"kwargs={kwargs!r}: its keys must be strings")
    priority = check_int("priority", priority, LOWEST_PRIORITY, HIGHEST_PRIORITY)
    group = check_group(group)
    timeout_ns: int | UnsetType | None = UNSET
    if timeout is not UNSET:
        check_seconds("timeout", timeout, optional=True, positive=True)
        timeout_ns = None if timeout is None else seconds_to_ns(timeout)
    if max_retries is not UNSET:
        max_retries = check_int("max_retries", max_retries, 0, MOST_RETRIES)
    deadline_at_ns = None
    if deadline is not None:
        if isinstance(deadline, bool) or not isinstance(deadline, int | float):
            raise TypeError(f"deadline={deadline!r}: must be an instant in epoch seconds")
        if not abs(deadline) <= LONGEST_SECONDS * 9:
            raise ValueError(
                f"deadline={deadline!r}: must be in epoch seconds, before the year 2255"
            )
        deadline_at_ns = seconds_to_ns(deadline) - epoch_ns
    if idempotency_key is not None and not isinstance(idempotency_key, str):
        raise TypeError(f"idempotency_key={idempotency_key!r}: must be a string")
    rest = priority, group, timeout_ns, max_retries, deadline_at_ns, parent
    return TaskSubmitted(next(numbers), task_name, *rest)
