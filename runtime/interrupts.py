"""Ctrl-C must not cut a decision in half.

CPython runs signal handlers in the main thread between any two bytecodes, so ``KeyboardInterrupt``
can come out of the middle of the scheduler and leave it half-way. While a pool lives, SIGINT has a
handler that looks at where the main thread is: inside a *shielded* function it does not raise, but
interrupts again 2 ms later, until it finds the main thread outside (after a second it raises
anyway, so that Ctrl-C never hangs). It costs nothing until somebody presses Ctrl-C.

Only Python's own default handler is replaced, only from the main thread, and it is put back when
the last pool is closed. The method, walking the frames, is trio's.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

__all__ = ["guard", "release", "shielded"]

_AGAIN_AFTER_SECONDS: Final = 0.002
_TRIES: Final = 500

_F = TypeVar("_F", bound=Callable[..., Any])

_shielded: Final[set[CodeType]] = set()
_guards = 0
_tries = 0


def shielded(function: _F) -> _F:
    """Mark a function that Ctrl-C must not interrupt.

    Args:
        function: a plain Python function that never waits long.

    Returns:
        The very same function.
    """
    _shielded.add(function.__code__)
    return function


def guard() -> bool:
    """Install the handler for one more pool.

    Returns:
        Whether ``release`` is to be called for it.
    """
    global _guards
    if threading.current_thread() is not threading.main_thread():
        return False
    if _guards == 0:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
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
    global _tries
    at = frame
    while at is not None and at.f_code not in _shielded:
        at = at.f_back
    _tries += 1
    if at is None or _tries > _TRIES:
        _tries = 0
        raise KeyboardInterrupt
    # not threading.Thread: its locks may be held by the very code that was interrupted
    _thread.start_new_thread(_interrupt_again, ())


def _interrupt_again() -> None:
    time.sleep(_AGAIN_AFTER_SECONDS)
    _thread.interrupt_main()
