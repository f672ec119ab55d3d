"""``explore SCENARIO``: search for a schedule that fails."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands import options
from simulation.commands.common import FAILED, FINE, print_json
from simulation.commands.progress import Progress

__all__ = ["explore"]


@click.command(short_help="Search for a schedule that fails.")
@click.argument("scenario")
@click.option(
    "--schedules",
    type=click.IntRange(1),
    metavar="N",
    default=1_000,
    show_default=True,
    help="How many to run at most.",
)
@options.seeded("Seed of the search.")
@click.option(
    "--strategy",
    type=click.Choice(["random", "pct", "systematic"]),
    help="This strategy only; by default all three, in turn.",
)
@click.option(
    "--fault",
    "faults",
    metavar="NAME",
    multiple=True,
    help="Only this fault, not all; may be given more than once.",
)
@click.option("--replay", "token", metavar="TOKEN", help="Run exactly this schedule.")
@options.as_json
def explore(
    scenario: str,
    schedules: int,
    seed: int,
    strategy: str | None,
    faults: Sequence[str],
    token: str | None,
    as_json: bool,
) -> int:
    """Search SCENARIO, a TOML file or module:function, for a schedule that fails.

    \b
    Example:
      python -m simulation explore examples/outage.toml --schedules 100
    """
    from simulation.explore import command  # noqa: PLC0415  # start-up time

    with Progress("schedules") as progress:
        report = command.run_command(scenario, schedules, seed, strategy, faults, token, progress)
    if as_json:
        print_json(command.as_json(report))
    else:
        click.echo(command.show(scenario, report))
    return FINE if report.failure is None else FAILED
