"""``export JOURNAL``: a run for another tool."""

from __future__ import annotations

from typing import Any, Unpack

import click

from runtime.files import write_file
from simulation.commands import options
from simulation.commands.common import FINE, beside, check_not_read, print_json, warn

__all__ = ["export"]


@click.command(short_help="Write a run as a page, a trace, spans or metrics.")
@click.argument("journal")
@click.option(
    "--to",
    type=click.Choice(["html", "chrome", "otlp", "openmetrics"]),
    required=True,
    help="The format.",
)
@options.output("The file to write.")
@click.option(
    "--variant",
    "variants",
    metavar="FIELD=VALUE[,FIELD=VALUE...]",
    multiple=True,
    callback=lambda ctx, param, given: [
        (text, options.parse_changes(text.split(","), "--variant")) for text in given
    ],
    help="Export what another setting would have done, too; may be given more than once.",
)
@click.option(
    "--instance",
    metavar="NAME",
    default="recorded",
    show_default=True,
    help="What the recorded run is called.",
)
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
    help="openmetrics, otlp: let the runs begin then, in epoch seconds, not when they did.",
)
@options.seed
@options.force
@options.met
@options.as_json
def export(
    journal: str,
    to: str,
    output: str,
    variants: list[tuple[str, dict[str, Any]]],
    instance: str,
    every: float | None,
    at: float | None,
    seed: int,
    force: bool,
    as_json: bool,
    **met: Unpack[options.Met],
) -> int:
    """Write JOURNAL's run for another tool, and what-if variants of it beside it.

    html is one page that opens offline: why the slowest task was late, a timeline, variants over
    each other. chrome is a trace for Perfetto or speedscope. otlp is spans, as JSON lines, without
    variants. openmetrics is for Prometheus and Grafana: each run is an instance of its own, at the
    instants of the recorded one. A run of a SimulatedWorkerPool began in 1970, unless --at says
    otherwise. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation export run.jsonl --to html -o run.html --variant max_workers=20
      python -m simulation export run.jsonl --to openmetrics -o run.om --variant max_workers=20
      promtool tsdb create-blocks-from openmetrics run.om data
    """
    if to not in ("openmetrics",) and every is not None:
        raise click.UsageError(f"--every: {to} has no samples")
    if to not in ("openmetrics", "otlp") and at is not None:
        raise click.UsageError(f"--at: {to} counts from the run's first submission")
    if to == "otlp" and variants:
        raise click.UsageError(
            "--variant: otlp has the recorded run alone; export variants as html"
        )
    for option, given in (("--calibration", met["calibration"]), ("--backend", met["backends"])):
        if given and not variants:
            raise click.UsageError(f"{option}: goes with --variant")
    check_not_read(output, journal)
    data = _make(journal, to, variants, instance, every, at, {"seed": seed, "force": force, **met})
    write_file(output, data)
    names = [instance, *(text for text, _ in variants)]
    document: dict[str, Any] = {"path": output, "format": to, "instances": names}
    document["bytes"] = len(data)
    if to == "openmetrics":
        from simulation.exports.openmetrics import samples_of  # noqa: PLC0415  # start-up time

        first, last, apart = samples_of(data)
        document |= {"from_seconds": first, "to_seconds": last, "every_seconds": apart}
    with beside(output):
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
    asked: dict[str, Any],
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
            **asked,
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

        return export_chrome(read, variants, instance=instance, **asked)
    from simulation.exports.html import export_html  # noqa: PLC0415

    return export_html(read, variants, instance=instance, **asked)
