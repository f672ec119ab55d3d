"""``explore SCENARIO``: search for a schedule that fails."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands import options
from simulation.commands.common import FAILED, FINE, print_json
from simulation.commands.progress import Progress

__all__ = ["explore"]


@click.command()
@click.argument("scenario")
@click.option("--schedules", type=click.IntRange(1), default=1_000, help="How many to run at most.")
@click.option("--seed", type=options.seed_type, default=0, help="Seed of the search.  [0]")
@click.option(
    "--strategy",
    type=click.Choice(["random", "pct", "systematic"]),
    help="One only; by default all three, in turn.",
)
@click.option("--fault", "faults", multiple=True, help="Only this one; may be given several times.")
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
