"""How far long work is, and how long it will still take: on a terminal, and never in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, Self

__all__ = ["Progress", "time_left"]

#: Between two redrawings; more often nobody can read.
_REDRAW_SECONDS: Final = 0.1


def time_left(seconds: float) -> str:
    """A duration as people say it.

    Args:
        seconds: how long.

    Example:
        >>> time_left(4.2), time_left(75), time_left(7300)
        ('5 s', '1 min 15 s', '2 h 1 min')
    """
    whole = int(seconds) + (seconds > int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


class Progress:
    """Shows the runs done and an estimate of the time left, on standard error.

    Args:
        what: what is counted.
        clock: seconds that go on, for tests.

    Attributes:
        shown: what is on the terminal now.
    """

    def __init__(self, what: str = "runs", clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._began = clock()
        self._drawn = float("-inf")
        self._on = sys.stderr.isatty()
        self.shown = ""

    def __call__(self, done: int, wanted: int) -> None:
        """Show how far it is.

        Args:
            done: runs so far.
            wanted: runs in all.
        """
        now = self._clock()
        if not self._on or wanted < 2 or now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        left = (now - self._began) / done * (wanted - done) if done else 0.0
        about = f", about {time_left(left)} left" if done < wanted else ""
        self._draw(f"{done:,} of {wanted:,} {self._what}{about}")

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
        self.shown = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.shown:
            self._draw("")
