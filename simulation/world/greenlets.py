"""The faster carriers: greenlets, all in the thread of the pool's owner."""

from __future__ import annotations

import logging
import signal
import threading
from _thread import allocate_lock, get_ident
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import greenlet

from runtime.attempt import here
from simulation.world.carriers import Carrier, carried, start_real
from simulation.world.errors import WorldEnded
from simulation.world.strands import Strand, World

__all__ = ["GreenletCarrier"]

_log = logging.getLogger("twinclock")
_active: dict[int, Any] = threading._active  # type: ignore[attr-defined]


class Watchdog:
    """Looks from a thread of its own whether the one that runs all greenlets still moves.

    In the main thread it interrupts what blocks by a signal that nothing else listens to; in
    another thread it can only say so.

    Args:
        world: whose greenlets.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched = get_ident()
        self._stuck: tuple[Strand | None, int] | None = None
        self._end = allocate_lock()
        self._end.acquire()
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGURG, self._interrupt)
        self._thread = start_real(self._watch, f"{world.name}-watchdog")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        world = self._world
        if self._stuck == (world.current, world.switches):  # it may have come back since
            world.failure = world.blocked(self._watched)
            raise WorldEnded

    def _watch(self) -> None:
        world, told = self._world, -1
        carried[get_ident()] = world  # not one of the real world's threads
        seen = -1
        while not self._end.acquire(True, world.watchdog_seconds):
            strand, switches = world.current, world.switches
            if strand is None or switches != seen:
                seen = switches
            elif self._main:
                self._stuck = (strand, switches)
                signal.pthread_kill(self._watched, signal.SIGURG)
            elif told != switches:
                told = switches
                _log.error("%s", world.blocked(self._watched))
        del carried[get_ident()]

    def end(self) -> None:
        """End the thread, and give the signal back."""
        self._end.release()
        self._thread.join()
        if self._main:
            signal.signal(signal.SIGURG, self._before)


class GreenletCarrier(Carrier):
    """A greenlet: the baton is a switch of stacks."""

    def __init__(self, world: World, strand: Strand | None) -> None:
        super().__init__(world, strand)
        self._greenlet: Any = None
        self._watchdog: Watchdog | None = None
        if strand is not None:
            self._greenlet = greenlet.greenlet(self.work)

    @contextmanager
    def owning(self) -> Iterator[None]:
        """Make this thread the world's for a while; what it was stays as it was."""
        ident = get_ident()
        self._greenlet = greenlet.getcurrent()
        before, was_here = carried.get(ident), (here.host, here.running)
        thread = _active.get(ident)
        self.world.owner_thread = thread
        carried[ident] = self.world
        try:
            yield
        finally:
            here.host, here.running = was_here
            if thread is not None:
                _active[ident] = thread
            if before is None:
                del carried[ident]
            else:
                carried[ident] = before

    def _begin(self, strand: Strand) -> None:
        super()._begin(strand)
        if self.world.owner_thread is not None:
            _active[get_ident()] = self.world.owner_thread

    def switch_to(self, other: Carrier) -> None:
        """Switch stacks."""
        ident = get_ident()
        thread = _active.get(ident)
        other._greenlet.switch()  # type: ignore[attr-defined]
        strand = self.strand
        if strand is not None:
            here.host, here.running = strand.here
            if thread is not None:
                _active[ident] = thread

    def await_turn(self, other: Carrier) -> None:
        """Switch stacks, while a watchdog looks on."""
        if self._watchdog is None:
            self._watchdog = Watchdog(self.world)
        self.switch_to(other)

    def let_go(self) -> None:
        """End the watchdog."""
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None

    def stop(self, owner: Carrier) -> None:
        """End the greenlet."""
        self.strand = None
        self._greenlet.parent = greenlet.getcurrent()
        self._greenlet.switch()

    def frame(self) -> FrameType | None:
        """Where the greenlet stands."""
        frame: FrameType | None = self._greenlet.gr_frame
        return frame
