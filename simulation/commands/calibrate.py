"""``calibrate``: what this machine costs, for what-ifs about tasks that compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.files import write_file
from simulation.commands import options
from simulation.commands.common import FINE, beside, print_json, warn
from simulation.commands.progress import Progress

if TYPE_CHECKING:
    from simulation.machine.calibration import Calibration

__all__ = ["calibrate"]


@click.command(short_help="Measure what this machine costs.")
@options.output("The file to write, for --calibration.", required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 600),
    metavar="SECONDS",
    default=4.0,
    show_default=True,
    help="About how long it may take.",
)
@options.as_json
def calibrate(output: str | None, seconds: float, as_json: bool) -> int:
    """Measure this machine: what a task, a switch and a sleep cost, how computing scales.

    A what-if about tasks that compute takes these into account with --calibration. Run it on the
    machine where the journal was recorded, while nothing else runs there.

    \b
    Example:
      python -m simulation calibrate -o machine.json
      python -m simulation replay run.jsonl --set max_workers=20 --calibration machine.json
    """
    import msgspec  # noqa: PLC0415  # start-up time

    from simulation.machine.measure import calibrate as measure  # noqa: PLC0415  # start-up time

    with Progress("measurements") as progress:
        found = measure(seconds=seconds, progress=progress)
    if output is not None:
        write_file(output, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    with beside(output or ""):
        if as_json:
            print_json(found)
        else:
            _show(found, output)
    return FINE


def _show(found: Calibration, output: str | None) -> None:
    lock = "a GIL" if found.gil else "no GIL"
    click.echo(f"{found.python}, {found.cores} cores, {lock}")
    for text, ns in (
        ("the pool computes for a task, with its journal", found.pool_ns),
        ("from the decision to start a task to its first line", found.handover_ns),
        ("to hand over from one thread to another", found.switch_ns),
        ("a sleep is over later than asked by", found.timer_lag_ns),
    ):
        click.echo(f"{ns / 1e3:9,.1f} µs  {text}")
    scaling = ", ".join(f"{threads}: {done:.2f}" for threads, done in found.scaling.items())
    click.echo(f"threads that compute, and what they get done together: {scaling}")
    if found.busy:
        warn(f"the machine was busy (load {found.load:g}): calibrate again when nothing else runs")
    if output is not None:
        click.echo(f"written to {output}")
