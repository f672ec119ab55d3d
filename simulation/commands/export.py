"""``export JOURNAL``: a run for another tool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
@click.option(
    "--to",
    type=click.Choice(["html", "chrome", "otlp", "openmetrics"]),
    required=True,
    help="The format.",
)
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
    help="openmetrics: how far apart samples lie; by default about 120 a run.",
)
@click.option(
    "--at",
    type=click.FloatRange(0, 1e11),
    default=None,
    metavar="EPOCH",
    help="openmetrics, otlp: when the runs began, in epoch seconds, if not when they did.",
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

    html is one page that opens offline: why the slowest task was late, a timeline, variants over
    each other. chrome is a trace for Perfetto or speedscope. otlp is spans, as JSON lines, without
    variants. openmetrics is for Prometheus and Grafana: each run is an instance of its own, at the
    instants of the recorded one. A run of a SimulatedWorkerPool began in 1970, unless --at says
    otherwise.

    \b
    Example:
      python -m simulation export run.jsonl --to html -o run.html --variant max_workers=20
      python -m simulation export run.jsonl --to openmetrics -o run.om --variant max_workers=20
      promtool tsdb create-blocks-from openmetrics run.om data
    """
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415  # start-up time
    from simulation.whatif.settings import check_names  # noqa: PLC0415  # start-up time

    wanted = [(text, parse_changes(text.split(","), "--variant")) for text in variants]
    for _, changes in wanted:
        check_names(changes)
    if to not in ("openmetrics",) and every is not None:
        raise click.UsageError(f"--every: {to} has no samples")
    if to not in ("openmetrics", "otlp") and at is not None:
        raise click.UsageError(f"--at: {to} counts from the run's first submission")
    if to == "otlp" and wanted:
        raise click.UsageError(
            "--variant: otlp has the recorded run alone; export variants as html"
        )
    try:
        data = _make(journal, to, wanted, instance, every, at, seed, force)
    except DishonestError as error:
        warn(f"refused: {error} (--force exports it anyway)")
        return REFUSED
    except NondeterminismError as error:
        warn(f"error: {error}")
        return FAILED
    write_file(output, data)
    names = [instance, *(text for text, _ in wanted)]
    document: dict[str, Any] = {"path": output, "format": to, "instances": names}
    document["bytes"] = len(data)
    if to == "openmetrics":
        from simulation.exports.openmetrics import samples_of  # noqa: PLC0415  # start-up time

        first, last, apart = samples_of(data)
        document |= {"from_seconds": first, "to_seconds": last, "every_seconds": apart}
    if as_json:
        print_json(document)
    else:
        click.echo(f"{output}: {len(data):,} bytes, instances {', '.join(names)}")
    return FINE


def _make(
    journal: str,
    to: str,
    variants: list[tuple[str, dict[str, Any]]],
    instance: str,
    every: float | None,
    at: float | None,
    seed: int,
    force: bool,
) -> bytes:
    """The file in its format; each is imported when it is asked for."""
    if to == "openmetrics":
        from simulation.exports.openmetrics import export_openmetrics  # noqa: PLC0415

        return export_openmetrics(
            journal,
            variants,
            instance=instance,
            every_seconds=every,
            at_seconds=at,
            seed=seed,
            force=force,
        )
    from runtime.journal import read_journal  # noqa: PLC0415
    from simulation.replay import replay  # noqa: PLC0415

    read = read_journal(journal)
    if read.warning:
        warn(read.warning)
    found = replay(read)
    found.raise_for_divergence()
    if not found.tasks:
        raise ValueError(f"{read.path}: no task was submitted in it: there is nothing to export")
    if to == "otlp":
        from simulation.exports.otlp import export_otlp  # noqa: PLC0415

        return export_otlp(read, instance=instance, at_seconds=at)
    if to == "chrome":
        from simulation.exports.chrome import export_chrome  # noqa: PLC0415

        return export_chrome(read, variants, instance=instance, seed=seed, force=force)
    from simulation.exports.html import export_html  # noqa: PLC0415

    return export_html(read, variants, instance=instance, seed=seed, force=force)
