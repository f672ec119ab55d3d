"""A run as Trace Event JSON, which Perfetto, speedscope and chrome://tracing open.

A process is a run; its threads are the workers, and under each the abandoned attempts that still
ran beside it. Instants are microseconds since the run's first submission. Counters are the busy
workers and the tasks waiting. (The format: Google, 'Trace Event Format', 2016.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Unpack

import msgspec

from runtime.journal import Journal
from simulation.timeline.attempts import Attempt, Timeline
from simulation.timeline.lateness import critical_chain
from simulation.timeline.levels import levels
from simulation.whatif.timed import Asked, TimedRun, recorded_run, simulated_run

__all__ = ["export_chrome"]

#: Perfetto's names for colours.
_COLOURS: Final = {
    "ok": "good",
    "error": "terrible",
    "timeout": "bad",
    "cancelled": "grey",
    "running": "thread_state_runnable",
}
_CHAIN: Final = 0


def export_chrome(
    journal: Journal,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    instance: str = "recorded",
    **asked: Unpack[Asked],
) -> bytes:
    """A recorded run, and what-if variants of it, as Trace Event JSON.

    Args:
        journal: a journal that replays.
        variants: the name of each variant with what is changed.
        instance: what the recorded run is called.
        **asked: how variants are simulated.

    Returns:
        The document; the same for the same journal.

    Raises:
        DishonestError: the recording does not support a variant.
        ValueError: an unknown field or a value out of range.
    """
    runs = [recorded_run(journal, instance)]
    runs += [simulated_run(journal, name, set_, runs=1, **asked) for name, set_ in variants]
    events = [
        event
        for process, run in enumerate(runs, 1)
        for event in _events(run, process, journal.header.prefix)
    ]
    return msgspec.json.encode(
        {
            "traceEvents": events,
            "displayTimeUnit": "ms",
            "otherData": {"pool": journal.header.pool, "journal": journal.digest},
        }
    )


def _events(run: TimedRun, process: int, prefix: str) -> Iterator[dict[str, Any]]:
    timeline = run.timeline
    first = timeline.first_ns
    few, workers = timeline.workers()
    many = f"{workers}" if few == workers else f"{few} to {workers}"
    yield _metadata("process_name", process, 0, {"name": f"{run.name}: {many} workers"})
    yield _metadata("process_sort_index", process, 0, {"sort_index": process})
    yield _metadata("thread_name", process, _CHAIN, {"name": "what the end hung on"})
    for slot in sorted({attempt.slot for attempt in timeline.attempts}):
        yield _metadata("thread_name", process, slot + 1, {"name": f"worker {slot + 1}"})
        yield _metadata("thread_sort_index", process, slot + 1, {"sort_index": slot + 1})
    for link in critical_chain(timeline):
        name: str = link.kind
        if link.task:
            title = timeline.tasks[link.task].title
            name = title if link.kind == "running" else f"{title}: {link.kind}"
        yield {
            **_slice(name, link.kind, process, _CHAIN, link.from_ns, link.to_ns, first),
            "args": {},
        }
    for attempt in timeline.attempts:
        yield _attempt(timeline, attempt, process, prefix)
    yield from _abandoned(timeline, process, workers)
    busy, waiting, _ = levels(timeline)
    for name, series in (("busy workers", busy), ("tasks waiting", waiting)):
        for at_ns, value in zip(series.instants, series.values, strict=True):
            yield {
                "ph": "C",
                "name": name,
                "pid": process,
                "ts": (at_ns - first) // 1000,
                "args": {name: value},
            }


def _metadata(name: str, process: int, thread: int, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": process, "tid": thread, "args": args}


def _slice(
    name: str, category: str, process: int, thread: int, from_ns: int, to_ns: int, first: int
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": process,
        "tid": thread,
        # whole: with fractions a slice's end would come out a hair after the next one's start, and
        # speedscope takes the next for a call inside it
        "ts": (from_ns - first) // 1000,
        "dur": (to_ns - first) // 1000 - (from_ns - first) // 1000,
    }


def _attempt(timeline: Timeline, attempt: Attempt, process: int, prefix: str) -> dict[str, Any]:
    task = timeline.tasks[attempt.task]
    args: dict[str, Any] = {
        "task": f"{prefix}{task.number}",
        "group": task.group,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "took_ms": attempt.ran_ns / 1e6,
        "queued_ms": (attempt.start_at_ns - attempt.ready_at_ns) / 1e6,
    }
    if attempt.error:
        args["error"] = attempt.error
    if attempt.retry:
        args["retried"] = attempt.retry
    if attempt.cpu_ns is not None and not attempt.abandoned:
        args["cpu_ms"] = attempt.cpu_ns / 1e6
    name = task.name or f"task {task.number}"
    name = name if attempt.number == 1 else f"{name} (attempt {attempt.number})"
    made = _slice(
        name,
        f"attempt,{attempt.outcome}",
        process,
        attempt.slot + 1,
        attempt.start_at_ns,
        attempt.end_at_ns,
        timeline.first_ns,
    )
    return {**made, "cname": _COLOURS[attempt.outcome], "args": args}


def _abandoned(timeline: Timeline, process: int, workers: int) -> Iterator[dict[str, Any]]:
    """What abandoned attempts did after, on threads of their own, since they may overlap."""
    free: list[tuple[int, int]] = []  # until when a thread is taken, and which
    named = 0
    gone = sorted(
        (a for a in timeline.attempts if a.abandoned), key=lambda a: (a.end_at_ns, a.task, a.number)
    )
    for attempt in gone:
        until = timeline.last_ns if attempt.home_at_ns is None else attempt.home_at_ns
        place = next((i for i, (taken, _) in enumerate(free) if taken <= attempt.end_at_ns), None)
        if place is None:
            named += 1
            place = len(free)
            free.append((0, workers + named))
            name = {"name": f"abandoned {named}"}
            yield _metadata("thread_name", process, workers + named, name)
        thread = free[place][1]
        free[place] = until, thread
        title = timeline.tasks[attempt.task].title
        made = _slice(
            f"{title}, attempt {attempt.number}, abandoned",
            "abandoned",
            process,
            thread,
            attempt.end_at_ns,
            until,
            timeline.first_ns,
        )
        yield {**made, "cname": "grey", "args": {"came home": attempt.home_at_ns is not None}}
