"""``recommend JOURNAL|SCENARIO --target MEASURE<NUMBER``: the cheapest setting that meets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import click

from simulation.commands import options
from simulation.commands.common import FAILED, FINE, console, print_json, warn
from simulation.commands.progress import Progress

__all__ = ["recommend"]


@click.command(short_help="Find the cheapest setting that meets targets.")
@click.argument("work", metavar="JOURNAL|SCENARIO")
@click.option(
    "--target",
    "targets",
    metavar="MEASURE<NUMBER",
    multiple=True,
    required=True,
    help="What the next run must meet, with <, <=, > or >=; quote it. May be given more than once.",
)
@click.option(
    "--minimize",
    metavar="FIELD",
    default="max_workers",
    show_default=True,
    help="What is to be small.",
)
@options.grid(
    "--over",
    "over",
    "What may be chosen: LOW:HIGH[:STEP] or 10,20,50; by default 1 to as many workers as tasks.",
)
@options.changes("Change a field in every setting")
@options.arrivals
@options.judged
@options.met
@options.as_json
def recommend(
    work: str,
    targets: Sequence[str],
    minimize: str,
    over: dict[str, list[Any]],
    changes: dict[str, Any],
    as_json: bool,
    **asked: Unpack[options.Predicted],
) -> int:
    """Find the cheapest setting with which the next run meets every target.

    It is confirmed on fresh seeds. Exit 1 where no setting meets the targets; the line on standard
    error says what came nearest. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation recommend run.jsonl --target "task_seconds_p95<30"
      python -m simulation recommend examples/outage.toml --target "makespan_seconds<60" \\
          --target "success_rate>=0.99" --minimize max_workers --over max_workers=1:100
    """
    from simulation.render.recommend import show_recommendation, unmet_line  # noqa: PLC0415
    from simulation.whatif.recommend import recommend as find  # noqa: PLC0415

    with Progress() as progress:
        answer = find(
            work, targets, minimize=minimize, over=over, changes=changes, progress=progress, **asked
        )
    if as_json:
        print_json(answer)
    else:
        show_recommendation(console(), answer)
    if answer.found is None:
        warn(unmet_line(answer))
        return FAILED
    return FINE
