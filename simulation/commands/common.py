"""What the commands have in common: exit codes, and what they print."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from runtime.files import is_standard_output

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "FINE",
    "REFUSED",
    "beside",
    "check_not_read",
    "console",
    "print_json",
    "warn",
]

FINE, FAILED, BAD_INPUT, REFUSED = 0, 1, 2, 3


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

    class Told(Console):
        def on_broken_pipe(self) -> NoReturn:
            """Rich would exit with 1, which here says that a check failed."""
            raise BrokenPipeError

    return Told()


def warn(message: str) -> None:
    """Print a line on standard error.

    Args:
        message: what to say.
    """
    from simulation.timeline.names import printable  # noqa: PLC0415  # start-up time

    click.echo(printable(message).replace("\n", "\\n"), err=True)  # a path may have line ends


def beside(output: str) -> contextlib.AbstractContextManager[object]:
    """Where a command says what it wrote: on standard error where standard output has the file.

    Args:
        output: the file that was written.
    """
    if is_standard_output(output):
        return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()


def check_not_read(output: str, source: str) -> None:
    """Raise where a command would write over what it reads: a recording cannot be made again.

    Args:
        output: what is to be written.
        source: what is read.

    Raises:
        UsageError: they are the same file.
    """
    with contextlib.suppress(OSError):
        if source != "-" and Path(output).samefile(source) and Path(output).is_file():
            raise click.UsageError(f"-o {output}: is the file that is read; give another name")
