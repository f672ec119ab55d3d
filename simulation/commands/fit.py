"""``fit JOURNAL -o SCENARIO.toml``: a scenario from a recording."""

from __future__ import annotations

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    console,
    force_option,
    json_option,
    print_json,
    processes_option,
    runs_option,
    seed_option,
    warn,
    write_file,
)
from simulation.commands.progress import Progress

__all__ = ["fit"]


@click.command()
@click.argument("journal")
@click.option(
    "-o", "output", metavar="SCENARIO.toml", required=True, help="The file that is written."
)
@runs_option
@seed_option
@processes_option
@force_option
@json_option
def fit(
    journal: str,
    output: str,
    runs: int | None,
    seed: int,
    processes: int | None,
    force: bool,
    as_json: bool,
) -> int:
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
    from simulation.replay import NondeterminismError  # noqa: PLC0415
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415

    if not output.endswith(".toml"):
        raise click.UsageError(f"-o {output}: a scenario's name ends with .toml")
    try:
        with Progress() as progress:
            answer = fit_journal(
                journal,
                runs=runs,
                seed=seed,
                force=force,
                processes=processes,
                progress=progress,
            )
    except DishonestError as error:
        warn(f"refused: {error} (--force writes it anyway)")
        return REFUSED
    except NondeterminismError as error:
        warn(f"{error}; replay it to see the difference")
        return FAILED
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
