"""``gate DIR --set FIELD=VALUE --require MEASURE>=NUMBER``: a setting against stored journals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import click

from simulation.commands import options
from simulation.commands.common import (
    BAD_INPUT,
    FAILED,
    FINE,
    REFUSED,
    console,
    print_json,
    warn,
)
from simulation.commands.progress import Progress

__all__ = ["gate"]

_CODES = {"meets": FINE, "falls short": FAILED, "cannot tell": REFUSED, "broken": BAD_INPUT}


@click.command(short_help="Hold a changed setting against stored journals, in CI.")
@click.argument("folder", metavar="DIR")
@options.changes("What is to be changed")
@click.option(
    "--require",
    metavar="MEASURE>=NUMBER",
    multiple=True,
    required=True,
    help="What every run must meet, with <, <=, > or >=; quote it. May be given more than once.",
)
@options.judged
@options.met
@options.as_json
def gate(
    folder: str,
    changes: dict[str, Any],
    require: Sequence[str],
    as_json: bool,
    **asked: Unpack[options.JudgedAndMet],
) -> int:
    """Hold a changed setting against every journal (*.jsonl) in DIR, for a project's CI.

    Exit 0 where every one of these runs would have met every requirement, 1 where one falls short,
    3 where one cannot tell, 2 where one cannot be read.

    \b
    Example:
      python -m simulation gate journals/ --set max_workers=20 --require "success_rate>=0.99"
    """
    from simulation.render.gate import show_gate  # noqa: PLC0415  # start-up time
    from simulation.whatif.gate import gate as hold  # noqa: PLC0415

    with Progress("journals") as progress:
        answer = hold(folder, require, changes=changes, progress=progress, **asked)
    if as_json:
        print_json(answer)
    else:
        show_gate(console(), answer)
    for held in answer.journals:
        if held.state == answer.state and held.state in ("broken", "cannot tell"):
            word = "error" if held.state == "broken" else "refused"
            warn(f"{word}: {held.path}: {held.reason}")
            break
    return _CODES[answer.state]
