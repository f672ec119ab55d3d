"""``slice JOURNAL``: one task's incident as a test."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from runtime.files import write_file
from simulation.commands import options
from simulation.commands.common import FINE, beside, check_not_read, print_json, warn

__all__ = ["slice"]


@click.command(short_help="Write one task's story as a small test.")
@click.argument("journal")
@click.option("--task", required=True, metavar="ID|NAME", help="Its id, name or number.")
@options.output("The test to write, such as test_incident.py.")
@options.seeded("Seed of the test's pool, for jitter.")
@click.option("--overwrite", is_flag=True, help="Write over another test that is there.")
@options.as_json
def slice(  # noqa: A001  # its name
    journal: str, task: str, output: str, seed: int, overwrite: bool, as_json: bool
) -> int:
    """Write what happened to one task of JOURNAL as a small test on virtual time.

    The test keeps for each attempt how it ended, why, and whether it waited long for a worker;
    attempts in a row that went alike are told once. All else is taken away as far as it goes:
    other tasks, workers, settings, digits. It needs nothing but pytest and this
    project. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation slice run.jsonl --task Q017 -o test_incident.py
      python -m pytest test_incident.py
    """
    from simulation.incidents import slice_journal  # noqa: PLC0415  # start-up time
    from simulation.timeline.names import shown  # noqa: PLC0415  # start-up time

    check_not_read(output, journal)
    made = slice_journal(journal, task, seed)
    if made.note:
        warn(made.note)
    source = made.source.encode()
    if not overwrite:
        _check_not_edited(output, source)
    write_file(output, source)
    with beside(output):
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
            f"{made.recorded_tasks:,} tasks and {made.attempts} of {made.recorded_attempts} "
            f"attempts"
        )
        for number, attempt in enumerate(made.plot, 1):
            click.echo(f"  {number}. {', '.join(attempt)}")
        click.echo(f"run it: python -m pytest {output}")
    return FINE


def _check_not_edited(output: str, source: bytes) -> None:
    """A slice is meant to be edited, and what somebody wrote is not written over unasked."""
    path = Path(output)
    with contextlib.suppress(OSError):
        if path.is_file() and path.read_bytes() not in {b"", source}:
            raise click.UsageError(
                f"-o {output}: is there already, and is another test; give another name, or "
                f"--overwrite to write over it"
            )
