"""What a what-if or a scenario comes to."""

from __future__ import annotations

import math
from typing import Final

from rich.console import Console
from rich.table import Table

from simulation.outcome import MEASURES
from simulation.render.numbers import TITLES, range_text
from simulation.statistics.intervals import Interval
from simulation.statistics.quantiles import least_sample
from simulation.whatif.answer import Fidelity, WhatIf

__all__ = ["show_outcome", "show_what_if"]

_MEANING: Final = (
    "the figure: what these tasks themselves would have come to; the range below it: where the "
    "next run of tasks like these lies, 95 times in 100, as far as one recording tells"
)


def show_what_if(console: Console, answer: WhatIf) -> None:
    """Show a what-if, its fidelity first."""
    _say(console, _fidelity_text(answer.fidelity), style=None)
    if answer.coming is not None:
        _say(console, answer.coming.why, style=None)
    changes = ", ".join(
        [f"{name}={value}" for name, value in answer.changes.items()]
        + [f"backend {name}" for name in answer.backends]
    )
    table = Table(title=f"what if {changes}?", title_justify="left")
    table.add_column("")
    for title in ("as recorded", "changed", "difference"):
        table.add_column(title, justify="right")
    for name in MEASURES:
        title, unit = TITLES[name]
        table.add_row(
            title,
            range_text(answer.baseline[name], unit),
            range_text(answer.variant[name], unit),
            range_text(answer.difference[name], unit, difference=True),
        )
    console.print(table)
    for line in _legend(answer):
        _say(console, line)


def _say(console: Console, line: str, style: str | None = "dim") -> None:
    console.print(line, style=style, highlight=False, soft_wrap=True)


def _fidelity_text(fidelity: Fidelity) -> str:
    makespan = (
        f"[bold]{fidelity.makespan_error:+.2%}[/] in the makespan "
        f"({fidelity.simulated_makespan_seconds:,.3f} s simulated, "
        f"{fidelity.recorded_makespan_seconds:,.3f} s recorded)"
    )
    parts = [makespan]
    if not math.isnan(fidelity.recorded_task_seconds_p95):
        parts.append(f"{fidelity.task_seconds_p95_error:+.2%} in the tasks' p95")
    parts.append(f"{fidelity.attempts_error:+.2%} in the attempts")
    return "fidelity: the unchanged setting is reproduced with an error of " + ", ".join(parts)


def _legend(answer: WhatIf) -> list[str]:
    """What the table's figures are, and what to bear in mind."""
    if answer.runs == 1:
        lines = [f"one run of the recorded tasks, seed {answer.seed}: no interval"]
    else:
        lines = [_MEANING, f"{answer.runs} replications, {_seeds(answer.runs, answer.seed)}"]
        short = [
            f"p{share:.0%}".rstrip("%") + f" takes {least_sample(share)}"
            for name, share in (
                ("task_seconds_p50", 0.50),
                ("task_seconds_p95", 0.95),
                ("task_seconds_p99", 0.99),
            )
            if answer.variant[name].kind == "not estimable"
        ]
        if short:
            lines.append(
                f"not estimable: {answer.tasks:,} tasks are too few to bound it; a "
                f"{' tasks, a '.join(short)} tasks"
            )
    if answer.drawn_attempts:
        lines.append(
            f"{answer.drawn_attempts:,.1f} attempts a run are not in the recording and were drawn "
            f"from their group's"
        )
    return lines + [f"note: {note}" for note in answer.notes]


def show_outcome(
    console: Console, outcome: dict[str, Interval], runs: int, seed: int, *, random: bool
) -> None:
    """Show what a scenario comes to."""
    table = Table("", "outcome")
    table.columns[1].justify = "right"
    for name in MEASURES:
        title, unit = TITLES[name]
        table.add_row(title, range_text(outcome[name], unit))
    console.print(table)
    console.print(_footnote(runs, seed, random=random), style="dim", highlight=False)


def _footnote(runs: int, seed: int, *, random: bool) -> str:
    if runs == 1:
        return f"one run, seed {seed}" if random else "one run: nothing in it is random"
    return (
        f"over {runs} replications, {_seeds(runs, seed)}; below a figure the 95% interval of its "
        f"mean, of the quantile or of the rate over all such runs"
    )


def _seeds(runs: int, seed: int) -> str:
    return f"seeds {seed} to {seed + runs - 1}"
