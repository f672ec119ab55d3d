"""``python -m simulation COMMAND``.

Exit codes: 0 fine; 1 a divergence or a failed check; 2 bad usage or bad input, told in one line on
standard error; 3 refused, because a prediction would not be honest.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from simulation.commands.common import BAD_INPUT, FAILED, FINE, REFUSED, warn

__all__ = ["main"]

#: The commands, each the function of its name in ``simulation.commands.NAME``, as help lists them.
_COMMANDS: Final = (
    "replay",
    "run",
    "why",
    "sweep",
    "recommend",
    "gate",
    "backtest",
    "fit",
    "export",
    "import",
    "explore",
    "slice",
    "calibrate",
)

#: Those that Python will not have as a name.
_SPELLED: Final = {"import": "import_"}

#: Libraries that the base install does not have: their extra, and what they do.
_EXTRAS: Final = {
    "bokeh": ("report", "draws the page"),
    "numpy": ("whatif", "computes intervals"),
    "scipy": ("whatif", "computes intervals"),
}


class _Commands(click.Group):
    """Imports the one command that is run, and suggests the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = _SPELLED.get(cmd_name, cmd_name)
        module = importlib.import_module(f"simulation.commands.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in _COMMANDS:
            near = difflib.get_close_matches(name, _COMMANDS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COMMANDS)}"
            raise click.UsageError(f"no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read us has gone: nobody is left to be told
            _drop_output()
            return FINE
        except OSError as error:
            _drop_output()
            raise click.ClickException(f"cannot write the answer: {error.strerror}") from None
        return code


def _drop_output() -> None:
    """What is left in the buffer goes nowhere, so that the interpreter's end says nothing of it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Replay recorded runs exactly, ask what another setting would have done, run scenarios.

    COMMAND --help has an example of each. Exit codes: 0 fine; 1 a divergence, or a check that
    failed; 2 bad usage or input; 3 refused, since a prediction would not be honest.

    \b
    Example:
      python -m simulation replay run.jsonl
      python -m simulation replay run.jsonl --set max_workers=20
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        argv: the arguments; those of the process by default.
    """
    if sys.stdout is None or sys.stderr is None:
        sys.exit(BAD_INPUT)  # closed by whoever started us: there is nowhere to say so
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have letters that a locale has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=argv, prog_name="python -m simulation", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = BAD_INPUT
    except click.ClickException as error:
        warn(f"error: {error.format_message()}")
        code = BAD_INPUT
    except click.Abort:
        code = 130
    except MemoryError:
        warn("error: there is not enough memory for this")
        code = BAD_INPUT
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        extra, what = _EXTRAS[missing]
        warn(
            f"error: {missing}, which {what}, is not installed: pip install '.[{extra}]' in a "
            f"checkout of twinclock"
        )
        code = BAD_INPUT
    except Exception as error:
        code, line = _answer_to(error)
        warn(line)
    sys.exit(code or FINE)


def _answer_to(error: Exception) -> tuple[int, str]:
    """The exit code and the line of what is no bug of ours; anything else is raised again."""
    from simulation.incidents import CannotSliceError  # noqa: PLC0415  # start-up time
    from simulation.replay import NondeterminismError  # noqa: PLC0415
    from simulation.whatif.answer import DishonestError  # noqa: PLC0415
    from simulation.whatif.parallel import WorkerLostError  # noqa: PLC0415

    if isinstance(error, DishonestError):
        return REFUSED, f"refused: {error} (--force answers anyway)"
    if isinstance(error, CannotSliceError):
        return REFUSED, f"refused: {error}"
    if isinstance(error, NondeterminismError):
        return FAILED, f"error: {error}; replay it, with no other option, to see the difference"
    if isinstance(error, WorkerLostError | ValueError | TypeError):
        return BAD_INPUT, f"error: {error}"
    raise error
