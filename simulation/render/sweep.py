"""A sweep's grid, and what may be said of it."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from simulation.render.brief import (
    brief,
    brief_range,
    fidelity_line,
    field_head,
    head,
    head_below,
    say,
    setting_text,
    table,
    value_text,
)
from simulation.whatif.sweep import Cell, Sweep

__all__ = ["show_sweep"]

#: Measures beside the judged one: what it costs, whom, and how long they wait.
_SHOWN: Final = ("success_rate", "task_seconds_p95", "amplification")
#: More varied fields than these share a column, so that the grid still fits a terminal.
_OWN_COLUMNS: Final = 2
_WORDS: Final = {"not told apart": "unsure"}
_STYLES: Final = {"better": "green", "worse": "red", "refused": "yellow"}


def show_sweep(console: Console, answer: Sweep) -> None:
    """Show a sweep: fidelity, the grid, the best cell on fresh seeds.

    Args:
        console: where.
        answer: the sweep.
    """
    if answer.fidelity is not None:
        say(console, fidelity_line(answer.fidelity))
    if answer.coming is not None:
        say(console, answer.coming.why)
    names = list(answer.cells[0].changes)
    shown = [name for name in _SHOWN if name != answer.best]
    if len(names) > _OWN_COLUMNS:
        names = ["setting"]
    grid = table(*(field_head(name) for name in names))
    grid.columns[0].min_width = max(grid.columns[0].min_width or 0, len("recorded"))
    for title in (head_below(answer.best), f"minus\n{answer.baseline}"):
        grid.add_column(title, justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for name in shown:
        grid.add_column(head_below(name), justify="right", no_wrap=True)
    if answer.baseline == "recorded":
        base = answer.baseline_outcome
        grid.add_row(
            *(["recorded"] + [""] * (len(names) - 1)),
            brief_range(answer.best, base[answer.best], below=True),
            "",
            "",
            *(brief(name, base[name].mean) for name in shown),
            end_section=True,
        )
    best = answer.confirmed.cell if answer.confirmed is not None else None
    for at, cell in enumerate(answer.cells):
        grid.add_row(*_row(answer, cell, shown, best=at == best))
    console.print(grid)
    if answer.changes:
        say(console, f"in every cell: {setting_text(answer.changes)}")
    _show_best(console, answer)
    say(console, _meaning(answer), "dim")
    for note in answer.notes:
        say(console, f"note: {note}", "dim")


def _row(answer: Sweep, cell: Cell, shown: list[str], *, best: bool) -> list[Text | str]:
    values: list[Text | str] = [value_text(value) for value in cell.changes.values()]
    if len(values) > _OWN_COLUMNS:
        values = [setting_text(cell.changes).replace(" ", "\n")]
    if cell.verdict == "refused":
        return [*values, "-", "-", Text("refused", style="yellow"), *("-" for _ in shown)]
    words = [] if cell.verdict == "same" else [_WORDS.get(cell.verdict, cell.verdict)]
    if best or cell.near_best:
        words.append("best" if best else "near best")
    return [
        *values,
        brief_range(answer.best, cell.outcome[answer.best], below=True),
        brief_range(answer.best, cell.difference[answer.best], difference=True, below=True),
        Text("\n".join(words).replace(" ", "\n"), style=_STYLES.get(cell.verdict, "")),
        *(brief(name, cell.outcome[name].mean) for name in shown),
    ]


def _show_best(console: Console, answer: Sweep) -> None:
    found = answer.confirmed
    if found is None:
        say(console, "no cell can be predicted")
        return
    cell, name = answer.cells[found.cell], answer.best
    title = head(name)
    swept = brief(name, cell.outcome[name].mean)
    line = f"best: {setting_text(cell.changes)}, {title}: {swept}"
    if answer.random:
        fresh = brief_range(name, found.outcome[name]).plain
        difference = brief_range(name, found.difference[name], difference=True).plain
        line += f"; on fresh seeds {fresh}, minus {answer.baseline} {difference}"
    say(console, line)
    if cell.verdict == "worse":
        say(console, f"no cell is better than the {answer.baseline}", "yellow")
    elif cell.verdict != "same" and not found.holds:
        say(console, f"it is not surely better than the {answer.baseline}", "yellow")
    near = sum(one.near_best for one in answer.cells) - 1
    if near > 0:
        cells = "1 other cell" if near == 1 else f"{near} other cells"
        say(console, f"{cells} cannot be told from it (near best)")


def _meaning(answer: Sweep) -> str:
    if answer.runs == 1:
        return f"one run a cell, seed {answer.seed}: no intervals and no significance"
    if not answer.random:
        return f"{answer.runs} runs a cell, all alike: nothing in it is random"
    of = (
        "where the next run lies, 95 times in 100"
        if answer.work["kind"] == "journal"
        else "where the mean lies, 95%"
    )
    count = answer.comparisons
    text = (
        f"below a figure: {of}; {answer.runs} runs a cell with the same luck, seeds "
        f"{answer.seed} to {answer.seed + answer.runs - 1}; better and worse: p < 0.05, "
        f"adjusted for {count} comparison{'s' * (count != 1)} (Holm)"
    )
    found = answer.confirmed
    if found is not None:
        text += f"; fresh seeds are {found.seed} to {found.seed + found.runs - 1}"
    return text
