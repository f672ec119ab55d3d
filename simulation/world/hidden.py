"""Hidden aliases: holders of ``time.sleep`` and the clocks that no search forward comes to.

``aliases`` looks from modules and arguments on, a few levels deep. Here it is the other way round.
CPython counts the references to each original; when those are taken off that are known (the
standard library's own modules, this project's), none must be left. Where some are, the garbage
collector knows who holds them (``gc.get_referrers``), however deep: objects with slots, sets, long
containers, whatever a library keeps. They are mended, and put back when the pool closes.

What is left even then lies where nobody can write: a local variable of a function that runs, a
frozen set, memory of C code. Only then is each call by a task looked at (``sys.setprofile``), and
one of an original ends the run with a ``RealTimeError``. So nothing of this costs anything where
nothing is hidden: one look at seven counts when a pool opens.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import sys
import types
from _thread import get_ident
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from simulation.world.aliases import putting_back
from simulation.world.carriers import Carrier, carried
from simulation.world.errors import RealTimeError

__all__ = ["Hidden", "is_own_code", "watching"]

_OURS: Final = ("concurrency", "runtime", "simulation", "telemetry")
_HERE: Final = os.path.dirname(os.path.dirname(__file__))
_STDLIB: Final = os.path.dirname(os.__file__)

#: Of code whose frames may go on later: generators and coroutines.
_SUSPENDABLE: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
#: What cannot be changed, so that another one takes its place in what holds it.
_FIXED: Final = (tuple, staticmethod, classmethod)

Undo = list[Callable[[], None]]


class Hidden:
    """Finds who holds some functions, of all that there is.

    Args:
        originals: the functions, each with its name and what takes its place.
        own: what holds them on behalf of this project, besides its modules.
    """

    def __init__(self, originals: list[tuple[str, Any, Any]], own: list[Any]) -> None:
        self._entries = originals
        self._own = [*own, *originals]
        #: Each count after the last full search.
        self._counts: list[int] = []

    def mend(self, undo: Undo) -> int:
        """Mend what is hidden, after a search forward.

        Args:
            undo: what that search has changed; each change's undoing is added here.

        Returns:
            How many references are out of reach.
        """
        if self._count(undo) != self._counts:
            left = self._search(undo)
            # a count that is not accounted for in full may come about in many ways
            self._counts = [] if left else self._count(undo)
            return left
        return 0

    def _count(self, undo: Undo) -> list[int]:
        """How many hold each original, but for what undoes changes."""
        counts = [sys.getrefcount(entry[1]) for entry in self._entries]
        places = {id(entry[1]): place for place, entry in enumerate(self._entries)}
        for holder in _kept_by(undo):
            for part in gc.get_referents(holder):
                if id(part) in places:
                    counts[places[id(part)]] -= 1
        return counts

    def _search(self, undo: Undo) -> int:
        own = {id(holder) for holder in [*self._own, *_kept_by(undo)]}
        olds = tuple(entry[1] for entry in self._entries)
        holders = [h for h in gc.get_referrers(*olds) if h is not olds]
        del olds  # it would be counted
        over = _over([h for h in holders if type(h) is types.FrameType])
        holders = [h for h in holders if type(h) is not types.FrameType]
        real = own | _meant_to_be_real([h for h in holders if id(h) not in own])
        known = [h for h in holders if id(h) in real]
        hidden = [h for h in holders if id(h) not in real]
        del holders
        # a key is there to be looked up; only what is a value, an item, an attribute is called
        keys = [(h, e) for h in hidden if type(h) is dict for e in self._entries if e[1] in h]
        left = 0
        while hidden:  # no list of ours may hold what is looked for
            holder = hidden.pop()
            for entry in self._entries:
                if any(part is entry[1] for part in gc.get_referents(holder)):
                    with suppress(Exception):  # what refuses to be changed is out of reach
                        _replace(holder, entry[1], entry[2], undo)
        for entry in self._entries:
            count = sys.getrefcount(entry[1]) - 1
            now_kept = [h for h in _kept_by(undo) if id(h) not in own]  # of what was just mended
            for holder in [*known, *now_kept, *over]:
                count -= sum(part is entry[1] for part in gc.get_referents(holder))
            left += max(0, count - sum(of is entry for _, of in keys))
        return left


def _over(frames: list[FrameType]) -> list[FrameType]:
    """Those of calls that are over, as a traceback keeps them: their variables are never called."""
    live: set[int] = set()
    for frame in sys._current_frames().values():
        at: FrameType | None = frame
        while at is not None:
            live.add(id(at))
            at = at.f_back
    return [f for f in frames if id(f) not in live and not f.f_code.co_flags & _SUSPENDABLE]


def _kept_by(undo: Undo) -> Iterator[Any]:
    """The cells that undo changes, and the old tuples in them."""
    seen: set[int] = set()
    left: list[Any] = [cell for function in undo for cell in function.__closure__ or ()]
    while left:
        holder = left.pop()
        if id(holder) not in seen:
            seen.add(id(holder))
            yield holder
            left += [part for part in gc.get_referents(holder) if type(part) in _FIXED]


def _owners_of(held: list[Any]) -> dict[int, list[Any]]:
    """Who holds each of some things, by its identity."""
    owners: dict[int, list[Any]] = {id(one): [] for one in held}
    if held:
        for owner in gc.get_referrers(*held):
            if owner is not held and type(owner) is not types.FrameType:
                for part in gc.get_referents(owner):
                    if id(part) in owners:
                        owners[id(part)].append(owner)
    return owners


def _meant_to_be_real(holders: list[Any]) -> set[int]:
    """Those that belong to a module of the standard library, or to one of ours."""
    inner = [h for h in holders if type(h) is tuple or type(h) is types.CellType]
    owners = _owners_of(inner)
    closures = _owners_of(
        [
            owner
            for h in inner
            if type(h) is types.CellType
            for owner in owners[id(h)]
            if type(owner) is tuple
        ]
    )
    real = set()
    for holder in holders:
        functions = owners.get(id(holder), [])
        if type(holder) is types.CellType:
            functions = [f for closure in functions for f in closures.get(id(closure), [])]
        ours = any(type(f) is types.FunctionType and _is_closed(f.__module__) for f in functions)
        if ours or (type(holder) is dict and _is_closed_module(holder)):
            real.add(id(holder))
    return real


def _is_closed_module(names: dict[Any, Any]) -> bool:
    name = names.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module is not None and vars(module) is names and _is_closed(module.__name__)


def _is_closed(module: str | None) -> bool:
    root = (module or "").partition(".")[0]
    return root in _OURS or (root in sys.stdlib_module_names and root != "__main__")


def _replace(holder: Any, old: Any, new: Any, undo: Undo) -> None:
    """Put one thing in the place of another wherever a holder has it, if that can be done."""
    kind = type(holder)
    if kind is dict and (owner := _class_of(holder)) is not None:
        _set_attributes(owner, dict(holder), old, new, undo)
    elif kind is dict:
        for key in [key for key, value in holder.items() if value is old]:
            _set_item(holder, key, old, new, undo)
    elif kind is list:
        for place in [place for place, value in enumerate(holder) if value is old]:
            _set_item(holder, place, old, new, undo)
    elif kind is set:
        holder.discard(old)
        holder.add(new)
        undo.append(_exchange(holder, new, old))
    elif kind in _FIXED:
        parts = (
            tuple([new if part is old else part for part in holder]) if kind is tuple else kind(new)
        )
        owners = gc.get_referrers(holder)
        while owners:
            owner = owners.pop()
            if type(owner) is not types.FrameType:
                _replace(owner, holder, parts, undo)
    elif kind is types.CellType:
        _set(holder, "cell_contents", old, new, undo)
    elif kind is types.FunctionType:
        if holder.__defaults__ is old:
            _set(holder, "__defaults__", old, new, undo)
    elif kind is functools.partial:
        _set_partial(holder, old, new, undo)
    elif isinstance(holder, type):
        _set_attributes(holder, dict(vars(holder)), old, new, undo)
    else:
        _set_attributes(holder, _attributes(holder), old, new, undo)


def _set_partial(holder: Any, old: Any, new: Any, undo: Undo) -> None:
    function, args, kwargs, own = holder.__reduce__()[2]
    holder.__setstate__(
        (new if function is old else function, new if args is old else args, kwargs, own)
    )
    undo.append(lambda: holder.__setstate__((function, args, kwargs, own)))


def _attributes(holder: Any) -> dict[str, Any]:
    """What an object has in its slots and otherwise, without calling any code of its own."""
    found: dict[str, Any] = {}
    for kind in type(holder).__mro__:
        for name, slot in list(vars(kind).items()):
            if type(slot) is types.MemberDescriptorType:
                try:
                    found[name] = slot.__get__(holder)
                except AttributeError:  # not set
                    continue
    with suppress(AttributeError):
        found.update(object.__getattribute__(holder, "__dict__"))
    return found


def _set_attributes(
    holder: Any, attributes: dict[str, Any], old: Any, new: Any, undo: Undo
) -> None:
    for name, value in attributes.items():
        if value is old:
            try:
                if isinstance(holder, type):
                    # a function of C is not bound to instances, nor is its stand-in to be
                    bare = type(old) is not types.BuiltinFunctionType
                    type.__setattr__(holder, name, new if bare else staticmethod(new))
                    undo.append(_setter(type, holder, name, old))
                else:
                    object.__setattr__(holder, name, new)
                    undo.append(_setter(object, holder, name, old))
            except (AttributeError, TypeError):  # it cannot be changed
                continue


def _class_of(names: dict[Any, Any]) -> type | None:
    """The class whose attributes a dictionary holds: they may not be written there."""
    if "__module__" not in names or "__doc__" not in names:
        return None
    return next((owner for owner in gc.get_referrers(names) if isinstance(owner, type)), None)


def _exchange(holder: set[Any], one: Any, other: Any) -> Callable[[], None]:
    def exchange() -> None:
        if one in holder:
            holder.discard(one)
            holder.add(other)

    return exchange


def _setter(base: Any, holder: Any, name: str, old: Any) -> Callable[[], None]:
    return lambda: base.__setattr__(holder, name, old)


def _set(holder: Any, name: str, old: Any, new: Any, undo: Undo) -> None:
    setattr(holder, name, new)
    undo.append(lambda: setattr(holder, name, old))


def _set_item(holder: Any, key: Any, old: Any, new: Any, undo: Undo) -> None:
    holder[key] = new
    undo.append(putting_back(holder, key, old, new))


# ---------------------------------------------------------------- what is out of reach


def is_own_code(file: str) -> bool:
    """Whether a file is this project's or the standard library's, which call real clocks."""
    return file.startswith((_HERE, _STDLIB)) and "site-packages" not in file


def watching(originals: dict[int, str] | None) -> None:
    """Look at the calls of all strands that begin from now on, or of none.

    Args:
        originals: what they must not call, by identity: their names. ``None`` for none.
    """
    if originals is None:
        Carrier.watch = None
        if getattr(sys.getprofile(), "__name__", "") == _LOOK:
            sys.setprofile(None)
        return
    names = originals

    def look_at_calls(frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call" or id(arg) not in names:
            return
        world = carried.get(get_ident())
        strand = None if world is None else world.current
        if world is None or strand is None or is_own_code(frame.f_code.co_filename):
            return
        code, what = frame.f_code, names[id(arg)]
        if world.failure is None:
            world.failure = RealTimeError(
                f"{strand.told} calls the real {what}, at {code.co_filename}:{frame.f_lineno} in "
                f"{code.co_name}: it was captured before the pool was opened, where no search "
                f"comes to (a local variable, C code). Call it by its module's name, {what}(...), "
                f"or capture it after the pool is open"
            )

    def watch() -> None:
        if sys.getprofile() is None:  # a profiler of somebody else's stays
            sys.setprofile(look_at_calls)

    Carrier.watch = watch


_LOOK: Final = "look_at_calls"
