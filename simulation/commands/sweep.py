"""``sweep JOURNAL|SCENARIO --vary FIELD=VALUES``: a grid of settings on the same work."""

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

__all__ = ["sweep"]


@click.command()
@click.argument("work", metavar="JOURNAL|SCENARIO")
@click.option(
    "--vary",
    metavar="FIELD=VALUES",
    multiple=True,
    required=True,
    help="A field and its values: 10,20,50 or LOW:HIGH[:STEP]; several make a grid.",
)
@set_option("Change a field in every cell; may be given more than once.")
@click.option(
    "--best",
    metavar="MEASURE",
    default="makespan_seconds",
    help="The measure by which cells are judged.  [makespan_seconds]",
)
@arrivals_option
@runs_option
@seed_option
@processes_option
@force_option
@calibration_option
@backend_option
@json_option
def sweep(
    work: str,
    vary: Sequence[str],
    changes: Sequence[str],
    best: str,
    arrivals: str,
    runs: int | None,
    seed: int,
    processes: int | None,
    force: bool,
    calibration: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    """Run a grid of settings on the same work with the same luck.

    Each cell is compared with the recorded setting (of a scenario: with the first cell), and that
    is adjusted for their number; the best is run again on fresh seeds. JOURNAL may be - for
    standard input.

    \b
    Example:
      python -m simulation sweep run.jsonl --vary max_workers=10,20,50
      python -m simulation sweep examples/outage.toml --vary jitter=none,full,equal,decorrelated \\
          --vary max_retries=1:5 --best success_rate
    """
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415
    from simulation.whatif.sweep import Sweep  # noqa: PLC0415
    from simulation.whatif.sweep import sweep as run_sweep  # noqa: PLC0415

    values = parse_grid(vary, "--vary")
    refusal = None
    try:
        with Progress() as progress:
            answer: Sweep | None = run_sweep(
                work,
                values,
                changes=parse_changes(changes),
                best=best,
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
        answer, refusal = error.answer, str(error)
    except NondeterminismError as error:
        warn(f"{error}; replay it to see the difference")
        return FAILED
    if answer is not None:
        if as_json:
            print_json(answer)
        else:
            from simulation.render.sweep import show_sweep  # noqa: PLC0415  # start-up time

            show_sweep(console(), answer)
    if refusal is not None:
        warn(f"refused: {refusal} (--force answers anyway)")
        return REFUSED
    return FINE
