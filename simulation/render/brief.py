"""Figures for tables with many columns: three digits, the unit in the head."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulation.render.numbers import TITLES
from simulation.statistics import Interval
from simulation.whatif.answer import Fidelity

__all__ = [
    "brief",
    "brief_range",
    "fidelity_line",
    "field_head",
    "head",
    "head_below",
    "range_of",
    "say",
    "setting_text",
    "table",
    "value_text",
]


def brief(name: str, value: float, *, difference: bool = False, width: float = 0.0) -> str:
    """A measure in three digits, without its unit.

    Args:
        name: the measure.
        value: of it.
        difference: whether it has a sign.
        width: of the interval whose end it is: more digits than two of that say nothing.

    Example:
        >>> brief("success_rate", 0.9987), brief("makespan_seconds", 1234.5)
        ('99.9', '1,234')
        >>> brief("task_seconds_p95", 0.51234, difference=True)
        '+0.512'
        >>> brief("task_seconds_p95", 45.678, width=11.3)
        '46'
    """
    if math.isnan(value):
        return "-"
    unit = TITLES[name][1]
    if unit == "%":
        value, width = value * 100, width * 100
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 or unit == "%" else 2 if size >= 1 else 3
    if unit == "x":
        digits = min(digits, 2)
    if unit == "" and float(value).is_integer():
        digits = 0
    if width > 0:
        digits = min(digits, max(0, 1 - math.floor(math.log10(width))))
    text = f"{value:,.{digits}f}"
    if not float(text.replace(",", "")):
        text = "0"  # never -0.0
    return f"+{text}" if difference and value > 0 and text != "0" else text


def brief_range(
    name: str, interval: Interval, *, difference: bool = False, below: bool = False
) -> Text:
    """A measure and its interval.

    Args:
        name: the measure.
        interval: of it.
        difference: whether it has a sign.
        below: whether the interval goes into a line of its own, rather than into brackets.
    """
    text = Text(brief(name, interval.mean, difference=difference))
    if interval.kind == "not estimable":
        text.append("\nnot estimable" if below else " (not estimable)", style="dim")
    elif interval.high > interval.low:
        inside = range_of(name, interval, difference=difference)
        text.append(f"\n{inside}" if below else f" ({inside})", style="dim")
    return text


def range_of(name: str, interval: Interval, *, difference: bool = False) -> str:
    """From where to where an interval goes.

    Args:
        name: the measure.
        interval: of it.
        difference: whether it has a sign.
    """
    width = interval.high - interval.low
    low, high = (
        brief(name, end, difference=difference, width=width)
        for end in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def head(name: str) -> str:
    """A measure's title with its unit.

    Args:
        name: the measure.
    """
    title, unit = TITLES[name]
    return f"{title}, {unit}" if unit in ("s", "%") else title


def head_below(name: str) -> str:
    """The same in short lines.

    Args:
        name: the measure.
    """
    title, unit = TITLES[name]
    lines = title.replace(" a ", "\na ").replace(" time", "\ntime").replace(", ", ",\n")
    lines = lines.replace("success ", "success\n")
    return f"{lines}, {unit}" if unit in ("s", "%") else lines


def field_head(name: str) -> str:
    """A field's name, broken where it can be.

    Args:
        name: a field of the configuration.
    """
    return name.replace("_", "_\n")


def table(*columns: str) -> Table:
    """An empty table that takes little room.

    Args:
        columns: the heads of the first columns.
    """
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for column in columns:
        made.add_column(column, overflow="fold", min_width=max(map(len, column.split("\n"))))
    return made


def setting_text(changes: dict[str, Any]) -> str:
    """A setting as it would be typed.

    Args:
        changes: fields and their values.
    """
    return " ".join(f"{name}={value_text(value)}" for name, value in changes.items())


def value_text(value: Any) -> str:
    """A field's value as it would be typed.

    Args:
        value: of it.
    """
    return "none" if value is None else str(value)


def fidelity_line(fidelity: Fidelity) -> str:
    """How well the unchanged setting reproduces a recording.

    Args:
        fidelity: how well.
    """
    return (
        f"fidelity: the unchanged setting is reproduced with an error of "
        f"{fidelity.makespan_error:+.2%} in the makespan, "
        f"{fidelity.task_seconds_p95_error:+.2%} in the tasks' p95, "
        f"{fidelity.attempts_error:+.2%} in the attempts"
    )


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line.

    Args:
        console: where.
        text: without markup.
        style: how.
    """
    console.print(Text(text, style=style), soft_wrap=True)
