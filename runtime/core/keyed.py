"""Keyed randomness: a draw depends on what it is for, never on when it is made.

``uniform(seed, task, attempt, purpose)`` is a number in [0, 1) that is the same on every machine,
in every Python and under every hash seed, whatever else was drawn before. So two variants of one
run share their luck (common random numbers), and a replay needs no recorded draws.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 'Fast splittable
pseudorandom number generators', OOPSLA 2014) with the constants of its published form, applied
once for each part of the key.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Purpose", "uniform"]

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


class Purpose(enum.IntEnum):
    """What a draw is for. Numbers are part of the journal's meaning: never reuse one."""

    BACKOFF = 1
    DURATION = 2
    OUTCOME = 3
    ARRIVAL = 4
    FAULT = 5
    CHOICE = 6


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(seed: int, task: int, attempt: int, purpose: Purpose) -> float:
    """Draw a number in [0, 1) that belongs to this key.

    Args:
        seed: the run's seed, any integer.
        task: the task's number.
        attempt: the attempt's number.
        purpose: what the draw is for.

    Returns:
        A float with 53 random bits.

    Example:
        >>> uniform(7, 1, 1, Purpose.BACKOFF) == uniform(7, 1, 1, Purpose.BACKOFF)
        True
        >>> uniform(7, 1, 1, Purpose.BACKOFF) == uniform(7, 1, 2, Purpose.BACKOFF)
        False
    """
    z = _mix((seed + _GAMMA) & _MASK)
    z = _mix((z + task * _GAMMA) & _MASK)
    z = _mix((z + (attempt * 16 + purpose) * _GAMMA) & _MASK)
    return (z >> 11) * (1.0 / (1 << 53))
