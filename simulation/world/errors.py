"""What can go wrong in a virtual world."""

from __future__ import annotations

__all__ = [
    "BlockedOutsideError",
    "DeadlockError",
    "NothingLeftError",
    "RealTimeError",
    "WorldEnded",
]


class WorldEnded(BaseException):  # like SystemExit: it ends a thread, and is no error
    """Raised in a strand that would never be woken: its simulation is over."""


class NothingLeftError(RuntimeError):
    """Something is waited for, but nothing is left that could ever happen."""


class DeadlockError(NothingLeftError):
    """Strands wait for each other; the message says which for what, at which line."""


class BlockedOutsideError(RuntimeError):
    """A task blocks, or computes, for long in real time, where virtual time cannot pass."""


class RealTimeError(RuntimeError):
    """A task called a real sleep or clock, through a name that the pool cannot reach."""
