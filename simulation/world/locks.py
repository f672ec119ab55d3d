"""Locks for strands and everybody else: a strand that finds one taken pauses; others block.

Whatever else ``threading``, ``queue`` and ``concurrent.futures`` have is built of these two in
Python: conditions, events, semaphores, barriers, timers, queues, futures. Who gets a released lock
is whoever waits longest.
"""

from __future__ import annotations

import math
import sys
import threading
from _thread import LockType, allocate_lock, get_ident
from _thread import RLock as _RealRLock
from collections import deque
from typing import Any, Final, Literal

from runtime.config import seconds_to_ns
from simulation.world.carriers import carried
from simulation.world.errors import DeadlockError, WorldEnded
from simulation.world.strands import Strand, World, current, owned_by, where

__all__ = ["HybridLock", "HybridRLock", "Lock", "new_lock", "new_rlock"]

_MOMENT_SECONDS: Final = 0.01


class HybridLock:
    """``threading.Lock``, where strands wait in virtual time.

    A thread that opened a pool and waits for one lets that pool's time pass meanwhile.

    Args:
        real: the lock that everybody else shares with the strands, a new one by default.
    """

    __slots__ = ("__weakref__", "_holder", "_real", "_waiting")

    def __init__(self, real: Any = None) -> None:
        self._real: Any = allocate_lock() if real is None else real
        self._holder: Strand | int | None = None
        self._waiting: deque[tuple[Strand, int]] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as ``threading.Lock.acquire`` does."""
        strand = current()
        if strand is not None and (offer := strand.world.offer) is not None:
            offer(strand)
        if self._real.acquire(False):
            self._holder = get_ident() if strand is None else strand
            return True
        if not blocking or timeout == 0 or (timeout < 0 and timeout != -1) or math.isnan(timeout):
            return bool(self._real.acquire(blocking, timeout))  # says what is wrong, if anything
        if strand is None:
            return self._acquire_outside(timeout)
        holder = self._holder
        world = strand.world
        if isinstance(holder, int) and world not in owned_by(holder):
            taken = bool(self._real.acquire(True, timeout))  # a thread of the real world has it
            if taken:
                self._holder = strand
            return taken
        self._waiting.append((strand, strand.turn))
        try:
            return world.pause(strand, self, None if timeout == -1 else seconds_to_ns(timeout))
        except WorldEnded:
            if strand.got:
                self.release()
            raise

    def hold_for(self, strand: Strand) -> None:
        """Take it, free as it is, in the name of a strand."""
        self._real.acquire(False)
        self._holder = strand

    def _acquire_outside(self, timeout: float) -> bool:
        real, me = self._real, get_ident()
        if self._holder is None and timeout == -1 and self._take(_MOMENT_SECONDS):
            return True  # whoever had it was about to say so, or to let go of it
        if isinstance(self._holder, int) and self._holder != me:  # a thread of the real world
            return self._take(timeout)
        worlds = [world for world in owned_by(me) if world.current is None]
        if timeout != -1:
            # without a task left, none could let go of it in time: it is the real world that is
            # waited for, in real seconds
            worlds = [world for world in worlds if not world.nothing_left()]
        for world in reversed(worlds):
            until = None if timeout == -1 else world.clock.now + seconds_to_ns(timeout)
            if world.run(lambda: not real.locked(), until) and self._take(0):
                return True
            if until is not None:
                return False
        if worlds:
            self._wait_for_the_real_world(worlds)
            return True
        return self._take(timeout)

    def _wait_for_the_real_world(self, worlds: list[World]) -> None:
        """Nothing is left in virtual time: at most a thread of the real world may let go of it.

        Raises:
            DeadlockError: there is none, or it has not done so for as long as a watchdog waits.
        """
        patience = max(world.watchdog_seconds for world in worlds)
        real = real_threads()
        if real and self._take(patience):
            return
        stories = "; ".join(story for world in worlds for story in world.stories())
        waited = f"the pool's own thread waits for {self.told()} at {where(sys._getframe())}"
        nothing = f"nothing is left to happen in virtual time{f' ({stories})' if stories else ''}"
        if not real:
            raise DeadlockError(f"deadlock: {waited}, and {nothing}")
        others = "; ".join(f"{name} at {line}" for name, line in real.items())
        raise DeadlockError(
            f"{waited}; {nothing}, and no real thread has let go of it for {patience:g} s. If one "
            f"of these is to ({others}), join it first, wait with a timeout, or raise the pool's "
            f"watchdog_seconds=; if none is, this is a deadlock"
        )

    def _take(self, timeout: float) -> bool:
        """Take it as a thread of the real world does."""
        taken = bool(self._real.acquire(True, timeout))
        if taken:
            self._holder = get_ident()
        return taken

    acquire_lock = acquire

    def release(self) -> None:
        """Let go of it: the strand that waits longest has it now."""
        waiting = self._waiting
        while waiting:
            strand, turn = waiting.popleft()
            if strand.turn == turn and not strand.world.closing:
                self._holder = strand
                strand.got = True
                strand.world.wake(strand, turn)
                return
        self._holder = None
        self._real.release()
        me = current()
        if me is not None and (offer := me.world.offer) is not None:
            offer(me)

    release_lock = release

    def locked(self) -> bool:
        """Whether somebody has it."""
        return bool(self._real.locked())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self._real = allocate_lock()
        self._holder = None
        self._waiting.clear()

    def told(self) -> str:
        """Who has it, for a message."""
        holder = self._holder
        if isinstance(holder, Strand):
            return f"a lock held by {holder.told}"
        return "a lock held by a thread outside" if holder is not None else "a lock"

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {type(self).__name__} at {id(self):#x}>"


class HybridRLock:
    """``threading.RLock``, where strands wait in virtual time."""

    __slots__ = ("__weakref__", "_block", "_count", "_owner")

    def __init__(self) -> None:
        self._block = HybridLock()
        self._owner: Strand | int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, once more where the caller has it."""
        me = current() or get_ident()
        if self._owner == me:
            self._count += 1
            return True
        taken = self._block.acquire(blocking, timeout)
        if taken:
            self._owner = me
            self._count = 1
        return taken

    def release(self) -> None:
        """Let go of it once."""
        if self._owner != (current() or get_ident()):
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._block.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self._owner == (current() or get_ident())

    def _release_save(self) -> tuple[int, Strand | int | None]:
        if self._count == 0:
            raise RuntimeError("cannot release un-acquired lock")
        state = self._count, self._owner
        self._count, self._owner = 0, None
        self._block.release()
        return state

    def _acquire_restore(self, state: tuple[int, Strand | int | None]) -> None:
        self._block.acquire()
        self._count, self._owner = state

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _at_fork_reinit(self) -> None:
        self._block._at_fork_reinit()
        self._owner, self._count = None, 0

    def __repr__(self) -> str:
        state: Literal["locked", "unlocked"] = "locked" if self._block.locked() else "unlocked"
        return f"<{state} {type(self).__name__} count={self._count} at {id(self):#x}>"


def real_threads() -> dict[str, str]:
    """The threads outside the simulated pools, but for the caller's, and where each stands."""
    me = get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        repr(names.get(ident, f"thread {ident}")): where(frame)
        for ident, frame in sys._current_frames().items()
        if ident != me and ident not in carried
    }


def new_lock() -> Any:
    """``threading.Lock()``: a hybrid for strands and for who opened a pool."""
    if current() is not None or owned_by(get_ident()):
        return HybridLock()
    return allocate_lock()


class _EitherLock(type):
    def __call__(cls) -> Any:
        return new_lock()

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, LockType | HybridLock)


class Lock(metaclass=_EitherLock):
    """``threading.Lock`` where that is a class, since Python 3.13."""


def new_rlock() -> Any:
    """``threading.RLock()``, likewise."""
    if current() is not None or owned_by(get_ident()):
        return HybridRLock()
    return _RealRLock()
