"""``replay JOURNAL``: exactly, or with ``--set`` under another setting."""

from __future__ import annotations

from collections.abc import Sequence

import click

from simulation.commands.common import (
    FAILED,
    FINE,
    REFUSED,
    arrivals_option,
    calibration_option,
    console,
    json_option,
    open_calibration,
    parse_changes,
    print_json,
    progress,
    runs_option,
    seed_option,
    warn,
)

__all__ = ["replay"]


@click.command()
@click.argument("journal")
@click.option(
    "--set",
    "changes",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Ask what another setting would have done; may be given more than once.",
)
@arrivals_option
@runs_option
@seed_option
@click.option("--force", is_flag=True, help="Answer also where the answer would not be honest.")
@calibration_option
@click.option(
    "--backend",
    metavar="FILE",
    default=None,
    help="What tasks call, declared in TOML; new ones are part of the changed setting.",
)
@click.option("--check", is_flag=True, help="Verify the core's invariants after each step.")
@json_option
def replay(
    journal: str,
    changes: Sequence[str],
    arrivals: str,
    runs: int | None,
    seed: int,
    force: bool,
    calibration: str | None,
    backend: str | None,
    check: bool,
    as_json: bool,
) -> int:
    """Replay JOURNAL exactly; with --set or --backend, simulate it again under another setting.

    JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation replay run.jsonl
      python -m simulation replay run.jsonl --set max_workers=20 --set task_timeout_seconds=60
    """
    if changes or arrivals not in ("auto", "recorded") or backend is not None:
        return _what_if(
            journal, changes, arrivals, runs, seed, force, calibration, backend, as_json
        )
    if calibration is not None:
        raise click.UsageError("--calibration: an exact replay needs none; it goes with --set")
    from simulation.replay import replay as replay_journal  # noqa: PLC0415  # start-up time

    found = replay_journal(journal, check=check)
    read = found.journal
    if read.warning:
        warn(read.warning)
    if as_json:
        print_json(
            {
                "journal": {
                    "path": read.path,
                    "tasks": found.tasks,
                    "stimuli": len(read.records),
                    "complete": read.complete,
                },
                "divergence": found.divergence,
                "digest": read.digest,
            }
        )
    else:
        from simulation.render.replay import show_replay  # noqa: PLC0415  # start-up time

        show_replay(console(), found)
    return FINE if found.divergence is None else FAILED


def _what_if(
    journal: str,
    changes: Sequence[str],
    arrivals: str,
    runs: int | None,
    seed: int,
    force: bool,
    calibration: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415
    from simulation.whatif.predict import what_if  # noqa: PLC0415
    from simulation.whatif.settings import check_names  # noqa: PLC0415

    wanted = parse_changes(changes)
    check_names(wanted)
    refusal = None
    try:
        answer = what_if(
            journal,
            runs=runs,
            seed=seed,
            force=force,
            progress=progress,
            arrivals=arrivals,
            calibration=open_calibration(calibration),
            backends=backend or (),
            **wanted,
        )
    except DishonestError as error:
        answer, refusal = error.answer, str(error)
    except NondeterminismError as error:
        warn(f"{error}; replay it without --set to see the difference")
        return FAILED
    if as_json and refusal is None:
        print_json(
            {
                "fidelity": answer.fidelity,
                "baseline": answer.baseline,
                "variant": answer.variant,
                "difference": answer.difference,
                "changes": answer.changes,
                "runs": answer.runs,
                "seed": answer.seed,
                "tasks": answer.tasks,
                "notes": answer.notes,
                "span": answer.span,
                "contention": answer.contention,
                "backends": answer.backends,
                "arrivals": answer.coming,
            }
        )
    elif refusal is None:
        from simulation.render.whatif import show_what_if  # noqa: PLC0415  # start-up time

        show_what_if(console(), answer)
    if refusal is not None:
        warn(f"refused: {refusal} (--force answers anyway)")
        return REFUSED
    return FINE
