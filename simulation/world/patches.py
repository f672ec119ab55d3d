"""What is patched while a simulated pool is open, and how it is put back.

The attributes of the standard library's modules; and in everybody else's modules what stands for
the originals (``from time import sleep``), also in classes, functions and what else they hold
(``aliases``), and locks made beforehand. See docs/decisions/0010.
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
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Iterator
from typing import Any, Final

from simulation.world.aliases import Aliases, adopting
from simulation.world.hidden import Hidden, watching
from simulation.world.locks import HybridLock, Lock, new_lock, new_rlock
from simulation.world.strands import current, owned_by
from simulation.world.threads import set_sentinel, start_joinable_thread, start_new_thread
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

_RealLock: Final[Any] = threading.Lock
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
    yield threading, "Lock", Lock if isinstance(_RealLock, type) else new_lock
    yield threading, "_allocate_lock", new_lock
    yield threading, "RLock", new_rlock
    yield threading, "_time", TIMES["monotonic"]
    yield threading, "_start_new_thread", start_new_thread
    yield threading, "_start_joinable_thread", start_joinable_thread  # since 3.13
    yield threading, "_set_sentinel", set_sentinel  # until 3.12
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
        aliases = Aliases(swap, _undo, wrap=True)
        for module, name, new in patched_attributes():
            if hasattr(module, name):
                old = getattr(module, name)
                keep.append(old)
                swap[id(old)] = new
                _set(module, name, old, new)
        aliases.function(sched.scheduler.__init__)
        _seen.update(sys.modules)
        _scan(list(sys.modules), aliases, wrap=True)
        del old, new, keep[:]  # they live in _originals
        if _hidden.mend(_undo):
            watching(_NAMES)
        adopting(aliases)


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
        adopting(None)
        watching(None)
        while _undo:
            _undo.pop()()
        fresh = [name for name in sys.modules if name not in _seen]
        _scan(
            fresh, Aliases(back, _undo, wrap=False), wrap=False
        )  # modules that were imported meanwhile
        _undo.clear()
        _seen.clear()


_originals: Final = [
    (module, name, getattr(module, name))
    for module, name, _ in patched_attributes()
    if hasattr(module, name)
]

_CLOCKS: Final = [
    (name, original, TIMES[name])
    for module, name, original in _originals
    if module is time
    and (name == "sleep" or name.startswith(("time", "monotonic", "perf_counter")))
]
_NAMES: Final = {id(original): f"time.{name}" for name, original, _ in _CLOCKS}
_hidden: Final = Hidden(
    _CLOCKS,
    [*_originals, *(cell for new in TIMES.values() for cell in new.__closure__ or ())],
)


def _set(holder: Any, name: str, old: Any, new: Any) -> None:
    setattr(holder, name, new)
    _undo.append(lambda: setattr(holder, name, old))


def _scan(names: list[str], aliases: Aliases, *, wrap: bool) -> None:
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
        installed = "site-packages" in (getattr(module, "__file__", None) or "")
        for name, value in list(vars(module).items()):
            new = aliases.stand_in(value)
            if new is not value:
                _set(module, name, value, new)
            elif issubclass(type(value), type):  # isinstance would ask a proxy what it stands for
                if value.__module__ == module_name:
                    _scan_attributes(value, aliases)
            elif type(value) is types.FunctionType:
                if value.__module__ == module_name:
                    aliases.mended(value)
            elif name.startswith("__"):
                continue
            elif not installed or type(value).__module__ == module_name:
                new = aliases.mended(value)
                if new is not value:
                    _set(module, name, value, new)
        if wrap and len(_undo) == done and installed:
            _clean[module_name] = size


def _scan_attributes(kind: type, aliases: Aliases) -> None:
    for name, value in list(vars(kind).items()):
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if name.startswith("__") and not isinstance(inner, types.FunctionType):
            continue
        new = aliases.mended(inner)
        if new is inner:
            continue
        try:
            # a function of C is not bound to instances, and its stand-in must not be either
            bare = inner is value and type(inner) is not types.BuiltinFunctionType
            setattr(kind, name, new if bare else staticmethod(new))
            _undo.append(_setter(kind, name, value))
        except Exception:  # a class that cannot be changed, whatever its metaclass says to it
            continue


def _setter(holder: Any, name: str, old: Any) -> Callable[[], None]:
    return lambda: setattr(holder, name, old)
