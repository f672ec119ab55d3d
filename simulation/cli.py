"""``python -m simulation COMMAND``.

Exit codes: 0 fine; 1 a divergence or a failed check; 2 bad usage or bad input, told in one line on
standard error; 3 refused, because a prediction would not be honest.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from runtime.journal import JournalError
from simulation.commands.common import BAD_INPUT, FINE, warn
from simulation.whatif.parallel import WorkerLostError

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
        warn(f"error: {error.format_message()}")
        code = BAD_INPUT
    except click.Abort:
        code = 130
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "bokeh":
            warn("error: bokeh draws the page and is not there: pip install 'twinclock[report]'")
        elif missing in ("numpy", "scipy"):
            warn(f"error: {missing} is needed for intervals: pip install 'twinclock[whatif]'")
        else:
            raise
        code = BAD_INPUT
    except (JournalError, WorkerLostError, ValueError, TypeError) as error:
        warn(f"error: {error}")
        code = BAD_INPUT
    sys.exit(code or FINE)
