"""Captured aliases: where code keeps an original under another name, and what takes its place.

``from time import sleep`` makes a name in a module; a default argument, a closure, a decorator, a
``partial``, a table of functions or an attribute of an object keep one just as well. What modules
hold is looked at when a pool opens; what a task is given (its function and arguments), and the
target of a thread that it starts, when it begins. Each change is noted with its undoing.

Containers are followed a few levels deep and only where they are short: a search must end.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from _thread import LockType
from _thread import RLock as _RealRLock
from collections.abc import Callable
from typing import Any, Final

from simulation.world.locks import HybridLock, HybridRLock
from simulation.world.times import present_of

__all__ = ["Aliases", "adopt", "adopting", "putting_back"]

_DEPTH: Final = 5
_LONGEST: Final = 200
_MOST: Final = 1_000
_PLAIN: Final = frozenset({int, str, float, bool, bytes, complex, type(None), types.ModuleType})
#: Nothing of these is looked into: the standard library's own, and this project's.
_CLOSED: Final = (sys.stdlib_module_names - {"__main__"}) | {
    "concurrency",
    "runtime",
    "simulation",
    "telemetry",
}


class Aliases:
    """Finds what stands for originals, and puts stand-ins there.

    Args:
        swap: the stand-in of each original, by the original's identity.
        undo: each change's undoing is added here.
        wrap: whether locks that were made beforehand get a stand-in, too.
    """

    def __init__(self, swap: dict[int, Any], undo: list[Callable[[], None]], *, wrap: bool) -> None:
        self._swap = swap
        self._undo = undo
        self._wrap = wrap
        self._keep: list[Any] = []  # locks that have a stand-in: their identities stay theirs
        self._seen: dict[int, Any] = {}  # in this search
        self._left = 0

    def stand_in(self, value: Any) -> Any:
        """What takes the place of a value, the value itself where nothing does."""
        found = self._swap.get(id(value))
        if found is not None:
            return found
        kind = type(value)
        if kind is types.BuiltinFunctionType:
            owner = value.__self__
            there = self._swap.get(id(owner)) if isinstance(owner, type) else None
            return value if there is None else present_of(there, value)
        if self._wrap:
            if kind is LockType:
                return self._kept(value, HybridLock(value))
            if kind is _RealRLock and value.acquire(False):
                value.release()
                return self._kept(value, HybridRLock())
        return value

    def _kept(self, value: Any, new: Any) -> Any:
        """One lock has one stand-in, wherever it is found."""
        self._keep.append(value)
        self._swap[id(value)] = new
        return new

    def mended(self, value: Any) -> Any:
        """Mend what a value holds.

        Args:
            value: anything.

        Returns:
            The value, or what is to take its place.
        """
        self._left = _MOST
        try:
            return self._look(value, _DEPTH)
        finally:
            self._seen.clear()

    def function(self, function: Any) -> None:
        """Mend a function of the standard library, which is not looked into otherwise."""
        self._left = _MOST
        self._function(function, 1)

    def _look(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        new = self.stand_in(value)
        if new is not value or depth == 0 or self._left == 0 or id(value) in self._seen:
            return new
        self._left -= 1
        self._seen[id(value)] = value
        depth -= 1
        if kind is types.FunctionType:
            if (value.__module__ or "").partition(".")[0] not in _CLOSED:
                self._function(value, depth)
        elif kind is tuple:
            if len(value) <= _LONGEST:
                parts = tuple([self._look(part, depth) for part in value])
                if any(a is not b for a, b in zip(parts, value, strict=True)):
                    return parts
        elif kind is dict or kind is list:
            self._items(value, depth)
        elif kind is functools.partial:
            self._partial(value, depth)
        elif kind is types.MethodType:
            self._look(value.__func__, depth)
            self._look(value.__self__, depth)
        elif kind is threading.Condition:
            self._condition(value)
        elif kind is types.SimpleNamespace or _is_open(kind):
            try:
                inner = value.__dict__
            except Exception:  # a proxy of something that is not there, or no attributes at all
                return value
            if type(inner) is dict:
                self._items(inner, depth)
        return value

    def _condition(self, value: Any) -> None:
        """A condition keeps its lock, and the lock's methods."""
        old = value._lock
        new = self.stand_in(old) if not value._waiters else old
        if new is old:
            return
        before = dict(vars(value))
        value.__init__(new)
        self._undo.append(lambda: vars(value).update(before))

    def _items(self, holder: Any, depth: int) -> None:
        if len(holder) > _LONGEST:
            return
        pairs = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        for key, old in pairs:
            new = self._look(old, depth)
            if new is not old:
                holder[key] = new
                self._undo.append(putting_back(holder, key, old, new))

    def _partial(self, value: Any, depth: int) -> None:
        function, args, kwargs, own = value.__reduce__()[2]
        new = self._look(function, depth)
        new_args = self._look(args, depth)
        self._items(kwargs, depth)
        if new is not function or new_args is not args:
            value.__setstate__((new, new_args, kwargs, own))
            self._undo.append(lambda: value.__setstate__((function, args, kwargs, own)))

    def _function(self, function: Any, depth: int) -> None:
        """Mend a function's defaults and what it closes over."""
        old = function.__defaults__
        if old:
            self._set(function, "__defaults__", old, self._look(old, depth))
        named = function.__kwdefaults__
        if named:
            self._items(named, depth)
        for cell in function.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            new = self._look(held, depth)
            if new is not held:
                self._set(cell, "cell_contents", held, new)

    def _set(self, holder: Any, name: str, old: Any, new: Any) -> None:
        if new is not old:
            setattr(holder, name, new)
            self._undo.append(lambda: setattr(holder, name, old))


def _is_open(kind: type) -> bool:
    """Whether instances of a class are somebody's own, to be looked into; classes are not."""
    if issubclass(kind, type):
        return False
    module = kind.__module__
    return isinstance(module, str) and module.partition(".")[0] not in _CLOSED


def putting_back(holder: Any, key: Any, old: Any, new: Any) -> Callable[[], None]:
    """What undoes a change of an item, where nobody has changed it since."""

    def put_back() -> None:
        try:
            if holder[key] is new:
                holder[key] = old
        except (KeyError, IndexError):  # its owner has taken it out
            pass

    return put_back


#: The aliases of the world that is open; ``None`` where none is.
_now: Aliases | None = None


def adopting(aliases: Aliases | None) -> None:
    """Say whose stand-ins tasks get from now on."""
    global _now
    _now = aliases


def adopt(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> tuple[Any, tuple[Any, ...]]:
    """Mend what a task is about to run.

    Args:
        function: its function.
        args: what it is called with.
        kwargs: likewise; mended in place.

    Returns:
        The function and the arguments to call it with.
    """
    aliases = _now
    if aliases is None:
        return function, args
    if type(function) is not types.FunctionType:
        function = aliases.mended(function)
    elif function.__closure__ or function.__defaults__ or function.__kwdefaults__:
        aliases.mended(function)
    if args:
        args = aliases.mended(args)
    if kwargs:
        aliases.mended(kwargs)
    return function, args
