"""What the suite found: on a terminal, as Markdown, as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Comparison, Outcome, Spread

__all__ = ["as_json", "machine", "print_tables", "write_markdown"]

_BEGIN: Final = "<!-- results: written by `python -m benchmarks --write` -->"
_END: Final = "<!-- end of results -->"

_FIGURES: Final = ("Contestant", "Figure", "Median", "Least - greatest", "Unit")
_ANSWERS: Final = ("Comparison", "Median", "Least - greatest", "Goal", "Met?")


def machine() -> dict[str, str]:
    """Where and when this runs."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": date.today().isoformat(),
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _range(spread: Spread) -> str:
    return f"{_number(spread.low)} - {_number(spread.high)}"


def _goal(comparison: Comparison) -> str:
    low, high = comparison.at_least, comparison.at_most
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if high is not None:
        return f"<= {high:g}"
    return f">= {low:g}" if low is not None else ""


def _met(comparison: Comparison, value: float) -> bool | None:
    """Whether the goal is met; ``None`` where there is none."""
    low, high = comparison.at_least, comparison.at_most
    if low is None and high is None:
        return None
    return (low is None or value >= low) and (high is None or value <= high)


def _verdict(comparison: Comparison, value: float) -> str:
    met = _met(comparison, value)
    if met is None:
        return ""
    # by how much: the distance to the nearer bound, in percent of it
    bounds = [bound for bound in (comparison.at_least, comparison.at_most) if bound is not None]
    bound = min(bounds, key=lambda bound: abs(value - bound))
    side = "above" if value > bound else "below"
    by = f"{abs(value / bound - 1):.0%} {side} {bound:g}"
    return f"met, {by}" if met else f"NOT MET, {by}"


def _figure_rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    for contestant in outcome.benchmark.contestants:
        name = contestant.name
        if name in outcome.absent:
            yield name, "not there yet", outcome.absent[name], "", ""
        elif name in outcome.broken:
            yield name, "FAILED", outcome.broken[name], "", ""
        for (owner, figure), values in outcome.values.items():
            if owner == name:
                spread = Spread.over(values)
                unit = outcome.benchmark.units[figure]
                yield name, figure, _number(spread.median), _range(spread), unit


def _answer_rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    for comparison in outcome.benchmark.comparisons:
        spread = outcome.answer(comparison)
        if spread is None:
            yield comparison.label, "-", "", _goal(comparison), "not measured"
        else:
            verdict = _verdict(comparison, spread.median)
            median = _number(spread.median)
            yield comparison.label, median, _range(spread), _goal(comparison), verdict


def print_tables(outcome: Outcome, console: Console) -> None:
    """Show a benchmark's outcome.

    Args:
        outcome: what to show.
        console: where.
    """
    benchmark = outcome.benchmark
    console.print(f"\n[bold]{benchmark.name}[/]  {benchmark.about}  Rounds: {benchmark.rounds}.")
    for head, rows in ((_FIGURES, _figure_rows(outcome)), (_ANSWERS, _answer_rows(outcome))):
        table = Table(*head)
        for row in rows:
            style = "red" if row[-1].startswith("NOT MET") or row[1] == "FAILED" else None
            table.add_row(*row, style=style)
        console.print(table)


def _markdown_table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [*lines, ""]


def write_markdown(outcomes: Sequence[Outcome], path: Path) -> None:
    """Put the outcomes between the markers of a Markdown file.

    Args:
        outcomes: what to write.
        path: the file.

    Raises:
        ValueError: the markers are not there.
    """
    text = path.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path.name} lacks the lines {_BEGIN!r} and {_END!r}")
    where = machine()
    lines = [f"{where['machine']}; {where['python']}; {where['date']}.", ""]
    lines += ["### Goals", ""]
    lines += _markdown_table(
        _ANSWERS,
        (
            row
            for outcome in outcomes
            for row, comparison in zip(
                _answer_rows(outcome), outcome.benchmark.comparisons, strict=True
            )
            if _goal(comparison)
        ),
    )
    for outcome in outcomes:
        benchmark = outcome.benchmark
        lines += [f"### {benchmark.name}", "", f"{benchmark.about} {benchmark.rounds} rounds.", ""]
        lines += _markdown_table(_FIGURES, _figure_rows(outcome))
        lines += _markdown_table(_ANSWERS, _answer_rows(outcome))
    path.write_text(f"{before}{_BEGIN}\n\n" + "\n".join(lines) + f"\n{_END}{after}")


def as_json(outcomes: Sequence[Outcome], *, quick: bool) -> dict[str, Any]:
    """Everything, round by round.

    Args:
        outcomes: what was found.
        quick: whether it is a rough answer.

    Returns:
        One document.
    """
    return {**machine(), "quick": quick, "benchmarks": [_one_as_json(one) for one in outcomes]}


def _one_as_json(outcome: Outcome) -> dict[str, Any]:
    benchmark = outcome.benchmark
    comparisons = []
    for comparison in benchmark.comparisons:
        spread = outcome.answer(comparison)
        comparisons.append(
            {
                "comparison": comparison.label,
                "median": spread and spread.median,
                "low": spread and spread.low,
                "high": spread and spread.high,
                "at_most": comparison.at_most,
                "at_least": comparison.at_least,
                "met": spread and _met(comparison, spread.median),
            }
        )
    return {
        "name": benchmark.name,
        "about": benchmark.about,
        "figures": [
            {"contestant": name, "figure": figure, "unit": benchmark.units[figure], "rounds": all_}
            for (name, figure), all_ in outcome.values.items()
        ],
        "comparisons": comparisons,
        "absent": outcome.absent,
        "broken": outcome.broken,
    }
