"""What a failure is called, whether it is retried, and how long it asks to wait.

All of this asks code that users wrote, in a worker that nobody would miss before its task hangs: so
whatever that code raises ends here.
"""

from __future__ import annotations

import logging

from runtime.config import RetryOn, seconds_to_ns

__all__ = ["describe", "told", "type_name"]

_log = logging.getLogger("twinclock")

_NEVER_RETRIED = (KeyboardInterrupt, SystemExit)


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
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


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
    return type_name(error), _is_retryable(error, retry_on), _retry_after_ns(error)


def _is_retryable(error: BaseException, retry_on: RetryOn) -> bool:
    if isinstance(error, _NEVER_RETRIED):
        return False
    if isinstance(retry_on, type | tuple):
        return isinstance(error, retry_on)
    try:
        return bool(retry_on(error))
    except BaseException:
        _log.exception("retry_on raised for %s, which is therefore not retried", told(error))
        return False


def _retry_after_ns(error: BaseException) -> int | None:
    try:
        seconds = getattr(error, "retry_after_seconds", None)
    except BaseException:
        _log.exception("retry_after_seconds of %s raised and is ignored", type_name(error))
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not 0 <= seconds < float("inf"):  # exact for any int, which isfinite() is not
        return None
    return seconds_to_ns(min(seconds, 1e9))
