"""Predictions against reality: records real runs, predicts others, makes those, prints the table.

    python -m benchmarks.fidelity                     # everything, some 15 minutes
    python -m benchmarks.fidelity --quick             # a rough answer, some 2 minutes
    python -m benchmarks.fidelity --only waiting mixed --json out.json
    python -m benchmarks.fidelity --write             # and put the tables into docs/fidelity.md

Other work on the machine makes real runs slower and predictions look wrong. Where the system
permits it, ``--realtime`` lets the measured threads go before all others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.fidelityparts import PARTS, Bench, Figure, Part
from benchmarks.realruns import Machine
from benchmarks.report import machine

_PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "fidelity.md"
_BEGIN: Final = "<!-- results: written by `python -m benchmarks.fidelity --write` -->"
_END: Final = "<!-- end of results -->"
_WIDTH: Final = 120
_COLUMNS: Final = ("What", "Figure", "Goal", "Met?")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fidelity",
        description="Hold predictions against real runs.",
        epilog="Exit codes: 0 when all was measured, whatever the goals say; 2 for bad usage.",
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer")
    parser.add_argument(
        "--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"some of {', '.join(PARTS)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to a file")
    parser.add_argument("--write", action="store_true", help="write the tables into the docs")
    parser.add_argument("--realtime", action="store_true", help="let the measured threads go first")
    parser.add_argument("--seed", type=int, default=1, help="of the work")
    return parser


def _number(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "not measured"
    if figure.unit == "points":
        text = f"{figure.value:+.2f} points"
    elif figure.unit == "%":
        text = f"{figure.value:.2f}%"
    elif figure.unit == "MB":
        text = f"{figure.value:,.0f} MB"
    else:
        text = f"{figure.value:.2f} {figure.unit}"
    return text if figure.margin is None else f"{text} +- {figure.margin:.2f}"


def _verdict(figure: Figure) -> str:
    return {True: "met", False: "NOT MET", None: ""}[figure.met]


def _where(bench: Bench, load: tuple[float, ...]) -> str:
    """The machine, the day, and how busy it was."""
    busy = ", ".join(f"{one:.1f}" for one in load)
    first = "the measured threads first (SCHED_RR)" if bench.machine.realtime else "normal priority"
    rough = ", quick" if bench.quick else ""
    return f"{'; '.join(machine().values())}; load at the start {busy}; {first}{rough}"


def _print(console: Console, part: Part) -> None:
    console.print(f"\n[bold]{part.name}[/]: {part.about} ({part.seconds:.0f} s)", highlight=False)
    if part.rows:
        details = Table(*part.columns)
        for row in part.rows:
            details.add_row(*row)
        console.print(details)
    table = Table(*_COLUMNS)
    for figure in part.figures:
        table.add_row(figure.what, _number(figure), figure.goal, _verdict(figure))
    console.print(table)


def _markdown(parts: Sequence[Part], where: str) -> str:
    lines = [_BEGIN, "", f"{where}.", ""]
    for part in parts:
        lines += [f"### {part.name}", "", part.about, ""]
        lines += _rows(
            _COLUMNS,
            [
                (figure.what, _number(figure), figure.goal, _verdict(figure))
                for figure in part.figures
            ],
        )
        if part.rows:
            lines += ["", *_rows(part.columns, part.rows)]
        lines.append("")
    return "\n".join([*lines, _END])


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line(columns), line(["---"] * len(columns)), *map(line, rows)]


def _write(parts: Sequence[Part], where: str) -> None:
    text = _PAGE.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(before + _markdown(parts, where) + after)


def main() -> int:
    """Run what the command line asks for."""
    parser = _parser()
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("--write takes the whole program: leave out --quick and --only")
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    load = os.getloadavg()
    parts: list[Part] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Console(stderr=True).status("") as status,  # silent where nobody watches
    ):
        bench = Bench(
            Machine(realtime=options.realtime),
            Path(folder),
            options.quick,
            options.seed,
            status.update,
        )
        where = _where(bench, load)
        console.print(where, highlight=False)
        for name in options.only or PARTS:
            began = time.perf_counter()
            part = PARTS[name](bench)
            part.seconds = time.perf_counter() - began
            parts.append(part)
            _print(console, part)
    if options.json:
        options.json.write_text(json.dumps(_as_json(parts, where), indent=1) + "\n")
    if options.write:
        _write(parts, where)
    return 0


def _as_json(parts: Sequence[Part], where: str) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return {
        "where": where,
        "parts": [
            {
                **asdict(part),
                "figures": [
                    {key: plain(value) for key, value in asdict(figure).items()}
                    for figure in part.figures
                ],
            }
            for part in parts
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
