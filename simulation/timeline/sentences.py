"""Why a task was late, in words: the sentence that the report and ``why`` begin with."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.timeline.attempts import Attempt, TaskTime, Timeline
from simulation.timeline.lateness import Cpu, Link, Split, Splitter, busy_with

__all__ = ["about_chain", "about_cpu", "duration", "why_late"]

_PLACES = {
    "queue": "waiting for a worker",
    "limits": "held back by a limit",
    "backoff": "in backoff before a retry",
    "running": "running",
}
_DONE = {
    "ok": "succeeded",
    "error": "failed",
    "timeout": "timed out",
    "cancelled": "were cancelled",
    "running": "still ran when the record ends",
    "abandoned": "had been abandoned and never let go of their worker",
}
_FEW = 3


def duration(ns: float) -> str:
    """A duration as people read it.

    Args:
        ns: nanoseconds.

    Example:
        >>> duration(8_020_000_000), duration(1_500_000), duration(0), duration(5400 * 10**9)
        ('8.02 s', '1.5 ms', '0 s', '1 h 30 min')
    """
    seconds = ns / 1e9
    if seconds >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min"
    if seconds >= 600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if not seconds:
        return "0 s"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            value = ns / size
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.1f} {unit}"
    return f"{ns:.0f} ns"


def why_late(timeline: Timeline, task: TaskTime, splitter: Splitter) -> list[str]:
    """Why a task took as long as it did.

    Args:
        timeline: the run.
        task: one of its tasks.
        splitter: the run's.

    Returns:
        A few plain sentences. The second says what most of its time went to.
    """
    split = splitter.split(task)
    sentences = [_opening(timeline, task)]
    parts = [
        ("queue", split.queue_ns),
        ("limits", split.limits_ns),
        ("backoff", split.backoff_ns),
        ("running", split.running_ns),
    ]
    parts = sorted((part for part in parts if part[1]), key=lambda part: -part[1])
    for index, (kind, ns) in enumerate(parts):
        share = ns / split.total_ns
        lead = "Most of it" if not index and share > 0.5 else "The largest part"
        said = f"{duration(ns)} ({_share(share)})"
        what = f"{lead}, {said}, went by " if not index else f"{said} went by "
        sentences.append(what + _place(kind, timeline, task) + ".")
    if not task.attempts and task.outcome != "running":
        sentences.append(f"It never started: {task.reason or task.outcome}.")
    elif task.outcome in ("error", "timeout"):
        sentences.append(f"In the end it failed: {task.reason}.")
    cpu = about_cpu(split)
    if cpu and split.running_ns:
        sentences.append(cpu)
    return sentences


def _share(share: float) -> str:
    if 0 < share < 0.005:
        return "under 1%"
    return "over 99%" if 0.995 < share < 1 else f"{share:.0%}"


def _opening(timeline: Timeline, task: TaskTime) -> str:
    times = sorted(other.took_ns for other in timeline.tasks.values())
    median = times[(len(times) - 1) // 2]
    open_ = "had not ended when the record ends, and had taken" if task.outcome == "running" else ""
    text = f"{task.title} {open_ or 'took'} {duration(task.took_ns)}"
    if len(times) == 1:
        return f"{text}; it is the only task."
    if task.took_ns >= times[-1]:
        text += f", the longest of {len(times):,} tasks"
    else:
        longer = sum(other > task.took_ns for other in times)
        text += f"; {longer:,} of {len(times):,} tasks took longer"
    ratio = f": {task.took_ns / median:.1f} times that" if task.took_ns >= 1.05 * median > 0 else ""
    return f"{text} (the median took {duration(median)}{ratio})."


def _place(kind: str, timeline: Timeline, task: TaskTime) -> str:
    if kind == "queue":
        return _queued(timeline, task)
    if kind == "backoff":
        return _backed_off(task)
    if kind == "running":
        return _ran(task)
    return _PLACES[kind]


def _queued(timeline: Timeline, task: TaskTime) -> str:
    """What the workers did while it waited for one."""
    spent: dict[str, int] = {}
    waits = [piece for piece in task.pieces() if piece.kind == "queue"]
    for wait in waits:
        for outcome, ns in busy_with(timeline, wait.from_ns, wait.to_ns).items():
            spent[outcome] = spent.get(outcome, 0) + ns
    few, many = timeline.workers(waits[0].from_ns, waits[-1].to_ns)
    workers = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    busy = "the one worker was busy" if many == 1 else f"all {workers} workers were busy"
    text = f"waiting for a worker, since {busy}"
    total = sum(spent.values())
    wasted = {name: ns for name, ns in spent.items() if name not in ("ok", "running")}
    if total and sum(wasted.values()) / total >= 0.01:
        told = [
            f"{ns / total:.0%} of their time with attempts that {_DONE[name]}"
            for name, ns in sorted(wasted.items(), key=lambda one: -one[1])
            if ns / total >= 0.005
        ]
        text += f" ({', '.join(told)})"
    if len(waits) > 1:
        text += f"; it waited {len(waits)} times"
    return text


def _backed_off(task: TaskTime) -> str:
    causes = [_cause(attempt) for attempt in task.attempts if attempt.retry_due_at_ns is not None]
    retries = "a retry" if len(causes) == 1 else f"{len(causes)} retries"
    return f"in backoff before {retries}, since {_listed(causes)}"


def _cause(attempt: Attempt) -> str:
    if attempt.outcome == "timeout":
        return f"attempt {attempt.number} timed out"
    return f"attempt {attempt.number} raised {attempt.error}"


def _ran(task: TaskTime) -> str:
    told = []
    for attempt in task.attempts:
        ran = duration(attempt.ran_ns)
        end = {
            "ok": f"{ran} and succeeded",
            "error": f"{ran} and raised {attempt.error}",
            "timeout": f"{ran} until it was given up at its timeout",
            "cancelled": f"{ran} until it was cancelled",
            "running": f"{ran} and had not ended",
        }[attempt.outcome]
        told.append(f"attempt {attempt.number} ran {end}" if len(task.attempts) > 1 else end)
    if len(told) == 1:
        return f"running: its one attempt took {told[0]}"
    return f"running: {_listed(told)}"


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    if len(items) > _FEW:
        items = [*items[:_FEW], f"{len(items) - _FEW} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def about_cpu(split: Split) -> str:
    """What is known of the CPU in a task's running time.

    Args:
        split: where its time went.

    Returns:
        A sentence; empty where the task never ran.
    """
    if not split.running_ns:
        return ""
    cpu = split.cpu
    if cpu is None:
        return "How much of the running time was waiting for a CPU was not measured."
    text = f"Of the running time {duration(cpu.used_ns)} was on a CPU; {_waited(cpu)}"
    if cpu.other_ns > cpu.waited_at_most_ns - cpu.waited_at_least_ns:
        text += "; the rest was waiting for something else, such as a service or a lock"
    if cpu.unmeasured_ns:
        text += f" ({duration(cpu.unmeasured_ns)} of abandoned attempts was not measured)"
    return f"{text}."


def _waited(cpu: Cpu) -> str:
    least, most = duration(cpu.waited_at_least_ns), duration(cpu.waited_at_most_ns)
    if least == most:
        return f"{least} was waiting for a CPU"
    return f"{least} to {most} was waiting for a CPU"


def about_chain(timeline: Timeline, chain: list[Link]) -> str:
    """What a run's end hung on.

    Args:
        timeline: the run.
        chain: its critical chain.
    """
    if not chain:
        return "Nothing ran."
    total = timeline.makespan_ns
    tasks = {link.task: None for link in chain if link.task}
    spent: dict[str, int] = {}
    for link in chain:
        spent[link.kind] = spent.get(link.kind, 0) + link.to_ns - link.from_ns
    said = {
        "running": "running attempts",
        "held": "workers that abandoned attempts still held",
        "backoff": "backoff",
        "queue": "its last task's wait for a worker that it never got",
        "before": "before its first task was submitted",
    }
    parts = [
        f"{duration(ns)} {said[kind]}"
        for kind, ns in sorted(spent.items(), key=lambda one: -one[1])
    ]
    titles = [timeline.tasks[number].title for number in tasks]
    through = titles[0] if len(titles) == 1 else f"{len(titles):,} tasks, the last {titles[-1]}"
    return (
        f"The run took {duration(total)}; its end hung on a chain of {len(chain):,} stretches "
        f"through {through}: {_listed_all(parts)}."
    )


def _listed_all(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
