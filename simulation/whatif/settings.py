"""What a what-if can change: fields of ``WorkerPoolConfig``, on top of a recorded setting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.core import CoreSettings

__all__ = ["changed_settings", "check_names", "differing_fields"]

# Fields of WorkerPoolConfig that a what-if can change, and what the core calls them.
_CHANGEABLE: Final = {
    "max_workers": "max_workers",
    "task_timeout_seconds": "timeout_ns",
    "max_retries": "max_retries",
    "backoff_base_seconds": "backoff_base_ns",
    "backoff_max_seconds": "backoff_max_ns",
    "jitter": "jitter",
    "ageing_seconds": "ageing_ns",
    "max_abandoned_threads": "max_abandoned",
}


def check_names(names: Iterable[str]) -> None:
    """Raise unless these are fields that a what-if can change.

    Args:
        names: fields of ``WorkerPoolConfig``.

    Raises:
        ValueError: one is not, with the nearest right name.
    """
    for name in names:
        if name not in _CHANGEABLE:
            near = difflib.get_close_matches(name, _CHANGEABLE, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_CHANGEABLE)}"
            raise ValueError(f"{name}: no setting that a what-if can change; {hint}")


def changed_settings(settings: CoreSettings, changes: Mapping[str, Any]) -> CoreSettings:
    """Apply changes to a recorded setting.

    Args:
        settings: as recorded.
        changes: fields of ``WorkerPoolConfig`` and their new values.

    Returns:
        The new setting; what was not changed stays exactly as it was.

    Raises:
        ValueError: an unknown field, with the nearest right name; or a value out of range.
        TypeError: a value of the wrong type.
    """
    check_names(changes)

    def seconds(ns: int | None) -> float | None:
        return None if ns is None else ns / 1e9

    # the configuration's own checks hold for the changed setting as a whole
    config = WorkerPoolConfig(
        max_workers=settings.max_workers,
        task_timeout_seconds=seconds(settings.timeout_ns),
        max_retries=settings.max_retries,
        backoff_base_seconds=settings.backoff_base_ns / 1e9,
        backoff_max_seconds=settings.backoff_max_ns / 1e9,
        jitter=settings.jitter,
        ageing_seconds=seconds(settings.ageing_ns),
        max_abandoned_threads=settings.max_abandoned,
        seed=settings.seed,
    ).replace(**changes)
    new = config.core_settings()
    return msgspec.structs.replace(
        settings, **{_CHANGEABLE[name]: getattr(new, _CHANGEABLE[name]) for name in changes}
    )


def differing_fields(old: CoreSettings, new: CoreSettings) -> dict[str, Any]:
    """What would have to be changed to get from one setting to another.

    Args:
        old: the one.
        new: the other.

    Returns:
        Fields of ``WorkerPoolConfig`` that a what-if can change, with their new values.
    """
    changes: dict[str, Any] = {}
    for name, inner in _CHANGEABLE.items():
        value = getattr(new, inner)
        if value != getattr(old, inner):
            in_seconds = inner.endswith("_ns") and value is not None
            changes[name] = value / 1e9 if in_seconds else value
    return changes
