"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.commandline import replay_cli
from benchmarks.linear import linear
from benchmarks.measure import Benchmark, Size, run
from benchmarks.memory import memory
from benchmarks.report import as_json, machine, print_tables, write_markdown
from benchmarks.throughput import throughput
from benchmarks.virtual import virtual
from benchmarks.waiting import roundtrip, sleep
from benchmarks.world import world

_WIDTH: Final = 110  # in a pipe or a file
_README: Final = Path(__file__).with_name("README.md")

_BENCHMARKS: Final[dict[str, Callable[[Size], Benchmark]]] = {
    "throughput": throughput,
    "sleep": sleep,
    "roundtrip": roundtrip,
    "memory": memory,
    "linear": linear,
    "virtual": virtual,
    "world": world,
    "replay_cli": replay_cli,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Measure twinclock against its peers, all in one run, turn by turn.",
        epilog="Example: python -m benchmarks --quick --only throughput roundtrip. Exit codes: 0 "
        "when all was measured, whatever the goals say; 1 when a contestant failed or is not "
        "there; 2 for bad usage.",
    )
    parser.add_argument("--quick", action="store_true", help="a rough answer, in about a minute")
    parser.add_argument("--only", nargs="+", choices=list(_BENCHMARKS), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file")
    parser.add_argument("--write", action="store_true", help="write the tables into README.md")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    return parser


def main() -> int:
    """Run what the command line asks for."""
    parser = _parser()
    options = parser.parse_args()
    if options.write and (options.quick or options.only):
        parser.error("--write takes the whole suite: leave out --quick and --only")
    size = Size(options.quick)
    chosen = [_BENCHMARKS[name](size) for name in options.only or _BENCHMARKS]
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    if options.list:
        for benchmark in chosen:
            names = ", ".join(contestant.name for contestant in benchmark.contestants)
            console.print(f"[bold]{benchmark.name}[/]: {benchmark.about} ({names})")
        return 0
    console.print(" | ".join(machine().values()))
    outcomes = []
    with Console(stderr=True).status("") as status:  # silent where nobody watches
        for benchmark in chosen:
            outcome = run(benchmark, status.update)
            outcomes.append(outcome)
            print_tables(outcome, console)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, quick=options.quick), indent=1))
    if options.write:
        write_markdown(outcomes, _README)
    return 1 if any(outcome.absent or outcome.broken for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
