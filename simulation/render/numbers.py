"""Measures as people read them."""

from __future__ import annotations

import math

from rich.text import Text

from simulation.statistics.intervals import Interval

__all__ = ["TITLES", "interval_text", "number_text", "range_text"]

_LONG_SECONDS = 100

TITLES = {
    "makespan_seconds": ("makespan", "s"),
    "success_rate": ("success rate", "%"),
    "attempts": ("attempts", ""),
    "retries": ("retries", ""),
    "timeouts": ("timeouts", ""),
    "completed": ("completed", ""),
    "failed": ("failed", ""),
    "cancelled": ("cancelled", ""),
    "task_seconds_p50": ("task time, p50", "s"),
    "task_seconds_p95": ("task time, p95", "s"),
    "task_seconds_p99": ("task time, p99", "s"),
    "utilization": ("utilization", "%"),
    "amplification": ("attempts a task", "x"),
}


def number_text(value: float, unit: str) -> str:
    """A measure with its unit.

    Args:
        value: in seconds for ``s``, 0 to 1 for ``%``.
        unit: ``s``, ``%`` or nothing.
    """
    if math.isnan(value):
        return "-"
    if unit == "%":
        return f"{value * 100:.1f} %"
    if unit == "x":
        return f"{value:,.2f}"
    if unit == "s":
        return f"{value:,.3f} s" if abs(value) < _LONG_SECONDS else f"{value:,.1f} s"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def interval_text(interval: Interval, unit: str, *, difference: bool = False) -> Text:
    """A mean and what is on either side of it, which is the same.

    Args:
        interval: what to show.
        unit: ``s``, ``%`` or nothing.
        difference: whether it is a difference, which has a sign and percentage points.
    """
    text = Text(_figure(interval.mean, unit, difference=difference))
    half = (interval.high - interval.low) / 2
    if half > 0:
        text.append(f" ± {number_text(half, unit).partition(' ')[0]}", style="dim")
    return text


def range_text(interval: Interval, unit: str, *, difference: bool = False) -> Text:
    """A figure, and below it from where to where something lies.

    Args:
        interval: what to show.
        unit: ``s``, ``%`` or nothing.
        difference: whether it is a difference, which has a sign and percentage points.
    """
    text = Text(_figure(interval.mean, unit, difference=difference))
    if interval.kind == "not estimable" and not math.isnan(interval.mean):
        text.append("\nnot estimable", style="dim")
    elif interval.high > interval.low:
        low, high = (
            _figure(end, unit, difference=difference).partition(" ")[0]
            for end in (interval.low, interval.high)
        )
        text.append(f"\n{low} to {high}", style="dim")
    return text


def _figure(value: float, unit: str, *, difference: bool) -> str:
    text = number_text(value, unit)
    if not difference:
        return text
    return ("+" if value > 0 else "") + text.replace("%", "pp")  # percentage points
