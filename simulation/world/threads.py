"""Threads that a strand starts: strands of the same world."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from simulation.world.aliases import adopt
from simulation.world.errors import WorldEnded
from simulation.world.locks import HybridLock
from simulation.world.strands import Strand, current, owned_by

__all__ = ["set_sentinel", "start_joinable_thread", "start_new_thread"]

_start: Final = _thread.start_new_thread
_start_joinable: Final[Any] = getattr(_thread, "start_joinable_thread", None)
_sleep: Final = time.sleep
_sentinel: Final[Callable[[], Any] | None] = getattr(_thread, "_set_sentinel", None)
_active: Final[dict[int, Any]] = threading._active  # type: ignore[attr-defined]


def start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...] = (), *more: Any
) -> int:
    """``threading._start_new_thread``: where a strand calls it, the new thread is one, too."""
    parent = current()
    if parent is None:
        started = _start(function, args, *more)
        _started_outside(function)
        return started
    return _spawn(parent, function, args, *more).number


def start_joinable_thread(
    function: Callable[[], object], handle: Any = None, daemon: bool = True
) -> Any:
    """``threading._start_joinable_thread``, with which Python 3.13 starts them, likewise."""
    parent = current()
    if parent is None:
        handle = _start_joinable(function, handle=handle, daemon=daemon)
        _started_outside(function)
        return handle
    strand = _spawn(parent, function, ())
    virtual = _Handle(strand)
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        thread._handle = virtual  # type: ignore[attr-defined]
    return virtual


class _Handle:
    """``_thread._ThreadHandle`` of a strand, for those who join it."""

    def __init__(self, strand: Strand) -> None:
        self._strand = strand
        self._end = strand.sentinel = HybridLock()
        self._end.hold_for(strand)
        self.ident = strand.number

    def join(self, timeout: float | None = None) -> None:
        if self._end.acquire(True, -1 if timeout is None else timeout):
            self._end.release()

    def is_done(self) -> bool:
        return self._strand.number not in self._strand.world.strands

    def _set_done(self) -> None:
        """Only a forked child says so."""


def _spawn(
    parent: Strand, function: Callable[..., object], args: tuple[Any, ...], *more: Any
) -> Strand:
    """Make a strand of what a thread is to run; it begins at this instant."""
    world = parent.world
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        hook = thread._invoke_excepthook  # type: ignore[attr-defined]
        thread._invoke_excepthook = partial(_tell, hook)  # type: ignore[attr-defined]
        target, given = getattr(thread, "_target", None), getattr(thread, "_args", ())
        if target is not None:
            thread._target, thread._args = adopt(target, given, None)  # type: ignore[attr-defined]
    name = thread.name if isinstance(thread, threading.Thread) else "a thread"

    def run() -> None:
        ident = _thread.get_ident()
        before = _active.get(ident)
        try:
            function(*args, *more)
        finally:
            if before is not None:
                _active[ident] = before

    strand = world.spawn(run, f"thread {name!r} of {parent.name}", (None, None))
    world.wake(strand, strand.turn)
    return strand


def _started_outside(function: Callable[..., object]) -> None:
    """Mind a thread that is real."""
    thread = getattr(function, "__self__", None)
    _note_escape(thread)
    if owned_by(_thread.get_ident()) and isinstance(thread, threading.Thread):
        # Thread.start() waits for this, and in this thread a wait would let virtual time pass
        while not thread._started.is_set():  # type: ignore[attr-defined]
            _sleep(0.0001)


def _note_escape(thread: Any) -> None:
    """Note a real thread that the owner of a pool started, for the audit to point at."""
    for world in owned_by(_thread.get_ident()):
        world.escaped.append(getattr(thread, "name", "a thread"))


def _tell(hook: Callable[[Any], None], thread: Any) -> None:
    """What a thread raised goes to the hook, but not that its world has ended."""
    if not isinstance(sys.exc_info()[1], WorldEnded):
        hook(thread)


def set_sentinel() -> Any:
    """``threading._set_sentinel``: the lock that is released when the calling thread has ended."""
    strand: Strand | None = current()
    if strand is None:
        assert _sentinel is not None
        return _sentinel()
    strand.sentinel = HybridLock()
    return strand.sentinel
