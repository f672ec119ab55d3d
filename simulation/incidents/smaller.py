"""Making an incident small while it still shows its plot.

First the task alone; then it with few workers and as many others as there are workers, those that
ran longest beside it; then all, of which as many as possible are taken away in ever smaller chunks
(A. Zeller, R. Hildebrandt, 'Simplifying and Isolating Failure-Inducing Input', IEEE TSE 28(2),
2002). What is left loses attempts, stops, and whatever is not as a pool has it by default, and its
times are rounded to as few digits as do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice
from typing import Any, Final

from msgspec.structs import replace

from runtime import WorkerPoolConfig
from runtime.core import CoreSettings
from runtime.core.records import UNSET
from simulation.incidents.incident import Attempt, Incident, Shows, Submission

__all__ = ["smaller"]

_DEFAULTS: Final = WorkerPoolConfig().core_settings()
_SECOND: Final = 1_000_000_000
_ALLOWANCE: Final = 400_000  # tasks run in all tries: half a minute at most
_GUESSES: Final = 200


def smaller(
    whole: Incident, shows: Shows, backoffs_ns: Sequence[int] = (), allowance: int = _ALLOWANCE
) -> Incident | None:
    """Make an incident small.

    Args:
        whole: all of it.
        shows: whether an incident still shows what is to be kept.
        backoffs_ns: those that the target had. Jitter is keyed by a task's number, so that taking
            a task away deals new luck to all; where there was any, these are tried in its place.
        allowance: how many tasks may be run in all tries together; what is left then is the answer.

    Returns:
        A small one, ``None`` where not even the whole shows it.
    """
    left = allowance

    def asked(incident: Incident) -> bool:
        nonlocal left
        if left <= 0:
            return False
        left -= len(incident.tasks)
        return shows(incident)

    wholes = [replace(whole, settings=settings) for settings in _settings(whole, backoffs_ns)]
    best = next((few for one in wholes for few in _few(one) if asked(few)), None)
    if best is None:
        all_of_it = next((one for one in wholes if asked(one)), None)
        if all_of_it is None:
            return None
        best = _fewer_tasks(all_of_it, asked)
    before = None
    while best != before and left > 0:
        before = best
        for step in (_fewer_workers, _fewer_stops, _fewer_attempts, _plainer, _rounder):
            best = step(best, asked)
    return best


def _settings(whole: Incident, backoffs_ns: Sequence[int]) -> Iterator[CoreSettings]:
    """Without jitter, if that does; the last is as it was."""
    settings = whole.settings
    if settings.jitter != "none":
        yield replace(settings, jitter="none")
        for backoff in sorted({*backoffs_ns[:1], *backoffs_ns[-1:]}):
            yield replace(settings, jitter="none", backoff_base_ns=backoff, backoff_max_ns=backoff)
    yield settings


def _with(incident: Incident, numbers: list[int]) -> Incident:
    kept = sorted({*numbers, incident.target})
    return replace(incident, tasks={number: incident.tasks[number] for number in kept})


def _workers(incident: Incident, workers: int) -> Incident:
    return replace(incident, settings=replace(incident.settings, max_workers=workers))


def _few(whole: Incident) -> Iterator[Incident]:
    """Guesses: the task alone; some workers, and as many others that ran longest beside it."""
    yield _workers(_with(whole, []), 1)
    target = whole.tasks[whole.target]
    others = [
        (sum(a.took_ns for a in task.attempts) + task.at_ns, -number)
        for number, task in whole.tasks.items()
        if number != whole.target and task.at_ns <= target.at_ns
    ]
    longest = [-number for _, number in sorted(others, reverse=True)]
    for workers in (1, 2, 4, 8):
        for count in (workers, 2 * workers):
            if workers <= whole.settings.max_workers and count <= len(longest):
                yield _workers(_with(whole, longest[:count]), workers)


def _fewer_tasks(incident: Incident, asked: Shows) -> Incident:
    best = incident
    chunk = max(1, len(best.tasks) // 2)
    while chunk:
        index = 0
        while True:
            others = [number for number in best.tasks if number != best.target]
            if index >= len(others):
                break
            candidate = _with(best, others[:index] + others[index + chunk :])
            for workers in (1, max(1, best.settings.max_workers // 2), best.settings.max_workers):
                if asked(_workers(candidate, workers)):
                    best = _workers(candidate, workers)
                    break
            else:
                index += chunk
        chunk //= 2
    return best


def _fewer_workers(incident: Incident, asked: Shows) -> Incident:
    """Fewer workers want fewer tasks to hold them, or none can be taken away alone."""
    others = [number for number in incident.tasks if number != incident.target]
    guesses = (
        _workers(_with(incident, list(few)), workers)
        for workers in range(1, incident.settings.max_workers)
        for count in range(min(workers + 1, len(others)) + 1)
        for few in combinations(others, count)
    )
    return next((few for few in islice(guesses, _GUESSES) if asked(few)), incident)


def _fewer_stops(incident: Incident, asked: Shows) -> Incident:
    best = incident
    for stop in incident.stops:
        candidate = replace(best, stops=tuple(kept for kept in best.stops if kept is not stop))
        if stop.task not in {None, *best.tasks} or asked(candidate):
            best = candidate
    for number in list(best.tasks):
        if number != best.target:
            candidate = _with(best, [kept for kept in best.tasks if kept != number])
            if asked(candidate):
                best = candidate
    return best


def _fewer_attempts(incident: Incident, asked: Shows) -> Incident:
    """One attempt less, and one retry less."""
    best = incident
    for number in list(best.tasks):
        place = 0
        while len(best.tasks[number].attempts) > 1 and place < len(best.tasks[number].attempts):
            task = best.tasks[number]
            attempts = task.attempts[:place] + task.attempts[place + 1 :]
            shorter = replace(task, attempts=attempts)
            retries = task.max_retries
            own = best.settings.max_retries if retries is UNSET else retries
            for candidate in (
                _task(best, number, replace(shorter, max_retries=max(0, own - 1))),
                _task(best, number, shorter),
            ):
                if asked(candidate):
                    best = candidate
                    break
            else:
                place += 1
    return best


def _task(incident: Incident, number: int, task: Submission) -> Incident:
    return replace(incident, tasks={**incident.tasks, number: task})


def _first(best: Incident, candidates: Iterator[Incident], asked: Shows) -> Incident:
    """The first that does, simplest first; the best so far where it comes before."""
    for candidate in candidates:
        if candidate == best:
            return best
        if asked(candidate):
            return candidate
    return best


def _plainer(incident: Incident, asked: Shows) -> Incident:
    """As a pool has it by default."""
    best = incident
    own = best.tasks[best.target]
    for name in ("timeout_ns", "max_retries"):  # the task's own, as the pool's
        value = getattr(own, name)
        if value is not UNSET:
            hoisted = replace(best, settings=replace(best.settings, **{name: value}))
            hoisted = _task(hoisted, best.target, replace(own, **{name: UNSET}))
            best = _first(best, iter([hoisted]), asked)
            own = best.tasks[best.target]
    for name in ("jitter", "ageing_ns", "max_abandoned", "timeout_ns", "backoff_max_ns", "seed"):
        plain = replace(best.settings, **{name: getattr(_DEFAULTS, name)})
        if plain.backoff_base_ns <= plain.backoff_max_ns:
            best = _first(best, iter([replace(best, settings=plain)]), asked)
    if asked(replace(best, settings=replace(best.settings, max_retries=0))):  # they tell nothing
        plain = replace(
            best.settings,
            max_retries=_DEFAULTS.max_retries,
            backoff_base_ns=_DEFAULTS.backoff_base_ns,
            backoff_max_ns=_DEFAULTS.backoff_max_ns,
        )
        best = _first(best, iter([replace(best, settings=plain)]), asked)
    for number in list(best.tasks):
        for change in (
            {"priority": 0},
            {"group": "default"},
            {"deadline_after_ns": None},
            {"timeout_ns": UNSET},
            {"max_retries": UNSET},
        ):
            plain_task = replace(best.tasks[number], **change)
            best = _first(best, iter([_task(best, number, plain_task)]), asked)
        if number != best.target:  # the others only hold workers: let them succeed at that
            task = best.tasks[number]
            held = tuple(Attempt(attempt.took_ns) for attempt in task.attempts)
            best = _first(best, iter([_task(best, number, replace(task, attempts=held))]), asked)
    return best


def _rounder(incident: Incident, asked: Shows) -> Incident:
    """Times with fewer digits: of the pool, of the tasks, of the stops."""
    best = _first(incident, iter([_from_the_start(incident)]), asked)
    for name in ("timeout_ns", "backoff_base_ns", "backoff_max_ns", "ageing_ns"):
        value = getattr(best.settings, name)
        if value is not None and value != getattr(_DEFAULTS, name):
            best = _round(best, value, _set_setting(name), asked)
    for number in list(best.tasks):
        task = best.tasks[number]
        best = _round(best, task.at_ns, _set_field(number, "at_ns"), asked, (0,))
        for name in ("deadline_after_ns", "timeout_ns"):
            value = getattr(best.tasks[number], name)
            if isinstance(value, int):
                best = _round(best, value, _set_field(number, name), asked)
        for place, attempt in enumerate(task.attempts):
            best = _round(best, attempt.took_ns, _set_took(number, place), asked)
    for place, stop in enumerate(best.stops):
        best = _round(best, stop.at_ns, _set_stop(place), asked)
    return best


def _from_the_start(incident: Incident) -> Incident:
    """What came first comes at once."""
    first = min(task.at_ns for task in incident.tasks.values())
    return replace(
        incident,
        tasks={n: replace(task, at_ns=task.at_ns - first) for n, task in incident.tasks.items()},
        stops=tuple(replace(stop, at_ns=max(0, stop.at_ns - first)) for stop in incident.stops),
    )


_Set = Callable[[Incident, int], Incident]


def _round(
    best: Incident, value: int, put: _Set, asked: Shows, first: tuple[int, ...] = ()
) -> Incident:
    values = list(first)
    for digits in (1, 2, 3):
        near = rounded(value, digits)
        values += [near, near + _unit(value, digits)] if near <= value else [near]
    candidates = (put(best, rough) for rough in values)
    return _first(best, (c for c in candidates if _possible(c)), asked)


def _possible(incident: Incident) -> bool:
    settings = incident.settings
    return settings.backoff_base_ns <= settings.backoff_max_ns


def rounded(value_ns: int, digits: int) -> int:
    """Round to some digits.

    Args:
        value_ns: a duration.
        digits: how many count; what is under 10 ms is a whole number of milliseconds, or 0.

    Returns:
        The rounded one.

    Example:
        >>> rounded(1_234_567_890, 2), rounded(12_345, 1), rounded(61_500_000_000, 1)
        (1200000000, 0, 60000000000)
    """
    unit = _unit(value_ns, digits)
    return (value_ns + unit // 2) // unit * unit


def _unit(value_ns: int, digits: int) -> int:
    return int(10 ** max(len(str(value_ns)) - digits, 6))


def _set_setting(name: str) -> _Set:
    def put(incident: Incident, value: int) -> Incident:
        return replace(incident, settings=replace(incident.settings, **{name: max(1, value)}))

    return put


def _set_field(number: int, name: str) -> _Set:
    def put(incident: Incident, value: int) -> Incident:
        least = 0 if name == "at_ns" else 1
        changed: dict[str, Any] = {name: max(least, value)}
        return _task(incident, number, replace(incident.tasks[number], **changed))

    return put


def _set_took(number: int, place: int) -> _Set:
    def put(incident: Incident, value: int) -> Incident:
        task = incident.tasks[number]
        attempts = list(task.attempts)
        if place < len(attempts):
            attempts[place] = Attempt(value, attempts[place].fails)
        return _task(incident, number, replace(task, attempts=tuple(attempts)))

    return put


def _set_stop(place: int) -> _Set:
    def put(incident: Incident, value: int) -> Incident:
        stops = list(incident.stops)
        stops[place] = replace(stops[place], at_ns=value)
        return replace(incident, stops=tuple(stops))

    return put
