"""Carriers: what runs strands, one after the other: threads, or greenlets in one thread."""

from __future__ import annotations

import sys
import threading
from _thread import allocate_lock, get_ident
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, Final

from runtime.attempt import here
from simulation.world.cores import keep_on, present_core

if TYPE_CHECKING:
    from simulation.world.strands import Strand, World

__all__ = [
    "Carrier",
    "ThreadCarrier",
    "carried",
    "make_greenlet_carrier",
    "owners",
    "start_real",
]

#: The world for which a thread works now, by the thread's identity.
carried: Final[dict[int, World]] = {}

#: The worlds that a thread opened and has not closed, by the thread's identity.
owners: Final[dict[int, list[World]]] = {}

_Thread: Final = threading.Thread


class Carrier(ABC):
    """Runs strands; the owner of a world is one, too, with no strand.

    Args:
        world: for whom.
        strand: the first one, ``None`` for the owner.
    """

    #: Called where a strand begins, while its calls are to be looked at (``hidden``).
    watch: ClassVar[Callable[[], None] | None] = None

    def __init__(self, world: World, strand: Strand | None) -> None:
        self.world = world
        self.strand = strand

    @abstractmethod
    def switch_to(self, other: Carrier) -> None:
        """Let another one run, and wait for one's own turn."""

    @abstractmethod
    def await_turn(self, other: Carrier) -> None:
        """``switch_to`` for the owner, which minds the watchdog meanwhile."""

    @abstractmethod
    def stop(self, owner: Carrier) -> None:
        """End an idle carrier; called by the owner."""

    @abstractmethod
    def frame(self) -> FrameType | None:
        """Where it stands."""

    def let_go(self) -> None:  # noqa: B027  # most owners have nothing to let go of
        """Let go of what the owner needed; called at the end."""

    @contextmanager
    def owning(self) -> Iterator[None]:
        """Around the owner's switches."""
        yield

    def _begin(self, strand: Strand) -> None:
        here.host, here.running = strand.here
        if (watch := Carrier.watch) is not None:
            watch()

    def work(self) -> None:
        """Run one strand after the other, until there is none to run."""
        world = self.world
        while (strand := self.strand) is not None:
            self._begin(strand)
            strand.run()
            here.host = here.running = None
            if world.stuck is self:
                return
            due = world.next()
            if due is not None and due.carrier is None:
                self.strand = due
                due.carrier = self
                continue
            self.strand = None
            world.idle.append(self)
            self.switch_to(world.carrier_of(due))


class ThreadCarrier(Carrier):
    """A thread: the baton is a lock that is released to whoever is to run.

    All of a world's run on one core: on the one on which its owner runs when the first is made,
    and is found each time that it looks after them.
    """

    def __init__(self, world: World, strand: Strand | None) -> None:
        super().__init__(world, strand)
        self._lock = allocate_lock()
        self._lock.acquire()
        self._thread: threading.Thread | None = None
        self.ident = get_ident()
        if strand is not None:
            if not world.carriers:
                world.core = present_core()
            self._thread = start_real(self._work, strand.name)

    def _work(self) -> None:
        self.ident = ident = get_ident()
        carried[ident] = self.world
        keep_on(self.world.core)
        try:
            self._lock.acquire()
            self.work()
        finally:
            carried.pop(ident, None)

    def _begin(self, strand: Strand) -> None:
        super()._begin(strand)
        assert self._thread is not None
        self._thread.name = strand.name

    def switch_to(self, other: Carrier) -> None:
        """Release the other one's lock, and wait for one's own."""
        other._lock.release()  # type: ignore[attr-defined]  # carriers of a world are of one kind
        self._lock.acquire()

    def await_turn(self, other: Carrier) -> None:
        """Wait, and look from time to time whether anything has moved."""
        world, mine = self.world, self._lock
        other._lock.release()  # type: ignore[attr-defined]
        seen = -1
        while not mine.acquire(True, world.watchdog_seconds):
            if world.switches != seen:
                seen = world.switches
                self._gather()
                continue
            carrier = world.current.carrier if world.current is not None else None
            world.stuck = carrier
            if world.switches != seen:  # it came back at the last moment
                world.stuck = None
                continue
            ident = carrier.ident if isinstance(carrier, ThreadCarrier) else 0
            world.failure = world.blocked(ident)
            return

    def _gather(self) -> None:
        """Have the carriers where their owner is now: it has been woken where there was room."""
        world, core = self.world, present_core()
        if core == world.core:
            return
        world.core = core
        for carrier in list(world.carriers):
            thread = carrier._thread if isinstance(carrier, ThreadCarrier) else None
            if thread is not None and thread.native_id is not None:
                keep_on(core, thread.native_id)

    def stop(self, owner: Carrier) -> None:
        """End the thread."""
        self.strand = None
        self._lock.release()
        assert self._thread is not None
        self._thread.join()

    def frame(self) -> FrameType | None:
        """Where the thread stands."""
        return sys._current_frames().get(self.ident)


def start_real(function: Callable[[], None], name: str) -> threading.Thread:
    """Start a carrier's thread, whoever runs now: it is real itself, and so are its locks."""
    ident = get_ident()
    world, owned = carried.pop(ident, None), owners.pop(ident, None)
    try:
        thread = _Thread(target=function, name=name, daemon=True)
        thread.start()
    finally:
        if owned is not None:
            owners[ident] = owned
        if world is not None:
            carried[ident] = world
    return thread


def make_greenlet_carrier() -> type[Carrier]:
    """The carrier that needs the extra ``greenlet``.

    Returns:
        Its class.

    Raises:
        ImportError: the extra is not installed.
    """
    try:
        from simulation.world.greenlets import GreenletCarrier  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "carrier='greenlet' needs greenlet: pip install '.[greenlet]' in the checkout"
        ) from error
    return GreenletCarrier
