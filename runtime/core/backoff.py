"""How long a task waits before its next attempt.

Before retry r (r = 1, 2, ...) the plain backoff is ``min(cap, base * 2**(r - 1))``: 2 s, 4 s, 8 s
for a base of 2 s. Jitter spreads it, by a keyed draw u in [0, 1):

=============== ==============================================================
none            the plain backoff
full            u * plain
equal           plain / 2 + u * plain / 2
decorrelated    min(cap, base + u * (3 * previous - base)), previous = base at first
=============== ==============================================================

Source: M. Brooker, 'Exponential Backoff And Jitter', AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from typing import Literal

from runtime.core.keyed import Purpose, uniform

__all__ = ["Jitter", "backoff_ns", "jitter_interval_ns"]

Jitter = Literal["none", "full", "equal", "decorrelated"]

# 2**62 ns are 146 years: past any cap, and well inside 64 bits.
_LARGEST_SHIFT = 62


def _plain_ns(base_ns: int, cap_ns: int, retry: int) -> int:
    return min(cap_ns, base_ns << min(retry - 1, _LARGEST_SHIFT))


def jitter_interval_ns(
    jitter: Jitter, base_ns: int, cap_ns: int, retry: int, previous_ns: int | None
) -> tuple[int, int]:
    """Between which bounds a backoff lies.

    Args:
        jitter: the kind.
        base_ns: the configured base, in nanoseconds.
        cap_ns: the configured maximum, in nanoseconds.
        retry: which retry it comes before, from 1.
        previous_ns: the task's previous backoff, ``None`` before its first.

    Returns:
        The lowest and the highest possible backoff, both inclusive, in nanoseconds.

    Example:
        >>> jitter_interval_ns("equal", 2_000, 60_000, 2, None)
        (2000, 4000)
    """
    plain = _plain_ns(base_ns, cap_ns, retry)
    if jitter == "none":
        return plain, plain
    if jitter == "full":
        return 0, plain
    if jitter == "equal":
        return plain // 2, plain
    top = 3 * (base_ns if previous_ns is None else previous_ns)
    return min(cap_ns, base_ns), min(cap_ns, max(base_ns, top))


def backoff_ns(
    jitter: Jitter,
    base_ns: int,
    cap_ns: int,
    retry: int,
    previous_ns: int | None,
    *,
    seed: int,
    task: int,
) -> int:
    """The wait before a retry.

    Args:
        jitter: the kind.
        base_ns: the configured base, in nanoseconds.
        cap_ns: the configured maximum, in nanoseconds.
        retry: which retry it comes before, from 1.
        previous_ns: the task's previous backoff, ``None`` before its first.
        seed: the run's seed.
        task: the task's number; with ``retry`` it keys the draw.

    Returns:
        The backoff in nanoseconds.

    Example:
        >>> [backoff_ns("none", 2, 30, r, None, seed=0, task=1) for r in (1, 2, 3, 4, 5)]
        [2, 4, 8, 16, 30]
    """
    low, high = jitter_interval_ns(jitter, base_ns, cap_ns, retry, previous_ns)
    if low == high:
        return low
    if jitter == "decorrelated":
        # the cap cuts the drawn value, not the interval it is drawn from
        top = max(base_ns, 3 * (base_ns if previous_ns is None else previous_ns))
        drawn = base_ns + int(uniform(seed, task, retry, Purpose.BACKOFF) * (top - base_ns + 1))
        return min(cap_ns, drawn)
    return low + int(uniform(seed, task, retry, Purpose.BACKOFF) * (high - low + 1))
