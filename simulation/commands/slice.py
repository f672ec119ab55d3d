"""``slice JOURNAL``: one task's incident as a test."""

from __future__ import annotations

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    json_option,
    print_json,
    warn,
    write_file,
)

__all__ = ["slice"]


@click.command()
@click.argument("journal")
@click.option("--task", required=True, metavar="ID", help="Its id, its number, or its name.")
@click.option("-o", "--output", required=True, help="The test to write, such as test_incident.py.")
@click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Seed of the test's pool."
)
@json_option
def slice(journal: str, task: str, output: str, seed: int, as_json: bool) -> int:  # noqa: A001  # its name
    """Write what happened to one task of JOURNAL as a small test on virtual time.

    The test keeps for each attempt how it ended, why, and whether it waited long for a worker;
    attempts in a row that went alike are told once. All else is taken away as far as it goes:
    other tasks, workers, settings, digits. It needs nothing but pytest and this project.

    \b
    Example:
      python -m simulation slice run.jsonl --task Q017 -o test_incident.py
      python -m pytest test_incident.py
    """
    from simulation.incidents import CannotSliceError, slice_journal  # noqa: PLC0415  # start-up
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.timeline.names import shown  # noqa: PLC0415  # start-up time

    try:
        made = slice_journal(journal, task, seed)
    except CannotSliceError as error:
        warn(f"refused: {error}")
        return REFUSED
    except NondeterminismError as error:
        warn(f"error: {error}; replay it to see the difference")
        return FAILED
    write_file(output, made.source.encode())
    if as_json:
        print_json(
            {
                "journal": made.path,
                "task": {"id": made.task_id, "name": made.task_name},
                "recorded": {"tasks": made.recorded_tasks, "attempts": made.recorded_attempts},
                "kept": {"tasks": made.tasks, "attempts": made.attempts},
                "plot": made.plot,
                "seed": seed,
                "path": output,
            }
        )
        return FINE
    click.echo(
        f"{output}: task {made.task_id} ({shown(made.task_name)}); kept {made.tasks} of "
        f"{made.recorded_tasks:,} tasks and {made.attempts} of {made.recorded_attempts} attempts"
    )
    for number, attempt in enumerate(made.plot, 1):
        click.echo(f"  {number}. {', '.join(attempt)}")
    click.echo(f"run it: python -m pytest {output}")
    return FINE
