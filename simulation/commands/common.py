"""What the commands have in common: exit codes, options, input and output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

__all__ = [
    "FAILED",
    "BAD_INPUT",
    "FINE",
    "REFUSED",
    "console",
    "json_option",
    "parse_changes",
    "print_json",
    "progress",
    "runs_option",
    "seed_option",
    "warn",
    "write_file",
]

FINE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3
#: Options of the same command, which somebody may take for settings.
_NOT_SET = ("seed", "runs", "force", "json")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, nothing else."
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, help="Seed of the first run."
)
runs_option = click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    default=None,
    help="Replications; by default as many as it takes, 30 or more, or 1 where nothing is random.",
)


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
    click.echo(message, err=True)


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
