"""Ctrl-C must not cut a decision in half.

CPython runs signal handlers in the main thread between any two bytecodes, so ``KeyboardInterrupt``
can come out of the middle of the scheduler and leave it half-way. While a pool lives, SIGINT has a
handler that looks at where the main thread is: inside a *shielded* function it only sets a flag,
and the function raises at its end, a few microseconds later.

Handlers of the project's own raise in the same way: see ``interrupt``.

Only Python's own default handler is replaced, only from the main thread, and it is put back when
the last pool is closed. The method, walking the frames, is trio's.
"""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeVar
from weakref import WeakSet

__all__ = ["guard", "interrupt", "put_back", "raise_pending", "release", "shielded"]

_F = TypeVar("_F", bound=Callable[..., Any])

_shielded: Final[set[CodeType]] = {
    # Python ignores what is raised in these, so Ctrl-C would be lost; and they are where it strikes
    # when a pool with many tasks is collected, since that is one long instruction before them
    weakref.finalize.__call__.__code__,
    WeakSet()._remove.__code__,  # type: ignore[attr-defined]
}
_guards = 0

_put_off: BaseException | None = None

#: Whether Ctrl-C came in a shielded function. Each outermost one looks at this at its end, and
#: calls ``raise_pending`` where it is true.
pending = False


def shielded(function: _F) -> _F:
    """Mark a function that Ctrl-C must not interrupt.

    Args:
        function: a plain Python function that never waits long, and that ends by looking at
            ``pending`` or is called by such a one.

    Returns:
        The very same function.
    """
    _shielded.add(function.__code__)
    return function


def raise_pending() -> None:
    """Raise what was put off; in the main thread only.

    Raises:
        BaseException: what ``interrupt`` was given in the meantime.
    """
    global pending, _put_off
    if threading.current_thread() is threading.main_thread():
        error, _put_off = _put_off, None
        pending = False
        raise error or KeyboardInterrupt


def interrupt(error: BaseException, frame: FrameType | None) -> None:
    """Raise in the main thread: now, or at the end of the shielded function that it is in.

    Args:
        error: what is raised.
        frame: where the main thread is; what a signal handler is called with.
    """
    global pending, _put_off
    at = frame
    while at is not None:
        if at.f_code in _shielded:
            _put_off = error
            pending = True
            return
        at = at.f_back
    pending, _put_off = False, None
    raise error


def guard() -> bool:
    """Install the handler for one more pool.

    Returns:
        Whether ``release`` is to be called for it.
    """
    global _guards
    if threading.current_thread() is not threading.main_thread():
        return False
    if _guards == 0:
        # _handle is still there where another thread closed the last pool: only this one can set it
        if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, _handle):
            return False
        signal.signal(signal.SIGINT, _handle)
    _guards += 1
    return True


def release() -> None:
    """Put Python's handler back once the last pool is closed."""
    global _guards
    _guards -= 1
    if (
        _guards == 0
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is _handle
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def put_back(signum: int, handler: Any) -> None:
    """Install a handler that was there before; the guards' own only while there are guards.

    Args:
        signum: the signal.
        handler: what ``signal.signal`` returned.
    """
    if handler is _handle and _guards == 0:
        handler = signal.default_int_handler
    signal.signal(signum, handler)


def _handle(signum: int, frame: FrameType | None) -> None:
    interrupt(KeyboardInterrupt(), frame)
