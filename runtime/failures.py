"""What a failure is called, whether it is retried, and how long it asks to wait.

All of this asks code that users wrote, in a worker that nobody would miss before its task hangs: so
whatever that code raises ends here.
"""

from __future__ import annotations

import logging
from typing import Any

from runtime.config import RetryOn, seconds_to_ns
from runtime.errors import (
    AwaitableResultError,
    ForkedPoolError,
    PoolBrokenError,
    PoolClosedError,
)

__all__ = ["describe", "told", "type_name", "without_this_frame"]

_log = logging.getLogger("twinclock")

#: What a second attempt would meet again: who wants to stop, a pool that takes no more, and work
#: that cannot be done. A ``WouldDeadlockError`` is not among them: when others have ended, there
#: may be a worker.
_NEVER_RETRIED = (
    KeyboardInterrupt,
    SystemExit,
    AwaitableResultError,
    ForkedPoolError,
    PoolBrokenError,
    PoolClosedError,
)
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]


def type_name(error: BaseException) -> str:
    """The name of an exception's type, as journals and metrics have it.

    Args:
        error: an exception.

    Returns:
        ``module.qualname``, or ``qualname`` alone for a builtin.

    Example:
        >>> type_name(ValueError("x"))
        'ValueError'
    """
    kind = type(error)
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
    except BaseException:  # a metaclass of the user's
        module, name = "?", type.__repr__(kind)
    return name if module == "builtins" else f"{module}.{name}"


def without_this_frame(error: BaseException) -> None:
    """Take the calling frame out of an exception's traceback, where that can be done.

    Args:
        error: what was caught.
    """
    # by the base's own means: a frozen dataclass refuses assignment, a property may raise
    traceback = _TRACEBACK.__get__(error)
    if traceback is not None:
        BaseException.with_traceback(error, traceback.tb_next)


def told(error: BaseException) -> str:
    """An exception as messages show it, also one that cannot be shown.

    Args:
        error: an exception.

    Returns:
        Its ``repr``, or its type's name where that raises.
    """
    try:
        return repr(error)
    except BaseException:
        return f"<{type_name(error)}, whose repr raises>"


def describe(error: BaseException, retry_on: RetryOn) -> tuple[str, bool, int | None]:
    """Classify a failure.

    Args:
        error: what the function raised.
        retry_on: which failures are retried.

    Returns:
        Its type's name, whether it may be retried, and the floor for the backoff that it carries
        in ``retry_after_seconds``, in nanoseconds, or ``None``.
    """
    name = type_name(error)
    try:
        return name, _is_retryable(error, retry_on), _retry_after_ns(error)
    except BaseException:  # the log's handlers are users' code, too
        return name, False, None


def _is_retryable(error: BaseException, retry_on: RetryOn) -> bool:
    if issubclass(type(error), _NEVER_RETRIED):
        return False
    try:
        if isinstance(retry_on, type | tuple):
            return isinstance(error, retry_on)
        return bool(retry_on(error))
    except BaseException:
        _log.exception("retry_on raised for %s, which is therefore not retried", told(error))
        return False


def _retry_after_ns(error: BaseException) -> int | None:
    try:
        seconds = getattr(error, "retry_after_seconds", None)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            return None
        if not 0 <= seconds < float("inf"):  # exact for any int, which isfinite() is not
            return None
        return seconds_to_ns(min(seconds, 1e9))
    except BaseException:
        _log.exception("retry_after_seconds of %s raised and is ignored", type_name(error))
        return None
