"""What the commands have in common: exit codes, options, input and output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "calibration_option",
    "check_writable",
    "open_calibration",
    "FAILED",
    "BAD_INPUT",
    "FINE",
    "REFUSED",
    "arrivals_option",
    "backend_option",
    "console",
    "force_option",
    "json_option",
    "parse_changes",
    "parse_grid",
    "print_json",
    "processes_option",
    "progress",
    "runs_option",
    "seed_option",
    "set_option",
    "warn",
    "write_file",
]

FINE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3
#: Options of the same command, which somebody may take for settings.
_NOT_SET = ("seed", "runs", "force", "json", "arrivals")

_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, nothing else."
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Seed of the first run."
)
arrivals_option = click.option(
    "--arrivals",
    default="auto",
    metavar="HOW",
    help="When tasks come: auto, when others end where they did so then; recorded, at their "
    "instants; closed, the next when one ends; scaled=F, F times as fast.",
)
backend_option = click.option(
    "--backend",
    metavar="FILE",
    default=None,
    help="What tasks call, declared in TOML; new ones are part of the changed setting.",
)
runs_option = click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    default=None,
    help="Replications; by default as many as it takes, 30 or more, or 1 where nothing is random.",
)


force_option = click.option(
    "--force", is_flag=True, help="Answer also where the answer would not be honest."
)
processes_option = click.option(
    "--processes",
    type=click.IntRange(1, 512),
    default=None,
    help="How many processes compute; by default one a processor. The answer is the same.",
)


def set_option(text: str) -> Callable[[_Command], _Command]:
    """``--set FIELD=VALUE``, which may be given more than once.

    Args:
        text: its help.
    """
    return click.option("--set", "changes", metavar="FIELD=VALUE", multiple=True, help=text)


def parse_grid(given: Sequence[str], option: str) -> dict[str, list[Any]]:
    """Read ``FIELD=VALUES`` as lists of typed values.

    Args:
        given: as given.
        option: the option that they were given to.

    Returns:
        The values by field.

    Raises:
        UsageError: one is not of that form.
        ValueError: its values cannot be read.
    """
    from simulation.whatif.grid import parse_values  # noqa: PLC0415  # start-up time

    parsed: dict[str, list[Any]] = {}
    for one in given:
        name, equals, text = one.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise click.UsageError(f"{option} {one!r}: must be FIELD=VALUES, such as 10,20,50")
        if name in _NOT_SET:
            raise click.UsageError(f"{option} {name}: no setting of a pool; the option is --{name}")
        if name in parsed:
            raise click.UsageError(f"{option} {name}: given more than once; use commas")
        parsed[name] = parse_values(name, text)
    return parsed


calibration_option = click.option(
    "--calibration",
    metavar="FILE",
    default=None,
    help="What the machine costs, from the command calibrate.",
)


def open_calibration(path: str | None) -> Any:
    """Read the file that ``--calibration`` names.

    Args:
        path: as given.

    Returns:
        A ``Calibration``; ``None`` where none was given.

    Raises:
        CalibrationError: it cannot be used.
    """
    if path is None:
        return None
    from simulation.machine.calibration import read_calibration  # noqa: PLC0415  # start-up time

    return read_calibration(path)


def parse_changes(changes: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read ``FIELD=VALUE`` as typed values; ``none`` is unlimited.

    Args:
        changes: as given.
        option: the option that they were given to.

    Returns:
        The values by field.

    Raises:
        UsageError: one is not of that form.
    """
    from simulation.whatif.grid import parse_value  # noqa: PLC0415  # start-up time

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
        parsed[name] = parse_value(name, text)
    return parsed


def print_json(document: Any) -> None:
    """Print one document.

    Args:
        document: anything that msgspec encodes.
    """
    import msgspec  # noqa: PLC0415  # start-up time

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def console() -> Any:
    """A rich console on standard output."""
    from rich.console import Console  # noqa: PLC0415  # start-up time

    return Console()


def progress(done: int, wanted: int) -> None:
    """Show on a terminal how far long work is; nothing in a pipe.

    Args:
        done: runs so far.
        wanted: runs in all.
    """
    if wanted > 1 and sys.stderr.isatty():
        end = "\r" if done < wanted else "\r\033[K"
        text = f"{done} of {wanted} runs" if done < wanted else ""
        sys.stderr.write(text + end)
        sys.stderr.flush()


def warn(message: str) -> None:
    """Print a line on standard error.

    Args:
        message: what to say.
    """
    from simulation.timeline.names import printable  # noqa: PLC0415  # start-up time

    click.echo(printable(message), err=True)


def check_writable(path: str) -> None:
    """Raise unless a file can be written, which is left as it is.

    Args:
        path: where.

    Raises:
        ValueError: it cannot be written; the message says why.
    """
    there = Path(path).exists()
    try:
        with Path(path).open("ab"):
            pass
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None
    if not there:
        Path(path).unlink()


def write_file(path: str, data: bytes) -> None:
    """Write a file.

    Args:
        path: where.
        data: what.

    Raises:
        ValueError: it cannot be written; the message says why.
    """
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None
