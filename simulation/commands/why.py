"""``why JOURNAL``: where each task's time went, and why the slowest was late."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    console,
    json_option,
    parse_changes,
    print_json,
    seed_option,
    warn,
)

__all__ = ["why"]


@click.command()
@click.argument("journal")
@click.option("--task", "wanted", metavar="ID|NAME", help="Tell of this task, not of the slowest.")
@click.option(
    "--set",
    "changes",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Tell of the run that another setting would have given; may be given more than once.",
)
@click.option(
    "--tasks",
    "count",
    type=click.IntRange(1),
    default=10,
    help="How many of the slowest tasks to list; by default 10. --json has all.",
)
@seed_option
@click.option("--force", is_flag=True, help="Answer also where the answer would not be honest.")
@json_option
def why(
    journal: str,
    wanted: str | None,
    changes: Sequence[str],
    count: int,
    seed: int,
    force: bool,
    as_json: bool,
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
    from simulation.replay import NondeterminismError, replay  # noqa: PLC0415  # start-up time
    from simulation.timeline.find import find_task  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415  # start-up time
    from simulation.whatif.settings import check_names  # noqa: PLC0415  # start-up time
    from simulation.whatif.timed import recorded_run, simulated_run  # noqa: PLC0415

    parsed = parse_changes(changes)
    check_names(parsed)
    read = read_journal(journal)
    if read.warning:
        warn(read.warning)
    try:
        replay(read).raise_for_divergence()
        if parsed:
            name = ", ".join(f"{field}={value}" for field, value in parsed.items())
            run = simulated_run(read, name, parsed, seed=seed, force=force)
        else:
            run = recorded_run(read)
    except DishonestError as error:
        warn(f"refused: {error} (--force answers anyway)")
        return REFUSED
    except NondeterminismError as error:
        warn(f"error: {error}")
        return FAILED
    if not run.timeline.tasks:
        raise ValueError(f"{read.path}: no task was submitted in it")
    task = None if wanted is None else find_task(run.timeline, wanted, read.header.prefix)
    told = describe(run, read, task, parsed)
    if as_json:
        print_json(told)
    else:
        show_why(console(), told, count)
    return FINE
