"""Ctrl-C must not cut a decision in half.

CPython runs signal handlers in the main thread between any two bytecodes, so ``KeyboardInterrupt``
can come out of the middle of the scheduler and leave it half-way. While a pool lives, SIGINT has a
handler that looks at where the main thread is: inside a *shielded* function it only sets a flag,
and the function raises at its end, a few microseconds later.

Only Python's own default handler is replaced, only from the main thread, and it is put back when
the last pool is closed. The method, walking the frames, is trio's.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

__all__ = ["guard", "raise_pending", "release", "shielded"]

_F = TypeVar("_F", bound=Callable[..., Any])

_shielded: Final[set[CodeType]] = set()
_guards = 0

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
        KeyboardInterrupt: Ctrl-C came in the meantime.
    """
    global pending
    if threading.current_thread() is threading.main_thread():
        pending = False
        raise KeyboardInterrupt


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


def _handle(signum: int, frame: FrameType | None) -> None:
    global pending
    at = frame
    while at is not None:
        if at.f_code in _shielded:
            pending = True
            return
        at = at.f_back
    pending = False
    raise KeyboardInterrupt
