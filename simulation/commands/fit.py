"""``fit JOURNAL -o SCENARIO.toml``: a scenario from a recording."""

from __future__ import annotations

from typing import Unpack

import click

from runtime.files import write_file
from simulation.commands import options
from simulation.commands.common import FINE, check_not_read, console, print_json
from simulation.commands.progress import Progress

__all__ = ["fit"]


@click.command(short_help="Make a scenario of a journal.")
@click.argument("journal")
@options.output("The scenario to write.", metavar="SCENARIO.toml")
@options.judged
@options.as_json
def fit(journal: str, output: str, as_json: bool, **asked: Unpack[options.Judged]) -> int:
    """Make a scenario that stands for JOURNAL, to be run, swept and changed by hand.

    Arrivals, durations and failures are fitted for each group, the fits are tested, and the
    scenario is run and held against the recording. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation fit run.jsonl -o run.toml
      python -m simulation run run.toml
    """
    from simulation.fit.fit import fit as fit_journal  # noqa: PLC0415  # start-up time
    from simulation.render.fit import show_fit  # noqa: PLC0415

    if not output.endswith(".toml"):
        raise click.UsageError(f"-o {output}: a scenario's name ends with .toml")
    check_not_read(output, journal)
    with Progress() as progress:
        answer = fit_journal(journal, progress=progress, **asked)
    write_file(output, answer.text.encode())
    if as_json:
        print_json(
            {
                "journal": answer.path,
                "scenario": output,
                "groups": answer.groups,
                "compared": answer.compared,
                "runs": answer.runs,
                "seed": answer.seed,
                "notes": answer.notes,
            }
        )
    else:
        show_fit(console(), answer, output)
    return FINE
