"""Spans as tasks with attempts, under a mapping."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from simulation.imports.mapping import OWN, AttemptRule, Mapping
from simulation.imports.spans import Span, TraceError

__all__ = ["ImportedAttempt", "ImportedTask", "Work", "read_work"]

_NS: Final = 1e9
_LONGEST_ID: Final = 12
_MOST_PARENTS: Final = 1_000


@dataclass
class ImportedAttempt:
    """An attempt, as its span tells it; instants are epoch nanoseconds.

    Args:
        start_ns: its start.
        end_ns: its end.
        outcome: ``ok``, ``error``, ``timeout`` or ``cancelled``.
        error: the error's type, empty where it has none.
        worker: what tells its worker apart, empty where nothing does.
        timeout_ns: its limit, ``None`` where the span has none.
        wait_ns: the backoff after it, ``None`` where no retry followed.
    """

    start_ns: int
    end_ns: int
    outcome: str
    error: str
    worker: str
    timeout_ns: int | None
    wait_ns: int | None = None


@dataclass
class ImportedTask:
    """A task, as its span tells it.

    Args:
        line: the line of its span.
        number: its number, 0 where none is known yet.
        name: its name.
        group: its group.
        priority: lower starts first.
        submitted_ns: its span's start, epoch nanoseconds.
        ended_ns: its span's end.
        outcome: how it ended.
        reason: why, where the span says so.
        attempts: its attempts, in order.
    """

    line: int
    number: int
    name: str
    group: str
    priority: int
    submitted_ns: int
    ended_ns: int
    outcome: str
    reason: str
    attempts: list[ImportedAttempt] = field(default_factory=list)


@dataclass
class Work:
    """All tasks of a file.

    Args:
        pool: what the pool is called.
        prefix: what every task id begins with.
        tasks: in the order of their submission.
        resource: the attributes of their resource.
        own: whether they are this pool's own spans.
        notes: what is worth knowing.
    """

    pool: str
    prefix: str
    tasks: list[ImportedTask]
    resource: dict[str, Any]
    own: bool
    notes: list[str]


def read_work(path: str, spans: list[Span], mapping: Mapping, pool: str | None = None) -> Work:
    """Find the tasks and attempts among spans.

    Args:
        path: the file, for messages.
        spans: its spans.
        mapping: which of them is what.
        pool: the pool, or the prefix of task ids, to take where there are several.

    Returns:
        The work.

    Raises:
        TraceError: there is no task, or what is there cannot be.
    """
    own = mapping is OWN
    tasks = [span for span in spans if mapping.is_task(span) and not mapping.is_attempt(span)]
    if not tasks:
        hint = (
            "no spans of a pool; --mapping FILE says which span is a task (docs/import.md)"
            if own
            else f"no span is called {mapping.task.span!r}"
            + (f" and is of kind {mapping.task.kind}" if mapping.task.kind else "")
            + f"; names are {_names(spans)}"
        )
        raise TraceError(path, None, f"no task in {len(spans):,} spans: {hint}")
    prefix, tasks = _one_pool(path, tasks, pool) if own else ("", tasks)
    notes: list[str] = []
    under, orphans = _attempts_under(tasks, spans, mapping)
    if orphans:
        notes.append(
            f"{orphans:,} attempts belong to no task of this file (it had not ended, or is of "
            f"another pool) and are left out"
        )
    made = [
        task
        for span in tasks
        if (task := _task(path, span, under.get(_key(span), []), mapping, notes)) is not None
    ]
    if not made:
        raise TraceError(path, None, f"none of {len(tasks):,} tasks has an attempt: nothing ran")
    if len(made) < len(tasks):
        notes.append(f"{len(tasks) - len(made):,} tasks without an attempt are left out")
    made.sort(key=lambda task: (task.submitted_ns, task.number, task.line))
    _number(made)
    name = str(tasks[0].attributes.get("workerpool.pool.name", "")) if own else ""
    name = name or str(tasks[0].resource.get("service.name", "imported"))
    return Work(name, prefix, made, tasks[0].resource, own, notes)


def _key(span: Span) -> tuple[str, str]:
    return span.trace_id, span.span_id


def _names(spans: list[Span]) -> str:
    common = Counter(span.name for span in spans).most_common(3)
    return ", ".join(repr(name) for name, _ in common)


def _one_pool(path: str, tasks: list[Span], wanted: str | None) -> tuple[str, list[Span]]:
    """The tasks of one pool's run; task ids of one run begin alike."""
    runs: dict[str, list[Span]] = {}
    for span in tasks:
        task_id = str(span.attributes.get("workerpool.task.id", ""))
        runs.setdefault(re.sub(r"\d*$", "", task_id), []).append(span)
    if wanted is not None:
        runs = {
            prefix: some
            for prefix, some in runs.items()
            if wanted in (prefix, some[0].attributes.get("workerpool.pool.name"))
        }
        if not runs:
            raise TraceError(path, None, f"--pool {wanted}: no task's id or pool is called so")
    if len(runs) > 1:
        told = ", ".join(f"{prefix} ({len(some)} tasks)" for prefix, some in list(runs.items())[:5])
        raise TraceError(
            path, None, f"has the tasks of {len(runs)} pools: {told}; choose with --pool PREFIX"
        )
    return next(iter(runs.items()))


def _attempts_under(
    tasks: list[Span], spans: list[Span], mapping: Mapping
) -> tuple[dict[tuple[str, str], list[Span]], int]:
    """The attempts by the nearest task above them, and how many have none."""
    if mapping.attempt is None:
        return {_key(span): [span] for span in tasks}, 0
    by_key = {_key(span): span for span in spans}
    task_keys = {_key(span) for span in tasks}
    under: dict[tuple[str, str], list[Span]] = {}
    orphans = 0
    for span in spans:
        if not mapping.is_attempt(span):
            continue
        above = span.trace_id, span.parent_id
        for _ in range(_MOST_PARENTS):
            if above in task_keys or above not in by_key:
                break
            above = span.trace_id, by_key[above].parent_id
        if above in task_keys:
            under.setdefault(above, []).append(span)
        else:
            orphans += 1
    return under, orphans


def _task(
    path: str, span: Span, attempts: list[Span], mapping: Mapping, notes: list[str]
) -> ImportedTask | None:
    own = mapping is OWN
    attributes = span.attributes
    rule = mapping.attempt
    if not attempts and not (
        own and attributes.get("workerpool.outcome") in ("cancelled", "timeout")
    ):
        return None
    reason = span.message if own else ""
    if reason == "submitted while draining":
        return None
    task = ImportedTask(
        line=span.line,
        number=_number_of(str(attributes.get("workerpool.task.id", ""))) if own else 0,
        name=str(attributes.get(mapping.task.name, span.name)) if mapping.task.name else span.name,
        group=str(attributes.get(mapping.task.group, "")) or "default",
        priority=int(attributes.get("workerpool.task.priority", 0)) if own else 0,
        submitted_ns=span.start_ns,
        ended_ns=span.end_ns,
        outcome=str(attributes.get("workerpool.outcome", "")) if own else "",
        reason=reason,
    )
    ordered = sorted(attempts, key=lambda one: (_given_number(path, one, rule), one.start_ns))
    waits = _waits(span) if own else {}
    for index, one in enumerate(ordered):
        attempt = _attempt(one, rule)
        if index:
            before = task.attempts[-1]
            if attempt.start_ns < before.end_ns:
                raise TraceError(
                    path,
                    one.line,
                    f"attempt {one.name!r} of task {task.name!r} starts before the one before it "
                    f"ends: a task has one attempt at a time; let the mapping tell them apart",
                )
            gap = attempt.start_ns - before.end_ns
            before.wait_ns = waits.get(before.end_ns, gap)
        task.attempts.append(attempt)
    if task.attempts and task.attempts[-1].end_ns in waits:
        # it was to be retried, and ended before
        task.attempts[-1].wait_ns = waits[task.attempts[-1].end_ns]
    if not task.outcome:
        task.outcome = task.attempts[-1].outcome
    return task


def _given_number(path: str, span: Span, rule: AttemptRule | None) -> int:
    if rule is None or not rule.number:
        return 0
    given = span.attributes.get(rule.number)
    if given is None:
        return 1  # instrumentation leaves the count of the first attempt out
    if isinstance(given, bool) or not str(given).isdecimal():
        raise TraceError(path, span.line, f"{rule.number} is {given!r}: must count the attempts")
    return int(given) - rule.counts_from + 1


def _waits(span: Span) -> dict[int, int]:
    """The backoffs, by the instant in which they began."""
    return {
        at_ns: round(float(attributes["workerpool.backoff"]) * _NS)
        for name, at_ns, attributes in span.events
        if name == "workerpool.retry_scheduled" and "workerpool.backoff" in attributes
    }


def _attempt(span: Span, rule: AttemptRule | None) -> ImportedAttempt:
    attributes = span.attributes
    outcome = "error" if span.failed else "ok"
    error = str(attributes.get("error.type", ""))
    worker = ""
    if rule is not None:
        if rule.outcome:
            given = str(attributes.get(rule.outcome, ""))
            if given in rule.timed_out:
                outcome = "timeout"
            elif given in rule.cancelled:
                outcome = "cancelled"
            elif rule.failed:
                outcome = "error" if given in rule.failed else "ok"
        error = str(attributes.get(rule.error, ""))
        worker = str(attributes.get(rule.worker, "")) if rule.worker else ""
    limit = attributes.get("workerpool.timeout")
    return ImportedAttempt(
        span.start_ns,
        span.end_ns,
        outcome,
        (error or span.message or "error") if outcome == "error" else "",
        worker,
        round(float(limit) * _NS) if isinstance(limit, int | float) else None,
    )


def _number_of(task_id: str) -> int:
    digits = re.search(r"\d+$", task_id)
    return int(digits.group()) if digits and len(digits.group()) < _LONGEST_ID else 0


def _number(tasks: list[ImportedTask]) -> None:
    """Keep the tasks' own numbers, which key their jitter, where all have one."""
    numbers = {task.number for task in tasks}
    if len(numbers) < len(tasks) or min(numbers) < 1 or max(numbers) > 2 * len(tasks) + 1_000:
        for number, task in enumerate(tasks, 1):
            task.number = number
