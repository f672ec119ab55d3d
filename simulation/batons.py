"""Ordinary functions on virtual time: threads that hand one baton to each other.

Each attempt of real code runs in a thread of its own, but only one thread runs at any moment: the
clock's, or that of the one attempt which has the baton. An attempt gives the baton back when it
sleeps on ``current_attempt().sleep``, waits for its pool, or ends. So the order is the clock's, and
the same at each run.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock
from collections.abc import Callable

__all__ = ["Baton", "WorldEnded"]


class WorldEnded(BaseException):  # like SystemExit: it ends a thread, and is no error
    """Raised in an attempt that would never be woken: its simulation is over."""


class Baton:
    """One attempt's thread.

    Args:
        function: what it runs.
        name: the thread's name.
    """

    def __init__(self, function: Callable[[], None], name: str) -> None:
        self._function = function
        self._mine = allocate_lock()
        self._mine.acquire()
        self._clocks = allocate_lock()
        self._clocks.acquire()
        self._over = False
        self.ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._mine.acquire()
        try:
            if not self._over:
                self._function()
        except WorldEnded:
            pass
        finally:
            self.ended = True
            self._clocks.release()

    def resume(self) -> bool:
        """Let the attempt run until it gives the baton back; called by the clock's thread.

        Returns:
            Whether it has ended.
        """
        self._mine.release()
        self._clocks.acquire()
        return self.ended

    def pause(self) -> None:
        """Give the baton back and wait for it; called by the attempt's thread.

        Raises:
            WorldEnded: the simulation is over.
        """
        self._clocks.release()
        self._mine.acquire()
        if self._over:
            raise WorldEnded

    def end(self) -> None:
        """End an attempt that is paused; called by the clock's thread."""
        if not self.ended:
            self._over = True
            self.resume()
        self._thread.join()
