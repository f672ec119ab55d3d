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
    "say",
    "setting_text",
    "table",
    "value_text",
]

#: The least width of a column that may be folded.
_ROOM = 8


def brief(name: str, value: float, *, difference: bool = False) -> str:
    """A measure in three digits, without its unit.

    Args:
        name: the measure.
        value: of it.
        difference: whether it has a sign.

    Example:
        >>> brief("success_rate", 0.9987), brief("makespan_seconds", 1234.5)
        ('99.9', '1,234')
        >>> brief("task_seconds_p95", 0.51234, difference=True)
        '+0.512'
    """
    if math.isnan(value):
        return "-"
    unit = TITLES[name][1]
    if unit == "%":
        text = f"{value * 100:.1f}"
    else:
        size = abs(value)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        whole = unit == "" and float(value).is_integer()
        text = f"{value:,.0f}" if whole else f"{value:,.{digits}f}"
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
        low, high = (
            brief(name, end, difference=difference) for end in (interval.low, interval.high)
        )
        text.append(f"\n{low} to {high}" if below else f" ({low} to {high})", style="dim")
    return text


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
    lines = title.replace(", ", ",\n").replace("success ", "success\n").replace(" a ", "\na ")
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
        made.add_column(column, overflow="fold", min_width=_ROOM)
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
