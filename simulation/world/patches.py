"""What is patched while a simulated pool is open, and how it is put back.

The attributes of the standard library's modules; and in everybody else's modules the names that
stand for the originals (``from time import sleep``), also as attributes of classes and as defaults
of functions, and locks made beforehand. See docs/decisions/0007.
"""

from __future__ import annotations

import concurrent.futures.thread as _futures
import datetime
import queue
import sched
import sys
import threading
import time
import types
from _thread import LockType, allocate_lock, get_ident
from _thread import RLock as _RealRLock
from collections.abc import Callable, Iterator
from typing import Any, Final

from simulation.world.locks import HybridLock, HybridRLock, new_lock, new_rlock
from simulation.world.strands import current, owned_by
from simulation.world.threads import set_sentinel, start_new_thread
from simulation.world.times import DATES, TIMES

__all__ = ["close_world", "is_patched", "open_world", "patched_attributes"]

_OURS: Final = ("concurrency", "runtime", "simulation", "telemetry")
_guard: Final = allocate_lock()
_open = 0
_undo: list[Callable[[], None]] = []
_seen: set[str] = set()
#: Installed modules in which nothing was found, with their identity and size then: a pool opens
#: in a fraction of the time when they are not searched again.
_clean: dict[str, tuple[int, int]] = {}

_RealSimpleQueue: Final[Any] = queue.SimpleQueue
_PySimpleQueue: Any = queue._PySimpleQueue  # type: ignore[attr-defined]


class _EitherQueue(type):
    def __call__(cls, *args: Any) -> Any:
        if current() is not None or owned_by(get_ident()):
            return super().__call__(*args)
        return _RealSimpleQueue(*args)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealSimpleQueue | _PySimpleQueue)


class SimpleQueue(_PySimpleQueue, metaclass=_EitherQueue):  # type: ignore[misc]
    """``queue.SimpleQueue``: the one of Python, which is built of locks, for strands."""


def patched_attributes() -> Iterator[tuple[Any, str, Any]]:
    """Each patched attribute of the standard library: where, its name, what takes its place."""
    for name, new in TIMES.items():
        yield time, name, new
    for name, new in DATES.items():
        yield datetime, name, new
    yield threading, "Lock", new_lock
    yield threading, "_allocate_lock", new_lock
    yield threading, "RLock", new_rlock
    yield threading, "_time", TIMES["monotonic"]
    yield threading, "_start_new_thread", start_new_thread
    yield threading, "_set_sentinel", set_sentinel
    yield queue, "time", TIMES["monotonic"]
    yield queue, "SimpleQueue", SimpleQueue
    yield sched, "_time", TIMES["monotonic"]
    # held while a new worker starts, so across a pause
    yield (
        _futures,
        "_global_shutdown_lock",
        HybridLock(_futures._global_shutdown_lock),
    )


def is_patched() -> bool:
    """Whether anything is patched now."""
    return _open > 0


def open_world() -> None:
    """Patch, unless it is done."""
    global _open
    with _guard:
        _open += 1
        if _open > 1:
            return
        swap: dict[int, Any] = {}
        keep: list[Any] = []  # so that no identity is used twice
        for module, name, new in patched_attributes():
            if hasattr(module, name):
                old = getattr(module, name)
                keep.append(old)
                swap[id(old)] = new
                _set(module, name, old, new)
        _scan_defaults(sched.scheduler.__init__, swap)
        _seen.update(sys.modules)
        _scan(list(sys.modules), swap, keep, wrap=True)


def close_world() -> None:
    """Put everything back, once the last world is closed."""
    global _open
    with _guard:
        _open -= 1
        if _open:
            return
        back: dict[int, Any] = {}
        keep = []
        for module, name, new in _originals:
            keep.append(getattr(module, name))
            back[id(keep[-1])] = new
        while _undo:
            _undo.pop()()
        fresh = [name for name in sys.modules if name not in _seen]
        _scan(fresh, back, keep, wrap=False)  # modules that were imported meanwhile
        _undo.clear()
        _seen.clear()


_originals: Final = [
    (module, name, getattr(module, name))
    for module, name, _ in patched_attributes()
    if hasattr(module, name)
]


def _set(holder: Any, name: str, old: Any, new: Any) -> None:
    setattr(holder, name, new)
    _undo.append(lambda: setattr(holder, name, old))


def _scan(names: list[str], swap: dict[int, Any], keep: list[Any], *, wrap: bool) -> None:
    """Replace the names under which modules keep what is patched."""
    for module_name in names:
        root = module_name.partition(".")[0]
        if root in sys.stdlib_module_names and root != "__main__":
            continue
        if root in _OURS:
            continue
        module = sys.modules.get(module_name)
        if not isinstance(module, types.ModuleType):
            continue
        size = id(module), len(vars(module))
        if wrap and _clean.get(module_name) == size:
            continue
        done = len(_undo)
        for name, value in list(vars(module).items()):
            new = swap.get(id(value))
            if new is not None:
                _set(module, name, value, new)
            elif isinstance(value, type):
                if value.__module__ == module_name:
                    _scan_attributes(value, swap, keep, wrap=wrap)
            elif isinstance(value, types.FunctionType):
                if value.__module__ == module_name:
                    _scan_defaults(value, swap)
            elif wrap:
                _wrap(module, name, value, keep)
                if type(value).__module__ == module_name and hasattr(value, "__dict__"):
                    for key, inner in list(vars(value).items()):
                        _wrap(value, key, inner, keep)
        if (
            wrap
            and len(_undo) == done
            and "site-packages" in (getattr(module, "__file__", None) or "")
        ):
            _clean[module_name] = size


def _wrap(holder: Any, name: str, value: Any, keep: list[Any]) -> None:
    """Let strands wait virtually for a lock that was made beforehand."""
    if type(value) is LockType:
        _set(holder, name, value, HybridLock(value))
    elif type(value) is _RealRLock and value.acquire(False):
        value.release()
        _set(holder, name, value, HybridRLock())
    else:
        return
    keep.append(value)


def _scan_attributes(kind: type, swap: dict[int, Any], keep: list[Any], *, wrap: bool) -> None:
    for name, value in list(vars(kind).items()):
        inner = value.__func__ if isinstance(value, staticmethod) else value
        new = swap.get(id(inner))
        try:
            if new is not None:
                setattr(kind, name, staticmethod(new) if inner is not value else new)
                _undo.append(_setter(kind, name, value))
            elif isinstance(inner, types.FunctionType):
                _scan_defaults(inner, swap)
            elif wrap:
                _wrap(kind, name, value, keep)
        except (AttributeError, TypeError):  # a class that cannot be changed
            continue


def _setter(holder: Any, name: str, old: Any) -> Callable[[], None]:
    return lambda: setattr(holder, name, old)


def _scan_defaults(function: Any, swap: dict[int, Any]) -> None:
    old = function.__defaults__
    if old and any(id(value) in swap for value in old):
        _set(function, "__defaults__", old, tuple(swap.get(id(value), value) for value in old))
    named = function.__kwdefaults__
    if named and any(id(value) in swap for value in named.values()):
        changed = {key: swap.get(id(value), value) for key, value in named.items()}
        _set(function, "__kwdefaults__", named, changed)
