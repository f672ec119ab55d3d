"""``replay JOURNAL``: exactly, or with ``--set`` under another setting."""

from __future__ import annotations

from typing import Any, Unpack

import click

from simulation.commands import options
from simulation.commands.common import FAILED, FINE, console, print_json, warn
from simulation.commands.progress import Progress

__all__ = ["replay"]


class _Asked(options.Met):
    changes: dict[str, Any]
    arrivals: str
    runs: int | None
    seed: int
    force: bool


@click.command(short_help="Replay a journal exactly, or under another setting.")
@click.argument("journal")
@options.changes("Ask what another setting would have done")
@options.arrivals
@options.runs
@options.seed
@options.force
@options.met
@click.option("--check", is_flag=True, help="Verify the core's invariants after each step.")
@options.as_json
def replay(journal: str, check: bool, as_json: bool, **asked: Unpack[_Asked]) -> int:
    """Replay JOURNAL exactly; with --set or --backend, simulate it again under another setting.

    JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation replay run.jsonl
      python -m simulation replay run.jsonl --set max_workers=20 --set task_timeout_seconds=60
    """
    if asked["changes"] or asked["arrivals"] != "recorded" or asked["backends"]:
        if check:
            raise click.UsageError("--check: goes with an exact replay, without --set")
        return _what_if(journal, as_json=as_json, **asked)
    if asked["calibration"] is not None:
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


def _what_if(journal: str, *, as_json: bool, changes: dict[str, Any], **asked: Any) -> int:
    from simulation.whatif.predict import what_if  # noqa: PLC0415  # start-up time

    with Progress() as progress:
        answer = what_if(journal, progress=progress, **asked, **changes)
    if as_json:
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
            }
        )
    else:
        from simulation.render.whatif import show_what_if  # noqa: PLC0415  # start-up time

        show_what_if(console(), answer)
    return FINE
