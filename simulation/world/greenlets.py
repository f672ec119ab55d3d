"""The faster carriers: greenlets, all in the thread of the pool's owner."""

from __future__ import annotations

import threading
from _thread import get_ident
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import greenlet

from runtime.attempt import here
from simulation.world.carriers import Carrier, carried
from simulation.world.strands import Strand, World

__all__ = ["GreenletCarrier"]

_active: dict[int, Any] = threading._active  # type: ignore[attr-defined]


class GreenletCarrier(Carrier):
    """A greenlet: the baton is a switch of stacks."""

    def __init__(self, world: World, strand: Strand | None) -> None:
        super().__init__(world, strand)
        self._greenlet: Any = None
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
        """Switch stacks; no thread is left that could mind a watchdog."""
        self.switch_to(other)

    def stop(self, owner: Carrier) -> None:
        """End the greenlet."""
        self.strand = None
        self._greenlet.parent = greenlet.getcurrent()
        self._greenlet.switch()

    def frame(self) -> FrameType | None:
        """Where the greenlet stands."""
        frame: FrameType | None = self._greenlet.gr_frame
        return frame
