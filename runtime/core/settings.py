"""The core's own settings: whole numbers, integer nanoseconds."""

from __future__ import annotations

import msgspec

from runtime.core.backoff import Jitter

__all__ = ["CoreSettings"]


class CoreSettings(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What the core decides by; the same settings and stimuli give the same instructions.

    Args:
        max_workers: slots.
        timeout_ns: limit of one attempt, ``None`` for none.
        max_retries: retries after a first attempt.
        backoff_base_ns: backoff before the first retry.
        backoff_max_ns: the most that any backoff lasts, but for a retry-after.
        jitter: how backoffs are spread.
        ageing_ns: waiting that is worth one step of priority, ``None`` for no ageing.
        max_abandoned: abandoned attempts whose slots may be replaced at one time.
        seed: keys the jitter.
    """

    max_workers: int
    timeout_ns: int | None = None
    max_retries: int = 0
    backoff_base_ns: int = 0
    backoff_max_ns: int = 0
    jitter: Jitter = "none"
    ageing_ns: int | None = None
    max_abandoned: int = 0
    seed: int = 0
