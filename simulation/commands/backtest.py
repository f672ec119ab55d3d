"""``backtest DIR``: predictions from earlier journals against later ones."""

from __future__ import annotations

from typing import Unpack

import click

from simulation.commands import options
from simulation.commands.common import BAD_INPUT, FINE, console, print_json, warn
from simulation.commands.progress import Progress

__all__ = ["backtest"]


@click.command(short_help="Predict later journals from earlier ones.")
@click.argument("folder", metavar="DIR")
@options.judged
@options.as_json
def backtest(folder: str, as_json: bool, **asked: Unpack[options.Judged]) -> int:
    """Predict each journal (*.jsonl) in DIR from every earlier one of the same work.

    Journals did the same work where they have the same groups and as many tasks of each. The
    prediction is what replay --set would have said of the later setting; the later journal is what
    happened.

    \b
    Example:
      python -m simulation backtest journals/
    """
    from simulation.render.gate import show_backtest  # noqa: PLC0415  # start-up time
    from simulation.whatif.backtest import backtest as compare  # noqa: PLC0415

    with Progress("predictions") as progress:
        answer = compare(folder, progress=progress, **asked)
    if as_json:
        print_json(answer)
    else:
        show_backtest(console(), answer)
    for unused in answer.unused:
        if unused.broken:
            warn(f"error: {unused.path}: {unused.reason}")
            return BAD_INPUT
    return FINE
