"""Finding a task by what its user calls it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from simulation.timeline.attempts import TaskTime, Timeline
from simulation.timeline.names import shown

__all__ = ["find_task", "near_names"]

_SHOWN = 3


def near_names(wanted: str, names: Sequence[str]) -> list[str]:
    """Names that somebody may have meant: first those that have it in them, then those alike.

    Args:
        wanted: what was asked for.
        names: what there is.

    Returns:
        The nearest ones, three at most.

    Example:
        >>> near_names("q09", ["Q001", "Q090", "Q099"])
        ['Q090', 'Q099']
    """
    near = [name for name in names if wanted.casefold() in name.casefold()][:_SHOWN]
    return near or difflib.get_close_matches(wanted, names, _SHOWN, 0.5)


def find_task(timeline: Timeline, wanted: str, prefix: str = "") -> tuple[TaskTime, str]:
    """Find a task.

    Args:
        timeline: the run.
        wanted: its id; else its name, and of several with that name the one that took longest; else
            its number.
        prefix: what every task id begins with.

    Returns:
        The task, and what to say of it where there was a choice, else nothing.

    Raises:
        ValueError: there is none; the message has the nearest names.
    """
    tasks = timeline.tasks
    if prefix and wanted.startswith(prefix) and (number := _number(wanted[len(prefix) :])) in tasks:
        return tasks[number], ""
    named = [task for task in tasks.values() if task.name == wanted]
    number = _number(wanted)
    if named:
        task = max(named, key=lambda task: (task.took_ns, -task.number))
        said = f"task {prefix}{task.number} is told of: "
        if len(named) > 1:
            return task, f"{said}of {len(named):,} named {shown(wanted)!r} it took longest"
        if number in tasks and number != task.number:
            return task, f"{said}{wanted} is its name; the other one's id is {prefix}{number}"
        return task, ""
    if number in tasks:
        return tasks[number], ""
    names = list(dict.fromkeys(task.name for task in tasks.values() if task.name))
    if near := near_names(wanted, names):
        hint = f"did you mean {' or '.join(map(shown, near))}?"
    elif tasks:
        ids = f"{prefix}1 to {prefix}{max(tasks)}"
        hint = f"ids are {ids}" + (f", names such as {shown(names[0])}" if names else "")
    else:
        hint = "there is none at all"
    raise ValueError(f"there is no task {shown(wanted)!r}: {hint}")


def _number(text: str) -> int:
    """A task's number; 0, which no task has, where a text is none."""
    return int(text[:20]) if text.isascii() and text.isdecimal() else 0
