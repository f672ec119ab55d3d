"""What the command line shows people: tables with rich."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from simulation.outcome import MEASURES, Interval
from simulation.replay import Divergence, Replay
from simulation.whatif import WhatIf

__all__ = ["show_outcome", "show_replay", "show_what_if"]

_LONG_SECONDS = 100

_TITLES = {
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
}


def _number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    if unit == "%":
        return f"{value * 100:.1f} %"
    if unit == "s":
        return f"{value:,.3f} s" if abs(value) < _LONG_SECONDS else f"{value:,.1f} s"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _interval(interval: Interval, unit: str, *, difference: bool = False) -> Text:
    mean = _number(interval.mean, unit)
    if difference:
        mean = mean.replace("%", "pp")  # percentage points
    text = Text(f"+{mean}" if difference and interval.mean > 0 else mean)
    half = (interval.high - interval.low) / 2
    if half > 0:
        text.append(f" ± {_number(half, unit).partition(' ')[0]}", style="dim")
    return text


def show_replay(console: Console, found: Replay) -> None:
    """Show what an exact replay found."""
    journal = found.journal
    state = "closed" if journal.complete else "not closed"
    console.print(
        f"{escape(journal.path)}: {found.tasks:,} tasks, {len(journal.records):,} stimuli, {state}",
        highlight=False,
        soft_wrap=True,
    )
    if found.divergence is None:
        console.print("[green]replays exactly[/]", journal.digest, highlight=False, soft_wrap=True)
    else:
        _show_divergence(console, found.divergence)


def _show_divergence(console: Console, divergence: Divergence) -> None:
    console.print(
        f"[red]diverges at step {divergence.index}[/] (line {divergence.index + 2}), "
        f"{divergence.at_ns / 1e9:.6f} s",
        highlight=False,
    )
    table = Table("field", "journal", "replay")
    for field in divergence.fields:
        table.add_row(field["field"], _plain(field["expected"]), _plain(field["actual"]))
    console.print(table)
    for line in divergence.story:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _plain(value: Any) -> Text:
    return Text("-" if value is None else str(value))


def show_what_if(console: Console, answer: WhatIf) -> None:
    """Show a what-if, its fidelity first."""
    fidelity = answer.fidelity
    console.print(
        f"fidelity: the unchanged setting takes {fidelity.simulated_makespan_seconds:,.3f} s "
        f"simulated, {fidelity.recorded_makespan_seconds:,.3f} s recorded: an error of "
        f"[bold]{fidelity.makespan_error:+.2%}[/]",
        highlight=False,
        soft_wrap=True,
    )
    changes = ", ".join(f"{name}={value}" for name, value in answer.changes.items())
    table = Table(title=f"what if {changes}?", title_justify="left")
    table.add_column("")
    for title in ("as recorded", "changed", "difference"):
        table.add_column(title, justify="right")
    for name in MEASURES:
        title, unit = _TITLES[name]
        table.add_row(
            title,
            _interval(answer.baseline[name], unit),
            _interval(answer.variant[name], unit),
            _interval(answer.difference[name], unit, difference=True),
        )
    console.print(table)
    console.print(
        _footnote(answer.runs, answer.seed, random=answer.random), style="dim", highlight=False
    )
    if answer.drawn_attempts:
        console.print(
            f"{answer.drawn_attempts:,.1f} attempts a run are not in the recording and were drawn "
            f"from their group's",
            style="dim",
            highlight=False,
        )


def show_outcome(
    console: Console, outcome: dict[str, Interval], runs: int, seed: int, *, random: bool
) -> None:
    """Show what a scenario comes to."""
    table = Table("", "outcome")
    table.columns[1].justify = "right"
    for name in MEASURES:
        title, unit = _TITLES[name]
        table.add_row(title, _interval(outcome[name], unit))
    console.print(table)
    console.print(_footnote(runs, seed, random=random), style="dim", highlight=False)


def _footnote(runs: int, seed: int, *, random: bool) -> str:
    if runs == 1:
        return f"one run, seed {seed}" if random else "one run: nothing in it is random"
    return f"means over {runs} replications, seeds {seed} to {seed + runs - 1}, with 95% intervals"
