"""How many at each instant: busy workers, waiting tasks, ended tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulation.timeline.attempts import Timeline

__all__ = ["Levels", "levels"]

#: More points than this are thinned out, to the least and the most of each stretch of time.
MOST_POINTS: Final = 10_000


@dataclass(frozen=True)
class Levels:
    """A step function: ``values[i]`` holds from ``instants[i]`` on.

    Args:
        instants: nanoseconds of the pool's clock, rising.
        values: as many.
    """

    instants: list[int]
    values: list[int]


def levels(timeline: Timeline) -> tuple[Levels, Levels, Levels]:
    """Busy workers, tasks that wait for one, and tasks that have ended.

    Args:
        timeline: the run.

    Returns:
        The three over time. A worker is busy while an attempt runs on it, or an abandoned one
        holds it; a task in backoff does not wait for a worker.
    """
    busy: Counter[int] = Counter()
    waiting: Counter[int] = Counter()
    ended: Counter[int] = Counter()
    for attempt in timeline.attempts:
        busy[attempt.start_at_ns] += 1
        freed = attempt.end_at_ns
        if attempt.holds_slot:
            freed = timeline.last_ns if attempt.home_at_ns is None else attempt.home_at_ns
        busy[freed] -= 1
        waiting[attempt.ready_at_ns] += 1
        waiting[attempt.start_at_ns] -= 1
    for task in timeline.tasks.values():
        if task.last_ready_at_ns is not None:
            waiting[task.last_ready_at_ns] += 1
            waiting[task.ended_at_ns] -= 1
        if task.outcome != "running":
            ended[task.ended_at_ns] += 1
    span = timeline.first_ns, timeline.end_ns
    return _steps(busy, span), _steps(waiting, span), _steps(ended, span)


def _steps(changes: Counter[int], span: tuple[int, int]) -> Levels:
    for instant in span:
        changes[instant] += 0
    instants: list[int] = []
    values: list[int] = []
    value = 0
    for instant in sorted(changes):
        value += changes[instant]
        if not values or values[-1] != value or instant in span:
            instants.append(instant)
            values.append(value)
    return _thinned(instants, values)


def _thinned(instants: list[int], values: list[int]) -> Levels:
    count = len(instants)
    if count <= MOST_POINTS:
        return Levels(instants, values)
    stretch = -(-count // (MOST_POINTS // 3))
    kept: list[int] = []
    for start in range(0, count, stretch):
        inside = range(start, min(start + stretch, count))
        kept += sorted(_notable(values, inside))
    return Levels([instants[index] for index in kept], [values[index] for index in kept])


def _notable(values: list[int], inside: Iterable[int]) -> set[int]:
    """The least, the most and the last of a stretch."""
    inside = list(inside)
    return {min(inside, key=values.__getitem__), max(inside, key=values.__getitem__), inside[-1]}
