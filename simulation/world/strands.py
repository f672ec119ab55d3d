"""Strands of ordinary code, and the world that says which of them runs."""

from __future__ import annotations

import itertools
import os
import sys
from _thread import get_ident
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

import simpy

from runtime.engine import Engine
from runtime.tracebacks import said_to_users
from simulation.world.carriers import Carrier, ThreadCarrier, carried, owners
from simulation.world.errors import BlockedOutsideError, WorldEnded
from simulation.world.loop import StrandClock

__all__ = ["Strand", "World", "current", "owned_by", "where"]
__tracebackhide__ = said_to_users

_HERE: Final = os.path.dirname(__file__)
_STDLIB: Final = os.path.dirname(os.__file__)


def _nothing() -> None:
    """What a strand that has ended would run."""


class Holds(Protocol):
    """What a strand can wait for."""

    def told(self) -> str:
        """What it is and who has it, as a message says it."""


class Strand:
    """One controlled flow of ordinary code.

    Args:
        world: whose it is.
        function: what it runs.
        name: what its thread is called.
    """

    __slots__ = (
        "attempt", "carrier", "function", "got", "here", "name", "number", "over", "sentinel",
        "turn", "waits", "world",
    )  # fmt: skip

    def __init__(self, world: World, function: Callable[[], None], name: str) -> None:
        self.world = world
        self.function = function
        self.name = name
        self.number = next(world.numbers)
        self.carrier: Carrier | None = None
        self.turn = 0  # counts its pauses: who wakes it says which one is meant
        self.over = False
        self.got = False  # whether what it waited for was handed to it
        self.waits: Holds | str | None = None
        self.here: tuple[Any, Any] = (None, None)
        self.sentinel: Any = None
        self.attempt: tuple[Engine, int, int] | None = None  # that it is: engine, task, attempt

    @property
    def told(self) -> str:
        """What messages call it: the task's own name where it runs one."""
        if self.attempt is None:
            return self.name
        engine, task, attempt = self.attempt
        return engine.told(task, attempt)

    def run(self) -> None:
        """Run its function; called by its carrier."""
        try:
            if not self.over:
                self.function()
        except WorldEnded:
            pass
        finally:
            self.function = _nothing  # its carrier keeps the strand until it gets another one
            del self.world.strands[self.number]
            if self.sentinel is not None and self.sentinel.locked():
                self.sentinel.release()


class World:
    """The strands of one pool, and who of them runs.

    Args:
        clock: the pool's.
        make_carrier: makes what runs strands.
        name: what the carriers' names begin with.
        epoch_ns: what ``time.time_ns()`` is when the clock is at 0.
        watchdog_seconds: how long one strand may run in real time before it is taken to be
            blocked.

    Attributes:
        offer: asked by a strand at a lock, where a search may let others run before it; ``None``
            outside a search.
        current: the strand that runs, ``None`` while the clock or its owner does.
        strands: those that have not ended, by number.
    """

    def __init__(
        self,
        clock: StrandClock[Strand],
        make_carrier: type[Carrier] = ThreadCarrier,
        *,
        name: str = "pool",
        epoch_ns: int = 0,
        watchdog_seconds: float = 5.0,
    ) -> None:
        self.offer: Callable[[Strand], None] | None = None
        self.clock = clock
        self.name = name
        self.epoch_ns = epoch_ns
        self.watchdog_seconds = watchdog_seconds
        self.numbers = itertools.count(1)
        self.current: Strand | None = None
        self.strands: dict[int, Strand] = {}
        self.switches = 0
        self.closing = False
        self.failure: BaseException | None = None
        self.escaped: list[str] = []  # threads that its owner started: they are real
        self.stuck: Carrier | None = None  # it never came back, and the world went on without it
        self.owner_thread: Any = None  # what threading knows the owner by, where greenlets share it
        self.idle: list[Carrier] = []
        self.carriers: list[Carrier] = []
        self.core: int | None = None  # on which they are kept
        self._make = make_carrier
        self._owner = make_carrier(self, None)
        self._owner_ident = get_ident()
        owners.setdefault(self._owner_ident, []).append(self)

    # ------------------------------------------------------------ who runs

    def spawn(self, function: Callable[[], None], name: str, here: tuple[Any, Any]) -> Strand:
        """Make a strand; it begins when it is due (``clock.due``)."""
        strand = Strand(self, function, name)
        strand.here = here
        self.strands[strand.number] = strand
        return strand

    def next(self) -> Strand | None:
        """Let time pass until a strand is due; ``None`` where the owner is to go on."""
        self.current = None
        self.switches += 1
        if self.failure is not None or self.closing:
            return None
        try:
            self.current = strand = self.clock.next_due()
        except BaseException as error:  # the clock runs in whichever thread paused: tell the owner
            self.failure = error
            return None
        return strand

    def carrier_of(self, strand: Strand | None) -> Carrier:
        """Who runs a strand; the owner for none."""
        if strand is None:
            return self._owner
        carrier = strand.carrier
        if carrier is None:
            if self.idle:
                carrier = self.idle.pop()
                carrier.strand = strand
            else:
                carrier = self._make(self, strand)
                self.carriers.append(carrier)
            strand.carrier = carrier
        return carrier

    def park(self, strand: Strand, waits: Holds | str) -> None:
        """Let the calling strand pause until it is due again.

        Raises:
            WorldEnded: its world is over.
        """
        if strand.over or self.stuck is strand.carrier:
            raise WorldEnded
        strand.waits = waits
        due = self.next()
        if due is not strand:
            carrier = strand.carrier
            assert carrier is not None
            other = None if due is None else due.carrier
            carrier.switch_to(self.carrier_of(due) if other is None else other)
        strand.waits = None
        if strand.over:
            raise WorldEnded

    def wake(self, strand: Strand, turn: int) -> bool:
        """Make a paused strand due at this instant; ``False`` where it was woken before."""
        if strand.turn != turn:
            return False
        strand.turn += 1
        self.clock.at(0, self._due, strand)
        return True

    def _due(self, event: simpy.Event) -> None:
        strand: Any = event.value
        self.clock.due.append(strand)

    def _time_up(self, event: simpy.Event) -> None:
        carried: Any = event.value
        strand, turn = carried
        if strand.turn == turn:
            strand.turn += 1
            self.clock.due.append(strand)

    def pause(self, strand: Strand, waits: Holds | str, timeout_ns: int | None) -> bool:
        """Let the calling strand wait.

        Args:
            strand: the one that calls.
            waits: for what.
            timeout_ns: how long at most, ``None`` for ever.

        Returns:
            Whether it was given what it waits for (``got``) before the time was up.
        """
        strand.got = False
        if timeout_ns is not None:
            self.clock.time_up_in(timeout_ns, self._time_up, (strand, strand.turn))
        self.park(strand, waits)
        return strand.got

    def step_back(self, strand: Strand, after_ns: int = 0) -> None:
        """Let all else that is due by then run before the calling strand goes on."""
        self.clock.at(after_ns, self._due, strand)
        self.park(strand, "its turn")

    def nothing_left(self) -> bool:
        """Whether no task is left to run."""
        return not self.strands and not self.clock.live()

    def run(self, done: Callable[[], bool] | None, until_ns: int | None) -> bool:
        """Let time pass; called by the owner.

        Args:
            done: asked after each instant.
            until_ns: the last instant.

        Returns:
            Whether ``done`` came true.
        """
        clock, owner = self.clock, self._owner
        self._raise_failure()
        before = clock.aim(done, until_ns)
        try:
            due = self.next()
            if due is not None:
                with owner.owning():
                    owner.await_turn(self.carrier_of(due))
            self._raise_failure()
            return clock.came_true
        finally:
            clock.restore_aim(before)

    # ------------------------------------------------------------ trouble

    def _raise_failure(self) -> None:
        """Raise what the clock raised in another thread; once, unless its world is lost."""
        failure = self.failure
        if failure is not None:
            if self.stuck is None:
                self.failure = None
            raise failure

    def blocked(self, ident: int) -> BlockedOutsideError:
        """What to say of the strand that runs and does not come back."""
        strand = self.current
        who = "the clock" if strand is None else strand.told
        frame = sys._current_frames().get(ident)
        return BlockedOutsideError(
            f"{who} has not come back for {self.watchdog_seconds:g} s of real time: it blocks, or "
            f"computes, at {where(frame)}. {_mend(frame)}"
        )

    def stories(self) -> list[str]:
        """Each strand that waits for another: for what, and at which line."""
        return [
            f"{strand.told} waits for "
            f"{strand.waits if isinstance(strand.waits, str) else strand.waits.told()} at "
            f"{where(strand.carrier.frame())}"
            for strand in self.strands.values()
            if strand.waits is not None and strand.carrier is not None
        ]

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """End every strand and every carrier; may be called again."""
        if self.closing:
            return
        self.closing = True
        for strand in list(self.strands.values()):
            strand.over = True
            if strand.carrier is not None and strand.carrier is not self.stuck:
                self.current = strand
                with self._owner.owning():
                    self._owner.switch_to(strand.carrier)
        self.current = None
        self.clock.due.clear()
        for carrier in self.carriers:
            if carrier is not self.stuck:
                carrier.stop(self._owner)
        self._owner.let_go()
        self.carriers.clear()
        self.idle.clear()
        mine = owners.get(self._owner_ident, [])
        if self in mine:
            mine.remove(self)
        if not mine:
            owners.pop(self._owner_ident, None)


def _mend(frame: FrameType | None) -> str:
    """What to do about a strand that does not come back."""
    while frame is not None:
        if os.path.basename(os.path.dirname(frame.f_code.co_filename)) == "asyncio":
            return (
                "It runs a loop of asyncio's, which waits in real time: asyncio is not supported "
                "on virtual time; give the task a stand-in for what it awaits"
            )
        frame = frame.f_back
    return (
        "A loop that waits until a clock has gone on must sleep in it: virtual time passes only "
        "there. Else, only what docs/scenarios.md lists is virtual: give the task a stand-in for "
        "what it waits for there (a socket, a process, a lock made by C code or before the pool), "
        "or raise watchdog_seconds= if it computes that long"
    )


def where(frame: FrameType | None) -> str:
    """The innermost line of the user's own code, as a message says it."""
    inner = frame
    while frame is not None:
        file = frame.f_code.co_filename
        ours = file.startswith(_HERE) or "<frozen" in file
        if not ours and (not file.startswith(_STDLIB) or "site-packages" in file):
            break
        frame = frame.f_back
    frame = frame or inner
    if frame is None:
        return "an unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def owned_by(ident: int) -> list[World]:
    """The open worlds of a thread."""
    return owners.get(ident, [])


def current() -> Strand | None:
    """The strand that calls, ``None`` for everybody who is not controlled."""
    world = carried.get(get_ident())
    return None if world is None else world.current
