"""Finds originals that tasks call although their stand-ins are in place: captured aliases.

The search of ``simulation.world.patches`` finds names, not everything that can hold a function. In
the audit's second process each call of a C function by a task is looked at; that is slow, and why
it is done there only.
"""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from simulation.world.strands import current

__all__ = ["Watcher"]

_CLOCKS: Final = ("time", "monotonic", "perf_counter")
_PRESENT: Final = frozenset({"now", "utcnow", "today"})
_OURS: Final = os.path.dirname(os.path.dirname(__file__))
_STDLIB: Final = os.path.dirname(os.__file__)


class Watcher:
    """Looks at every call of a C function, in this thread and those that begin while it is on.

    Attributes:
        found: what tasks called that is real, and where; each once, in order.
    """

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        names = ["sleep", *_CLOCKS, *(f"{name}_ns" for name in _CLOCKS)]
        self._originals = {id(getattr(time, name)): f"time.{name}" for name in names}

    def __enter__(self) -> None:
        threading.setprofile(self._look)
        sys.setprofile(self._look)

    def __exit__(self, *args: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _look(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call":
            return
        what = self._originals.get(id(arg))
        if what is None:
            if arg.__name__ not in _PRESENT:
                return
            kind = getattr(arg, "__self__", None)
            if not (isinstance(kind, type) and issubclass(kind, datetime.date.__mro__[-2])):
                return
            what = f"{kind.__name__}.{arg.__name__}"
        file = frame.f_code.co_filename
        if current() is None or (file.startswith((_OURS, _STDLIB)) and "site-packages" not in file):
            return
        self.found[
            f"{what}, the real one, at {file}:{frame.f_lineno} in {frame.f_code.co_name}"
        ] = None
