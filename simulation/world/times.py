"""Sleeping and clocks: virtual for strands, the originals for everybody else.

``time.time()`` begins at the pool's epoch; ``monotonic`` and ``perf_counter`` begin at 0.
"""

from __future__ import annotations

import datetime as _datetime
import time as _time
from _thread import get_ident
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from runtime.config import seconds_to_ns
from simulation.world.carriers import carried
from simulation.world.strands import current

__all__ = ["DATES", "TIMES", "present_of"]

_real_datetime = _datetime.datetime
_real_date = _datetime.date
_sleep: Final = _time.sleep
_localtime: Final = _time.localtime
_seconds: Final = _time.time


def sleep(seconds: float, /) -> None:
    """``time.sleep``."""
    world = carried.get(get_ident())
    strand = None if world is None else world.current
    if world is None or strand is None or not seconds >= 0:  # the original says what is wrong
        return _sleep(seconds)
    world.pause(strand, _told(float(seconds)), seconds_to_ns(seconds))
    return None


@lru_cache(maxsize=64)
def _told(seconds: float) -> str:
    """What a sleep waits for, as a message says it; most tasks sleep equally long."""
    return f"{seconds:g} s to pass"


def _clock_of(original: Callable[[], Any], epoch: bool, ns: bool) -> Callable[[], Any]:
    def read() -> Any:
        strand = current()
        if strand is None:
            return original()
        now = strand.world.clock.now + (strand.world.epoch_ns if epoch else 0)
        return now if ns else now / 1e9

    read.__name__ = read.__qualname__ = original.__name__
    read.__doc__ = original.__doc__
    return read


def _with_time(original: Callable[..., Any], position: int) -> Callable[..., Any]:
    """A function of ``time`` that takes the present where it is given no instant."""

    def call(*args: Any) -> Any:
        strand = current()
        if strand is not None and len(args) == position:
            at = (strand.world.clock.now + strand.world.epoch_ns) / 1e9
            args = (*args, at if position == 0 else _localtime(at))
        return original(*args)

    call.__name__ = call.__qualname__ = original.__name__
    call.__doc__ = original.__doc__
    call.__wrapped__ = original  # type: ignore[attr-defined]
    return call


def _present() -> float | None:
    strand = current()
    if strand is None:
        return None
    return (strand.world.clock.now + strand.world.epoch_ns) / 1e9


class _RealKind(type):
    """Makes the stand-in's instances and subclasses those of the real class."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class datetime(_real_datetime, metaclass=_RealKind):  # noqa: N801  # stands in for it
    """``datetime.datetime``; what it makes is real."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is datetime:
            return _real_datetime(*args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        at = _present()
        if at is None:
            return _real_datetime.now(tz) if cls is datetime else super().now(tz)
        return (_real_datetime if cls is datetime else cls).fromtimestamp(at, tz)

    @classmethod
    def utcnow(cls) -> Any:
        at = _present()
        if at is None:
            at = _seconds()
        return _real_datetime.fromtimestamp(at, _datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class date(_real_date, metaclass=_RealKind):  # noqa: N801  # stands in for it
    """``datetime.date``; what it makes is real."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is date:
            return _real_date(*args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        at = _present()
        return _real_date.today() if at is None else _real_date.fromtimestamp(at)


_CLOCKS: Final = {
    "time": True,
    "monotonic": False,
    "perf_counter": False,
}

#: What takes the place of each function of ``time``.
TIMES: Final[dict[str, Any]] = {"sleep": sleep}
for _name, _epoch in _CLOCKS.items():
    TIMES[_name] = _clock_of(getattr(_time, _name), _epoch, ns=False)
    TIMES[f"{_name}_ns"] = _clock_of(getattr(_time, f"{_name}_ns"), _epoch, ns=True)
for _name in ("localtime", "gmtime", "ctime"):
    TIMES[_name] = _with_time(getattr(_time, _name), 0)
for _name in ("strftime", "asctime"):
    TIMES[_name] = _with_time(getattr(_time, _name), 1 if _name == "strftime" else 0)

#: What takes the place of each class of ``datetime``.
DATES: Final[dict[str, Any]] = {"datetime": datetime, "date": date}


def present_of(stand_in: Any, method: Any) -> Any:
    """What takes the place of a method of a class, such as ``now = datetime.now``.

    Args:
        stand_in: what takes the place of the class.
        method: the method, bound to the class.

    Returns:
        The stand-in's own method, or the same where it has none.
    """
    name = method.__name__
    return getattr(stand_in, name) if name in vars(stand_in) else method
