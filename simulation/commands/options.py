"""The options that commands share, each written once: the same name, help and check everywhere.

A command takes what it does not look at itself as ``**asked`` and hands it on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypedDict, TypeVar

import click

from runtime.files import check_writable

__all__ = [
    "Judged",
    "JudgedAndMet",
    "Met",
    "Predicted",
    "as_json",
    "arrivals",
    "changes",
    "force",
    "grid",
    "judged",
    "met",
    "output",
    "parse_changes",
    "processes",
    "runs",
    "seed",
    "seeded",
]

#: Options of the same command, which somebody may take for settings.
_NO_FIELDS: Final = ("seed", "runs", "force", "json", "arrivals")

_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)


class Judged(TypedDict):
    """What ``judged`` adds to a command."""

    runs: int | None
    seed: int
    processes: int | None
    force: bool


class Met(TypedDict):
    """What ``met`` adds to a command."""

    calibration: Any
    backends: Any


class JudgedAndMet(Judged, Met):
    """Both."""


class Predicted(JudgedAndMet):
    """Both, and when tasks come."""

    arrivals: str


def _check_seed(ctx: click.Context, param: click.Parameter, value: int) -> int:
    """Not a range of click's, which would stand in every help with its twenty digits."""
    if not 0 <= value < 1 << 63:
        raise click.UsageError(f"--seed {value}: must be 0 to 2**63 - 1")
    return value


def seeded(what: str) -> Callable[[_Command], _Command]:
    """``--seed N``.

    Args:
        what: its help.
    """
    return click.option(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        show_default=True,
        callback=_check_seed,
        help=what,
    )


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, nothing else.")
seed = seeded("Seed of the first run; the others count up.")
arrivals = click.option(
    "--arrivals",
    default="recorded",
    show_default=True,
    metavar="HOW",
    help="When tasks come: recorded; closed, the next when one ends; scaled=F, F times as fast.",
)
runs = click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=None,
    help="Replications; by default as many as it takes, or 1 where nothing is random.",
)
force = click.option(
    "--force", is_flag=True, help="Answer also where the answer would not be honest (exit 3)."
)
processes = click.option(
    "--processes",
    type=click.IntRange(1, 512),
    metavar="N",
    default=None,
    help="How many processes compute; by default one a processor. The answer is the same.",
)


def _open_calibration(ctx: click.Context, param: click.Parameter, path: str | None) -> Any:
    if path is None:
        return None
    from simulation.machine.calibration import read_calibration  # noqa: PLC0415  # start-up time

    return read_calibration(path)


_calibration = click.option(
    "--calibration",
    metavar="FILE",
    default=None,
    callback=_open_calibration,
    help="What the machine costs, from the command calibrate.",
)
_backend = click.option(
    "--backend",
    "backends",
    metavar="FILE",
    default=None,
    callback=lambda ctx, param, path: () if path is None else path,
    help="TOML: what tasks call; what the recording had not is part of the changed setting.",
)


def judged(command: _Command) -> _Command:
    """Options of what is judged over replications, on as many processes as there are.

    Args:
        command: which takes a ``Judged``.
    """
    return runs(seed(processes(force(command))))


def met(command: _Command) -> _Command:
    """Options of what simulated attempts meet.

    Args:
        command: which takes a ``Met``.
    """
    return _calibration(_backend(command))


def changes(what: str) -> Callable[[_Command], _Command]:
    """``--set FIELD=VALUE``, as a dictionary ``changes`` of typed values.

    Args:
        what: the first words of its help.
    """
    return click.option(
        "--set",
        "changes",
        metavar="FIELD=VALUE",
        multiple=True,
        callback=lambda ctx, param, given: parse_changes(given, "--set"),
        help=f"{what}; may be given more than once.",
    )


def grid(
    name: str, key: str, what: str, *, required: bool = False
) -> Callable[[_Command], _Command]:
    """An option with ``FIELD=VALUES``, as a dictionary of lists of typed values.

    Args:
        name: the option.
        key: the parameter.
        what: its help.
        required: whether it must be given.
    """
    return click.option(
        name,
        key,
        metavar="FIELD=VALUES",
        multiple=True,
        required=required,
        callback=lambda ctx, param, given: _parse_grid(given, name),
        help=what,
    )


def output(
    what: str, *, metavar: str = "FILE", required: bool = True
) -> Callable[[_Command], _Command]:
    """``-o``: a file that can be written, or the command does not begin.

    Args:
        what: its help.
        metavar: what it is called.
        required: whether it must be given.
    """

    def check(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
        if path is not None:
            check_writable(path)  # rather than to find out at the end
        return path

    return click.option(
        "-o", "--output", metavar=metavar, required=required, callback=check, help=what
    )


def parse_changes(given: Sequence[str], option: str) -> dict[str, Any]:
    """Read ``FIELD=VALUE`` as typed values; ``none`` is unlimited.

    Args:
        given: as given.
        option: the option that they were given to.

    Returns:
        The values by field.

    Raises:
        UsageError: one is not of that form.
        ValueError: there is no such field.
    """
    if not given:
        return {}
    from simulation.whatif.grid import parse_value  # noqa: PLC0415  # start-up time
    from simulation.whatif.settings import check_names  # noqa: PLC0415  # start-up time

    parsed = {
        name: parse_value(name, text) for name, text in _fields(given, option, "FIELD=VALUE", "")
    }
    check_names(parsed)
    return parsed


def _parse_grid(given: Sequence[str], option: str) -> dict[str, list[Any]]:
    from simulation.whatif.grid import parse_values  # noqa: PLC0415  # start-up time

    fields = _fields(given, option, "FIELD=VALUES, such as max_workers=10,20,50", "; use commas")
    return {name: parse_values(name, text) for name, text in fields}


def _fields(given: Sequence[str], option: str, form: str, mend: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise click.UsageError(f"{option} {one!r}: must be {form}")
        if name in _NO_FIELDS:
            raise click.UsageError(f"{option} {name}: no setting of a pool; the option is --{name}")
        if name in found:
            raise click.UsageError(f"{option} {name}: given more than once{mend}")
        found[name] = text
    return list(found.items())
