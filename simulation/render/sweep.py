"""A sweep's grid, and what may be said of it."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulation.render.numbers import TITLES, interval_text, number_text
from simulation.whatif.answer import Fidelity
from simulation.whatif.sweep import Cell, Sweep

__all__ = ["fidelity_line", "setting_text", "show_sweep"]

#: Measures that every grid shows, beside the judged one.
_SHOWN: Final = ("makespan_seconds", "success_rate", "task_seconds_p95", "amplification")
_STYLES: Final = {"better": "green", "worse": "red", "refused": "yellow"}


def fidelity_line(fidelity: Fidelity) -> str:
    """How well the unchanged setting reproduces a recording, in a line.

    Args:
        fidelity: how well.
    """
    return (
        f"fidelity: the unchanged setting takes {fidelity.simulated_makespan_seconds:,.3f} s "
        f"simulated, {fidelity.recorded_makespan_seconds:,.3f} s recorded: an error of "
        f"{fidelity.makespan_error:+.2%}"
    )


def setting_text(changes: dict[str, Any]) -> str:
    """A setting as it would be typed.

    Args:
        changes: fields and their values.
    """
    return " ".join(
        f"{name}={'none' if value is None else value}" for name, value in changes.items()
    )


def show_sweep(console: Console, answer: Sweep) -> None:
    """Show a sweep: fidelity, the grid, the best cell on fresh seeds."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    if answer.fidelity is not None:
        say(fidelity_line(answer.fidelity))
    title, unit = TITLES[answer.best]
    names = list(answer.cells[0].changes)
    table = Table(*names)
    shown = [name for name in _SHOWN if name != answer.best]
    table.add_column(title, justify="right")
    table.add_column(f"- {answer.baseline}", justify="right")
    table.add_column("", justify="left")
    for name in shown:
        table.add_column(TITLES[name][0], justify="right")
    if answer.baseline == "recorded":
        base = answer.baseline_outcome
        table.add_row(
            *(["recorded"] + [""] * (len(names) - 1)),
            interval_text(base[answer.best], unit),
            "",
            "",
            *(interval_text(base[name], TITLES[name][1]) for name in shown),
            end_section=True,
        )
    best = answer.confirmed.cell if answer.confirmed is not None else None
    for at, cell in enumerate(answer.cells):
        table.add_row(*_row(answer, cell, shown, starred=at == best))
    console.print(table)
    if answer.changes:
        say(f"in every cell: {setting_text(answer.changes)}", "dim")
    _show_best(say, answer, title, unit)
    say(_footnote(answer), "dim")


def _row(answer: Sweep, cell: Cell, shown: list[str], *, starred: bool) -> list[Text | str]:
    values = ["none" if value is None else str(value) for value in cell.changes.values()]
    if cell.refused is not None and cell.verdict == "refused":
        return [*values, "-", "-", Text("refused", style="yellow"), *("-" for _ in shown)]
    verdict = "" if cell.verdict == "same" else cell.verdict
    if starred:
        verdict = f"{verdict}, best" if verdict else "best"
    elif cell.near_best:
        verdict = f"{verdict}, near best" if verdict else "near best"
    unit = TITLES[answer.best][1]
    return [
        *values,
        interval_text(cell.outcome[answer.best], unit),
        interval_text(cell.difference[answer.best], unit, difference=True),
        Text(verdict, style=_STYLES.get(cell.verdict, "dim")),
        *(interval_text(cell.outcome[name], TITLES[name][1]) for name in shown),
    ]


def _show_best(say: Any, answer: Sweep, title: str, unit: str) -> None:
    found = answer.confirmed
    if found is None:
        say("no cell can be predicted")
        return
    cell = answer.cells[found.cell]
    setting = setting_text(cell.changes)
    swept, fresh = cell.outcome[answer.best].mean, found.outcome[answer.best]
    if answer.random:
        say(
            f"best: {setting}, with a {title} of {number_text(swept, unit)}; on fresh seeds "
            f"{interval_text(fresh, unit)}, which is "
            f"{interval_text(found.difference[answer.best], unit, difference=True)} against the "
            f"{answer.baseline}"
        )
    else:
        say(f"best: {setting}, with a {title} of {number_text(swept, unit)}")
    if cell.verdict != "same" and not found.holds:
        say(f"it is not surely better than the {answer.baseline}", "yellow")
    near = sum(one.near_best for one in answer.cells) - 1
    if near > 0:
        cells = "1 other cell" if near == 1 else f"{near} other cells"
        say(f"{cells} cannot be told from it (near best)")


def _footnote(answer: Sweep) -> str:
    if not answer.random:
        return "one run a cell: nothing in it is random"
    found = answer.confirmed
    text = (
        f"{answer.runs} runs a cell, seeds {answer.seed} to {answer.seed + answer.runs - 1} in "
        f"each; ± is the 95% interval of the mean; better and worse: p < 0.05 over pairs of runs, "
        f"adjusted for {answer.comparisons} comparisons (Holm)"
    )
    if found is not None:
        text += f"; fresh seeds are {found.seed} to {found.seed + found.runs - 1}"
    return text
