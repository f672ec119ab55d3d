"""``sweep JOURNAL|SCENARIO --vary FIELD=VALUES``: a grid of settings on the same work."""

from __future__ import annotations

from typing import Any, Unpack

import click

from simulation.commands import options
from simulation.commands.common import FINE, console, print_json
from simulation.commands.progress import Progress

__all__ = ["sweep"]


@click.command(short_help="Compare a grid of settings on the same work.")
@click.argument("work", metavar="JOURNAL|SCENARIO")
@options.grid(
    "--vary",
    "vary",
    "A field and its values: 10,20,50 or LOW:HIGH[:STEP]; several make a grid.",
    required=True,
)
@options.changes("Change a field in every cell")
@click.option(
    "--best",
    metavar="MEASURE",
    default="makespan_seconds",
    show_default=True,
    help="The measure by which cells are judged.",
)
@options.arrivals
@options.judged
@options.met
@options.as_json
def sweep(
    work: str,
    vary: dict[str, list[Any]],
    changes: dict[str, Any],
    best: str,
    as_json: bool,
    **asked: Unpack[options.Predicted],
) -> int:
    """Run a grid of settings on the same work with the same luck.

    Each cell is compared with the recorded setting (of a scenario: with the first cell), and that
    is adjusted for their number; the best is run again on fresh seeds. JOURNAL may be - for
    standard input.

    \b
    Example:
      python -m simulation sweep run.jsonl --vary max_workers=10,20,50
      python -m simulation sweep examples/outage.toml --vary jitter=none,full,equal,decorrelated \\
          --vary max_retries=1:5 --best success_rate
    """
    from simulation.render.sweep import show_sweep  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415
    from simulation.whatif.sweep import Sweep  # noqa: PLC0415
    from simulation.whatif.sweep import sweep as run_sweep  # noqa: PLC0415

    def show(answer: Sweep) -> None:
        if as_json:
            print_json(answer)
        else:
            show_sweep(console(), answer)

    try:
        with Progress() as progress:
            answer = run_sweep(work, vary, changes=changes, best=best, progress=progress, **asked)
    except DishonestError as error:
        if error.answer is not None:  # some cells can be told, and each other says why not
            show(error.answer)
        raise
    show(answer)
    return FINE
