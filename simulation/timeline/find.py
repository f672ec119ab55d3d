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


def find_task(timeline: Timeline, wanted: str, prefix: str = "") -> TaskTime:
    """Find a task.

    Args:
        timeline: the run.
        wanted: its id, its number or its name; a name that several tasks have means the one of
            them that took longest.
        prefix: what every task id begins with.

    Returns:
        The task.

    Raises:
        ValueError: there is none; the message has the nearest names.
    """
    number = wanted.removeprefix(prefix) if prefix else wanted
    named = [task for task in timeline.tasks.values() if task.name == wanted]
    if named:
        return max(named, key=lambda task: (task.took_ns, -task.number))
    if number.isascii() and number.isdecimal() and int(number[:20]) in timeline.tasks:
        return timeline.tasks[int(number)]
    names = list(dict.fromkeys(task.name for task in timeline.tasks.values() if task.name))
    if near := near_names(wanted, names):
        hint = f"did you mean {' or '.join(map(shown, near))}?"
    else:
        ids = f"{prefix}1 to {prefix}{max(timeline.tasks)}"
        hint = f"ids are {ids}" + (f", names such as {shown(names[0])}" if names else "")
    raise ValueError(f"--task {wanted}: there is no such task; {hint}")
