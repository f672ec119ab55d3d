"""``python -m simulation COMMAND``.

Exit codes: 0 fine; 1 a divergence or a failed check; 2 bad usage or bad input, told in one line on
standard error; 3 refused, because a prediction would not be honest.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from runtime.journal import JournalError

__all__ = ["main"]

FINE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3
#: Options of the same command, which somebody may take for settings.
_NOT_SET = ("seed", "runs", "force", "json")

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, nothing else.")
_seed = click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Seed of the first run."
)
_runs = click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    default=None,
    help="Replications; by default 1 where nothing is random, else 30.",
)


class _Commands(click.Group):
    """Suggests the nearest command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.commands, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.commands)}"
            raise click.UsageError(f"no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read us has gone: nobody is left to be told
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FINE
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"cannot write the answer: {error.strerror}") from None
        return code


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Replay recorded runs exactly, ask what another setting would have done, run scenarios.

    \b
    Example:
      python -m simulation replay run.jsonl
      python -m simulation replay run.jsonl --set max_workers=20
    """


@cli.command()
@click.argument("journal")
@click.option(
    "--set",
    "changes",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Ask what another setting would have done; may be given more than once.",
)
@_runs
@_seed
@click.option("--force", is_flag=True, help="Answer also where the answer would not be honest.")
@click.option("--check", is_flag=True, help="Verify the core's invariants after each step.")
@_json
def replay(
    journal: str,
    changes: Sequence[str],
    runs: int | None,
    seed: int,
    force: bool,
    check: bool,
    as_json: bool,
) -> int:
    """Replay JOURNAL exactly; with --set, simulate it again under another setting.

    JOURNAL may be - for standard input.

    \b
    Example:
      python -m simulation replay run.jsonl
      python -m simulation replay run.jsonl --set max_workers=20 --set task_timeout_seconds=60
    """
    if changes:
        return _what_if(journal, changes, runs, seed, force, as_json)
    from simulation.replay import replay as replay_journal  # noqa: PLC0415  # start-up time

    found = replay_journal(journal, check=check)
    read = found.journal
    if read.warning:
        _warn(read.warning)
    if as_json:
        _print_json(
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
        from simulation.render import show_replay  # noqa: PLC0415  # start-up time

        show_replay(_console(), found)
    return FINE if found.divergence is None else FAILED


def _what_if(
    journal: str,
    changes: Sequence[str],
    runs: int | None,
    seed: int,
    force: bool,
    as_json: bool,
) -> int:
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif import DishonestError, check_names, what_if  # noqa: PLC0415

    wanted = _parse(changes)
    check_names(wanted)
    refusal = None
    try:
        answer = what_if(journal, runs=runs, seed=seed, force=force, progress=_progress, **wanted)
    except DishonestError as error:
        answer, refusal = error.answer, str(error)
    except NondeterminismError as error:
        _warn(f"{error}; replay it without --set to see the difference")
        return FAILED
    if as_json and refusal is None:
        _print_json(
            {
                "fidelity": answer.fidelity,
                "baseline": answer.baseline,
                "variant": answer.variant,
                "difference": answer.difference,
                "changes": answer.changes,
                "runs": answer.runs,
                "seed": answer.seed,
            }
        )
    elif refusal is None:
        from simulation.render import show_what_if  # noqa: PLC0415  # start-up time

        show_what_if(_console(), answer)
    if refusal is not None:
        _warn(f"refused: {refusal} (--force answers anyway)")
        return REFUSED
    return FINE


@cli.command()
@click.argument("scenario")
@_runs
@_seed
@click.option("--force", is_flag=True, help="Answer also where some tasks never end.")
@_json
def run(scenario: str, runs: int | None, seed: int, force: bool, as_json: bool) -> int:
    """Simulate the synthetic workload of SCENARIO, a TOML file.

    \b
    Example:
      python -m simulation run examples/outage.toml --runs 100
    """
    from simulation.outcome import intervals, measure  # noqa: PLC0415  # start-up time
    from simulation.scenario import read_scenario  # noqa: PLC0415  # start-up time
    from simulation.simulate import simulate  # noqa: PLC0415  # start-up time
    from simulation.whatif import DEFAULT_RUNS  # noqa: PLC0415  # start-up time

    read = read_scenario(scenario)
    settings = read.config.core_settings()
    wanted = runs or (DEFAULT_RUNS if read.workload.random else 1)
    replications = []
    unfinished = 0
    for index in range(wanted):
        done = simulate(read.workload, settings, seed + index)
        replications.append(measure(done))
        unfinished = max(unfinished, done.unfinished)
        _progress(index + 1, wanted)
    outcome = intervals(replications)
    if not unfinished or force:
        if as_json:
            _print_json({**outcome, "runs": wanted, "seed": seed})
        else:
            from simulation.render import show_outcome  # noqa: PLC0415  # start-up time

            show_outcome(_console(), outcome, wanted, seed, random=read.workload.random)
    if unfinished and not force:
        _warn(
            f"refused: up to {unfinished} of {read.workload.tasks} tasks never end: attempts that "
            f"never return hold the workers, or there is no timeout; what the others come to would "
            f"mislead (--force answers anyway)"
        )
        return REFUSED
    return FINE


@cli.command()
@click.argument("journal")
@click.option("--to", type=click.Choice(["openmetrics"]), required=True, help="The format.")
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
    help="How far apart samples lie; by default about 120 a run.",
)
@click.option(
    "--at",
    type=click.FloatRange(0, 1e11),
    default=None,
    metavar="EPOCH",
    help="When the runs began, in epoch seconds, if not when they did.",
)
@_seed
@click.option("--force", is_flag=True, help="Export also variants that would not be honest.")
@_json
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

    openmetrics is for Prometheus and Grafana: each run is an instance of its own, at the instants
    of the recorded one. A run of a SimulatedWorkerPool began in 1970, unless --at says otherwise.

    \b
    Example:
      python -m simulation export run.jsonl --to openmetrics -o run.om --variant max_workers=20
      promtool tsdb create-blocks-from openmetrics run.om data
    """
    from simulation.export import export_openmetrics, write  # noqa: PLC0415  # start-up time
    from simulation.replay import NondeterminismError  # noqa: PLC0415  # start-up time
    from simulation.whatif import DishonestError, check_names  # noqa: PLC0415  # start-up time

    wanted = [(text, _parse(text.split(","), "--variant")) for text in variants]
    for _, changes in wanted:
        check_names(changes)
    try:
        data = export_openmetrics(
            journal,
            wanted,
            instance=instance,
            every_seconds=every,
            at_seconds=at,
            seed=seed,
            force=force,
        )
    except DishonestError as error:
        _warn(f"refused: {error} (--force exports it anyway)")
        return REFUSED
    except NondeterminismError as error:
        _warn(f"error: {error}")
        return FAILED
    write(output, data)
    names = [instance, *(text for text, _ in wanted)]
    if as_json:
        _print_json({"path": output, "format": to, "instances": names, "bytes": len(data)})
    else:
        click.echo(f"{output}: {len(data):,} bytes, instances {', '.join(names)}")
    return FINE


@cli.command()
@click.argument("scenario")
@click.option("--schedules", type=click.IntRange(1), default=1_000, help="How many to run at most.")
@_seed
@click.option(
    "--strategy",
    type=click.Choice(["random", "pct", "systematic"]),
    help="One only; by default all three, in turn.",
)
@click.option("--fault", "faults", multiple=True, help="Only this one; may be given several times.")
@click.option("--replay", "token", metavar="TOKEN", help="Run exactly this schedule.")
@_json
def explore(
    scenario: str,
    schedules: int,
    seed: int,
    strategy: str | None,
    faults: Sequence[str],
    token: str | None,
    as_json: bool,
) -> int:
    """Search SCENARIO, a TOML file or module:function, for a schedule that fails.

    \b
    Example:
      python -m simulation explore examples/outage.toml --schedules 100
    """
    from simulation.explore import command  # noqa: PLC0415  # start-up time

    report = command.run_command(scenario, schedules, seed, strategy, faults, token, _progress)
    if as_json:
        _print_json(command.as_json(report))
    else:
        click.echo(command.show(scenario, report))
    return FINE if report.failure is None else FAILED


# ---------------------------------------------------------------- input and output


def _parse(changes: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """``FIELD=VALUE`` as typed values; ``none`` is unlimited."""
    parsed: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise click.UsageError(f"{option} {change!r}: must be FIELD=VALUE")
        if name in _NOT_SET:
            raise click.UsageError(f"{option} {name}: no setting of a pool; the option is --{name}")
        if name in parsed:
            raise click.UsageError(f"{option} {name}: given more than once")
        parsed[name] = _value(text)
    return parsed


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _print_json(document: Any) -> None:
    import msgspec  # noqa: PLC0415  # start-up time

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415  # start-up time

    return Console()


def _progress(done: int, wanted: int) -> None:
    """Show on a terminal how far long work is; nothing in a pipe."""
    if wanted > 1 and sys.stderr.isatty():
        end = "\r" if done < wanted else "\r\033[K"
        text = f"{done} of {wanted} runs" if done < wanted else ""
        sys.stderr.write(text + end)
        sys.stderr.flush()


def _warn(message: str) -> None:
    click.echo(message, err=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        argv: the arguments; those of the process by default.
    """
    if sys.stdout is None or sys.stderr is None:
        sys.exit(BAD_INPUT)  # closed by whoever started us: there is nowhere to say so
    try:
        code = cli.main(args=argv, prog_name="python -m simulation", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = BAD_INPUT
    except click.ClickException as error:
        _warn(f"error: {error.format_message()}")
        code = BAD_INPUT
    except click.Abort:
        code = 130
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "scipy"):
            raise
        _warn(f"error: {error.name} is needed for intervals: pip install 'twinclock[whatif]'")
        code = BAD_INPUT
    except (JournalError, ValueError, TypeError) as error:
        _warn(f"error: {error}")
        code = BAD_INPUT
    sys.exit(code or FINE)
