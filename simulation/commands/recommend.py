"""``recommend JOURNAL|SCENARIO --target MEASURE<NUMBER``: the cheapest setting that meets it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    arrivals_option,
    backend_option,
    calibration_option,
    console,
    force_option,
    json_option,
    open_calibration,
    parse_changes,
    parse_grid,
    print_json,
    processes_option,
    runs_option,
    seed_option,
    set_option,
    warn,
)
from simulation.commands.progress import Progress

__all__ = ["recommend"]


@click.command()
@click.argument("work", metavar="JOURNAL|SCENARIO")
@click.option(
    "--target",
    "targets",
    metavar="MEASURE<NUMBER",
    multiple=True,
    required=True,
    help="What the next run must meet, with <, <=, > or >=; quote it. May be given more than once.",
)
@click.option(
    "--minimize", metavar="FIELD", default="max_workers", help="What is to be small.  [max_workers]"
)
@click.option(
    "--over",
    metavar="FIELD=VALUES",
    multiple=True,
    help="What may be chosen: LOW:HIGH[:STEP] or 10,20,50.  [max_workers=1:number of tasks]",
)
@set_option("Change a field in every setting; may be given more than once.")
@arrivals_option
@runs_option
@seed_option
@processes_option
@force_option
@calibration_option
@backend_option
@json_option
def recommend(
    work: str,
    targets: Sequence[str],
    minimize: str,
    over: Sequence[str],
    changes: Sequence[str],
    arrivals: str,
    runs: int | None,
    seed: int,
    processes: int | None,
    force: bool,
    calibration: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    """Find the cheapest setting with which the next run meets every target.

    It is confirmed on fresh seeds. Exit 1 where no setting meets the targets; the line on standard
    error says what came nearest. JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation recommend run.jsonl --target "task_seconds_p95<30"
      python -m simulation recommend examples/outage.toml --target "makespan_seconds<60" \\
          --target "success_rate>=0.99" --minimize max_workers --over max_workers=1:100
    """
    from simulation.render.recommend import show_recommendation, unmet_line  # noqa: PLC0415
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415
    from simulation.whatif.recommend import recommend as find  # noqa: PLC0415

    values = parse_grid(over, "--over")
    common = parse_changes(changes)
    try:
        with Progress() as progress:
            answer = find(
                work,
                targets,
                minimize=minimize,
                over=values,
                changes=common,
                runs=runs,
                seed=seed,
                force=force,
                processes=processes,
                progress=progress,
                arrivals=arrivals,
                calibration=open_calibration(calibration),
                backends=backend or (),
            )
    except DishonestError as error:
        warn(f"refused: {error} (--force answers anyway)")
        return REFUSED
    except NondeterminismError as error:
        warn(f"{error}; replay it to see the difference")
        return FAILED
    if as_json:
        print_json(answer)
    else:
        show_recommendation(console(), answer)
    if answer.found is None:
        warn(unmet_line(answer))
        return FAILED
    return FINE
