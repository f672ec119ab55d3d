"""``why JOURNAL``: where each task's time went, and why the slowest was late."""

from __future__ import annotations

from typing import Any, Unpack

import click

from simulation.commands import options
from simulation.commands.common import FINE, console, print_json, warn

__all__ = ["why"]


@click.command(short_help="Say why the slowest task was late.")
@click.argument("journal")
@click.option(
    "--task",
    "wanted",
    metavar="ID|NAME",
    help="Tell of this task, not of the slowest; its id, name or number.",
)
@options.changes("Tell of the run that another setting would have given")
@click.option(
    "--tasks",
    "count",
    type=click.IntRange(1),
    metavar="N",
    default=10,
    show_default=True,
    help="How many of the slowest tasks to list; --json has all.",
)
@options.seed
@options.force
@options.met
@options.as_json
def why(
    journal: str,
    wanted: str | None,
    changes: dict[str, Any],
    count: int,
    seed: int,
    force: bool,
    as_json: bool,
    **met: Unpack[options.Met],
) -> int:
    """Say why the slowest task of JOURNAL was late, and what the run's end hung on.

    Each task's time is split into queue, limits, backoff and running; they add up to the
    nanosecond. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation why run.jsonl
      python -m simulation why run.jsonl --task Q017
      python -m simulation why run.jsonl --set max_workers=20
    """
    from runtime.journal import read_journal  # noqa: PLC0415  # start-up time
    from simulation.render.why import describe, show_why  # noqa: PLC0415  # start-up time
    from simulation.replay import replay  # noqa: PLC0415  # start-up time
    from simulation.timeline.find import find_task  # noqa: PLC0415  # start-up time
    from simulation.whatif.timed import recorded_run, simulated_run  # noqa: PLC0415

    if met["calibration"] is not None and not (changes or met["backends"]):
        raise click.UsageError("--calibration: goes with --set or --backend")
    read = read_journal(journal)
    if read.warning:
        warn(read.warning)
    replay(read).raise_for_divergence()
    if changes or met["backends"]:
        name = ", ".join(f"{field}={value}" for field, value in changes.items())
        name = name or f"--backend {met['backends']}"
        run = simulated_run(read, name, changes, seed=seed, force=force, runs=1, **met)
    else:
        run = recorded_run(read)
    if not run.timeline.tasks:
        raise ValueError(f"{read.path}: no task was submitted in it")
    task = None
    if wanted is not None:
        task, note = find_task(run.timeline, wanted, read.header.prefix)
        if note:
            warn(note)
    told = describe(run, read, task, changes)
    if as_json:
        print_json(told)
    else:
        show_why(console(), told, count)
    return FINE
