"""What the tests of the core share: short stimuli, and a copy of everything a core knows."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from runtime.core import records as r
from runtime.core.ready import ReadyOrder
from runtime.core.scheduler import Core


def ok(task: int, attempt: int, at_ns: int) -> r.AttemptSucceeded:
    return r.AttemptSucceeded(task, attempt, at_ns, at_ns, at_ns)


def failed(
    task: int,
    attempt: int,
    at_ns: int,
    *,
    retryable: bool = True,
    retry_after_ns: int | None = None,
) -> r.AttemptFailed:
    return r.AttemptFailed(
        task, attempt, at_ns, at_ns, at_ns, "ValueError", retryable, retry_after_ns
    )


def together(*stimuli: r.SimultaneousPart) -> r.Simultaneous:
    return r.Simultaneous(stimuli)


def snapshot(core: Core) -> Any:
    """All of a core's state as plain values: two snapshots are equal iff nothing has changed."""
    return _plain(core.__dict__)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return [(_plain(key), _plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_plain(item) for item in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, ReadyOrder):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.astuple(value))
    return value
