"""What a what-if or a scenario comes to."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from simulation.outcome import MEASURES
from simulation.render.numbers import TITLES, interval_text
from simulation.statistics.intervals import Interval
from simulation.whatif.answer import WhatIf

__all__ = ["show_outcome", "show_what_if"]


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
        title, unit = TITLES[name]
        table.add_row(
            title,
            interval_text(answer.baseline[name], unit),
            interval_text(answer.variant[name], unit),
            interval_text(answer.difference[name], unit, difference=True),
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
        title, unit = TITLES[name]
        table.add_row(title, interval_text(outcome[name], unit))
    console.print(table)
    console.print(_footnote(runs, seed, random=random), style="dim", highlight=False)


def _footnote(runs: int, seed: int, *, random: bool) -> str:
    if runs == 1:
        return f"one run, seed {seed}" if random else "one run: nothing in it is random"
    return f"means over {runs} replications, seeds {seed} to {seed + runs - 1}, with 95% intervals"
