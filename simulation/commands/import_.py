"""``import TRACES -o JOURNAL``: spans as a recorded run."""

from __future__ import annotations

from typing import Any

import click

from simulation.commands import options
from simulation.commands.common import FINE, beside, print_json, warn

__all__ = ["import_"]


@click.command("import", short_help="Make a journal of spans.")
@click.argument("traces")
@options.output("The journal to write; one that is there is kept, with a number after its name.")
@click.option("--mapping", metavar="FILE", help="TOML: which span is a task, which an attempt.")
@click.option("--pool", metavar="PREFIX", help="The pool to take where the spans are of several.")
@options.changes("What the run's setting was, where it is known")
@options.as_json
def import_(
    traces: str,
    output: str,
    mapping: str | None,
    pool: str | None,
    changes: dict[str, Any],
    as_json: bool,
) -> int:
    """Make a journal of TRACES, spans in OTLP/JSON as the Collector's file exporter writes them.

    The spans are this pool's own or, with a mapping, anybody's. The journal replays exactly and is
    input for what-ifs. TRACES may be - for standard input.

    \b
    Example:
      python -m simulation import spans.jsonl -o run.jsonl
      python -m simulation import http.jsonl -o run.jsonl --mapping http.toml --set max_workers=20
    """
    from simulation.imports.mapping import OWN, read_mapping  # noqa: PLC0415  # start-up time
    from simulation.imports.run import run_work, write_imported  # noqa: PLC0415
    from simulation.imports.settings import settings_of  # noqa: PLC0415
    from simulation.imports.spans import read_spans  # noqa: PLC0415
    from simulation.imports.work import read_work  # noqa: PLC0415

    chosen = OWN if mapping is None else read_mapping(mapping)
    work = read_work(traces, read_spans(traces), chosen, pool)
    settings, inferred = settings_of(work, changes)
    imported = run_work(traces, work, settings, inferred)
    kept = write_imported(output, imported)
    attempts = sum(len(task.attempts) for task in work.tasks)
    unfinished = imported.run.unfinished
    if kept is not None:
        warn(f"the file that was at {output} is now {kept}")
    if unfinished:
        warn(f"{unfinished} tasks never end in the journal: nobody saw their attempts end")
    with beside(output):
        if as_json:
            print_json(
                {
                    "path": output,
                    "tasks": len(work.tasks),
                    "attempts": attempts,
                    "fidelity": {
                        "makespan_error": imported.makespan_error,
                        "recorded_makespan_seconds": imported.recorded_makespan_seconds,
                        "simulated_makespan_seconds": imported.simulated_makespan_seconds,
                        "start_error_seconds": imported.start_error_seconds,
                    },
                    "settings": settings,
                    "inferred": inferred,
                    "notes": work.notes,
                    "origin": imported.header.origin,
                }
            )
            return FINE
        click.echo(f"{output}: {len(work.tasks):,} tasks, {attempts:,} attempts")
        click.echo(
            f"the spans take {imported.recorded_makespan_seconds:,.3f} s, the journal "
            f"{imported.simulated_makespan_seconds:,.3f} s: an error of "
            f"{imported.makespan_error:+.2%}; no attempt starts more than "
            f"{imported.start_error_seconds:.3g} s from its span"
        )
        for text in inferred:
            click.echo(f"inferred: {text}; --set says it otherwise")
        for text in work.notes:
            click.echo(f"note: {text}")
    return FINE
