"""What setting a run of imported spans had: told, or inferred and said so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.config import MOST_RETRIES, MOST_WORKERS
from runtime.core import CoreSettings
from simulation.imports.work import Work
from simulation.whatif.settings import changed_settings

__all__ = ["settings_of"]

_NS: Final = 1e9
_FIELDS: Final = {
    "max_workers": "max_workers",
    "timeout_ns": "task_timeout_seconds",
    "max_retries": "max_retries",
    "backoff_base_ns": "backoff_base_seconds",
    "backoff_max_ns": "backoff_max_seconds",
    "jitter": "jitter",
    "ageing_ns": "ageing_seconds",
    "max_abandoned": "max_abandoned_threads",
}


def settings_of(work: Work, changes: Mapping[str, Any]) -> tuple[CoreSettings, list[str]]:
    """The setting of a run.

    Args:
        work: what the spans tell.
        changes: fields of ``WorkerPoolConfig`` that are known.

    Returns:
        The setting, and what of it was inferred, in words.

    Raises:
        ValueError: an unknown field or a value out of range.
        TypeError: a value of the wrong type.
    """
    told = _told(work)
    inferred = _inferred(work)
    settings = WorkerPoolConfig().core_settings()
    settings = msgspec.structs.replace(settings, seed=0)
    notes = []
    for name, (value, how) in inferred.items():
        if name not in told:
            settings = msgspec.structs.replace(settings, **{name: value})
            if _FIELDS.get(name) not in changes:
                notes.append(f"{_FIELDS[name]}={_shown(name, value)} ({how})")
    settings = msgspec.structs.replace(settings, **told)
    if settings.backoff_base_ns > settings.backoff_max_ns:
        settings = msgspec.structs.replace(settings, backoff_max_ns=settings.backoff_base_ns)
    # a setting out of range is refused as it would be for a pool
    return changed_settings(settings, {"max_workers": settings.max_workers, **changes}), notes


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    return f"{value / _NS:g}" if name.endswith("_ns") else str(value)


def _told(work: Work) -> dict[str, Any]:
    """What the resource says, as ``export --to otlp`` writes it."""
    resource = work.resource
    if not work.own or not isinstance(resource.get("workerpool.max_workers"), int):
        return {}
    told: dict[str, Any] = {}
    for name, kind in (
        ("max_workers", int), ("max_retries", int), ("max_abandoned", int), ("seed", int),
        ("jitter", str),
    ):  # fmt: skip
        if isinstance(resource.get(f"workerpool.{name}"), kind):
            told[name] = resource[f"workerpool.{name}"]
    for name in ("backoff_base", "backoff_max"):
        if isinstance(resource.get(f"workerpool.{name}"), int | float):
            told[f"{name}_ns"] = round(resource[f"workerpool.{name}"] * _NS)
    for name in ("timeout", "ageing"):
        seconds = resource.get(f"workerpool.{name}")
        told[f"{name}_ns"] = round(seconds * _NS) if isinstance(seconds, int | float) else None
    return told


def _inferred(work: Work) -> dict[str, tuple[Any, str]]:
    attempts = [attempt for task in work.tasks for attempt in task.attempts]
    workers = {attempt.worker for attempt in attempts if attempt.worker}
    if workers:
        count = max(len(workers), *(_last_number(worker) for worker in workers))
        how = "as many workers are named; it may be more"
    else:
        count, how = _most_at_once(work), "as many attempts ran at once; it may be more"
    found: dict[str, tuple[Any, str]] = {
        "max_workers": (min(max(count, 1), MOST_WORKERS), how),
        "timeout_ns": _timeout(work),
        "max_retries": _retries(work),
        "max_abandoned": (WorkerPoolConfig().core_settings().max_abandoned, "the default"),
    }
    found |= _backoff(work)
    return found


def _last_number(worker: str) -> int:
    digits = worker.rpartition("-")[2]
    return int(digits) if worker.startswith("worker-") and digits.isdecimal() else 0


def _most_at_once(work: Work) -> int:
    changes: Counter[int] = Counter()
    instants: set[int] = set()
    for task in work.tasks:
        for attempt in task.attempts:
            changes[attempt.start_ns] += 1
            changes[attempt.end_ns] -= 1
            instants |= {attempt.start_ns, attempt.end_ns}
    running = most = 0
    for instant in sorted(instants):
        running += changes[instant]
        most = max(most, running)
    return most


def _timeout(work: Work) -> tuple[int | None, str]:
    attempts = [attempt for task in work.tasks for attempt in task.attempts]
    given = Counter(attempt.timeout_ns for attempt in attempts)
    if work.own:
        return given.most_common(1)[0][0] if given else None, "as most attempts have it"
    gone = [a.end_ns - a.start_ns for a in attempts if a.outcome == "timeout"]
    if not gone:
        return None, "no attempt timed out"
    longest = max((a.end_ns - a.start_ns for a in attempts if a.outcome != "timeout"), default=0)
    return max(*gone, longest), "the longest attempt"


def _retries(work: Work) -> tuple[int, str]:
    most = max(len(task.attempts) for task in work.tasks) - 1
    exhausted = [
        len(task.attempts) - 1 for task in work.tasks if task.reason == "retries exhausted"
    ]
    if exhausted:
        return min(max(exhausted), MOST_RETRIES), "after which tasks failed"
    return min(max(most, 0), MOST_RETRIES), "the most that were made; it may be more"


def _backoff(work: Work) -> dict[str, tuple[Any, str]]:
    """The base from first backoffs; whether they double from the rest."""
    waits: dict[int, list[int]] = {}
    for task in work.tasks:
        for number, attempt in enumerate(task.attempts, 1):
            if attempt.wait_ns is not None:
                waits.setdefault(number, []).append(attempt.wait_ns)
    if not waits:
        base = WorkerPoolConfig().core_settings().backoff_base_ns
        return {"backoff_base_ns": (base, "the default; no retry tells of it")}
    first = waits.get(1) or next(iter(waits.values()))
    base = Counter(first).most_common(1)[0][0] if work.own else min(first)
    longest = max(max(some) for some in waits.values())
    return {
        "backoff_base_ns": (base, "the commonest first backoff" if work.own else "the least gap"),
        "backoff_max_ns": (
            max(longest, base, WorkerPoolConfig().core_settings().backoff_max_ns),
            "no longer one was seen, or the default",
        ),
        "jitter": ("none", "backoffs that differ are taken as they were"),
    }
