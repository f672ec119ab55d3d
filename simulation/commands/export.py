"""``export JOURNAL``: a run for another tool."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    json_option,
    parse_changes,
    print_json,
    seed_option,
    warn,
    write_file,
)

__all__ = ["export"]


@click.command()
@click.argument("journal")
@click.option("--to", type=click.Choice(["openmetrics"]), required=True, help="The format.")
@click.option("-o", "--output", required=True, help="The file to write.")
@click.option(
    "--variant",
    "variants",
    metavar="FIELD=VALUE[,FIELD=VALUE...]",
    multiple=True,
    help="Export what another setting would have done, too; may be given more than once.",
)
@click.option("--instance", default="recorded", help="What the recorded run is called.")
@click.option(
    "--every",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="SECONDS",
    help="How far apart samples lie; by default about 120 a run.",
)
@click.option(
    "--at",
    type=click.FloatRange(0, 1e11),
    default=None,
    metavar="EPOCH",
    help="When the runs began, in epoch seconds, if not when they did.",
)
@seed_option
@click.option("--force", is_flag=True, help="Export also variants that would not be honest.")
@json_option
def export(
    journal: str,
    to: str,
    output: str,
    variants: Sequence[str],
    instance: str,
    every: float | None,
    at: float | None,
    seed: int,
    force: bool,
    as_json: bool,
) -> int:
    """Write JOURNAL's run for another tool, and what-if variants of it beside it.

    openmetrics is for Prometheus and Grafana: each run is an instance of its own, at the instants
    of the recorded one. A run of a SimulatedWorkerPool began in 1970, unless --at says otherwise.

    \b
    Example:
      python -m simulation export run.jsonl --to openmetrics -o run.om --variant max_workers=20
      promtool tsdb create-blocks-from openmetrics run.om data
    """
    from simulation.exports.openmetrics import export_openmetrics  # noqa: PLC0415  # start-up time
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415  # start-up time
    from simulation.whatif.settings import check_names  # noqa: PLC0415  # start-up time

    wanted = [(text, parse_changes(text.split(","), "--variant")) for text in variants]
    for _, changes in wanted:
        check_names(changes)
    try:
        data = export_openmetrics(
            journal,
            wanted,
            instance=instance,
            every_seconds=every,
            at_seconds=at,
            seed=seed,
            force=force,
        )
    except DishonestError as error:
        warn(f"refused: {error} (--force exports it anyway)")
        return REFUSED
    except NondeterminismError as error:
        warn(f"error: {error}")
        return FAILED
    write_file(output, data)
    names = [instance, *(text for text, _ in wanted)]
    if as_json:
        print_json({"path": output, "format": to, "instances": names, "bytes": len(data)})
    else:
        click.echo(f"{output}: {len(data):,} bytes, instances {', '.join(names)}")
    return FINE
