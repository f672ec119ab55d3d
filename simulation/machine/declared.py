"""Backends as a TOML file declares them, in a scenario or in a file of their own.

[backends.api]
groups = ["questions"]                  # whose attempts call it; "default" where tasks have none
limit = 10                              # calls that it serves at once
rate = { per_second = 20, burst = 5, error = "TooManyRequests", retry_after_seconds = "next" }
latency = { slope_seconds = 0.01 }      # or { capacity = 4 }
outages = [{ from_seconds = 60, to_seconds = 90, kind = "hangs" }]
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from runtime.files import FileError, read_file
from simulation.machine.backends import Backend, Outage, RateLimit
from simulation.machine.machine import Machine

__all__ = ["BackendError", "backends_from", "plain", "read_backends", "read_toml"]

_FIELDS: Final = ("groups", "limit", "rate", "latency", "outages", "recorded")
#: More than anybody writes, and than fit writes of a million durations.
_MOST_BYTES: Final = 64 << 20
_LAWS: Final = ("slope_seconds", "capacity")


class BackendError(ValueError):
    """A file of backends that cannot be used; the message says where and why."""


def read_toml(path: str | Path, error: type[ValueError]) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: where it is.
        error: what to raise where it cannot be read.

    Returns:
        What is in it.
    """
    try:
        name, data = read_file(path, most=_MOST_BYTES)
    except FileError as problem:
        raise error(str(problem)) from None
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise error(f"{name}: not a TOML file: {problem}") from None


def plain(error: Exception) -> str:
    """What is wrong with a field, without the class that says so.

    Args:
        error: what a record's ``__init__`` or its checks raised.
    """
    text = str(error)
    if "keyword argument" in text or "positional argument" in text:  # of a class's __init__
        return re.sub(
            r"\w+\.__init__\(\) (got an unexpected keyword argument|missing .*:)",
            lambda found: "no such field:" if "unexpected" in found[1] else "missing:",
            text,
        )
    return text


def read_backends(path: str | Path, groups: Iterable[str]) -> tuple[Backend, ...]:
    """Read the backends that a recorded run met, or is to meet.

    Args:
        path: a TOML file with ``[backends.NAME]`` and nothing else.
        groups: the groups that the recording has.

    Returns:
        The backends.

    Raises:
        BackendError: something in it is wrong.
    """
    data = read_toml(path, BackendError)
    for name in data:
        if name != "backends":
            raise BackendError(
                f"{path}: {name!r}: such a file has [backends.NAME] and nothing else"
            )
    if not data.get("backends"):
        raise BackendError(f"{path}: there are no [backends.NAME]")
    try:
        backends = backends_from(data["backends"], groups, recorded=True)
    except (TypeError, ValueError) as error:
        raise BackendError(f"{path}, {error}") from None
    return backends


def backends_from(
    data: Any, groups: Iterable[str], *, recorded: bool = False
) -> tuple[Backend, ...]:
    """Backends from what stands under ``backends`` in a TOML file.

    Args:
        data: backends by name.
        groups: the groups that there are.
        recorded: whether they are for a recorded run, so that each has to say whether the
            recording was made with it.

    Returns:
        The backends, in the order of the file.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: a field out of range, an unknown one, a group that nobody is in.
    """
    if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
        raise ValueError("backends: must be tables, [backends.NAME]")
    known = sorted(groups)
    backends = []
    for name, table in data.items():
        where = f"[backends.{name}]"
        try:
            backend = _backend(name, table, recorded=recorded)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {plain(error)}") from None
        for group in backend.groups:
            if group not in known:
                raise ValueError(
                    f"{where}: groups: no task is in group {group!r}{_near(group, known)}"
                )
        backends.append(backend)
    Machine(backends=tuple(backends))  # checks them together
    return tuple(backends)


def _backend(name: str, table: Mapping[str, Any], *, recorded: bool) -> Backend:
    _check_names(table, _FIELDS, "")
    groups = table.get("groups")
    if not isinstance(groups, list):
        raise ValueError('groups: a list of groups is needed, such as ["default"]')
    was_there = table.get("recorded")
    if recorded and not isinstance(was_there, bool):
        raise ValueError(
            "recorded: say true where the journal was recorded with this backend, so that its "
            "queueing is in the recorded durations already; false where it is new"
        )
    if not recorded and was_there is not None:
        raise ValueError("recorded: a scenario has no recording; leave it out")
    latency = _table(table, "latency")
    _check_names(latency, _LAWS, "latency: ")
    outages = table.get("outages", [])
    if not isinstance(outages, list) or not all(isinstance(one, dict) for one in outages):
        raise ValueError("outages: must be a list of { from_seconds = , to_seconds = , kind = }")
    rate = _table(table, "rate")
    return Backend(
        name,
        tuple(groups),
        table.get("limit"),
        _made(RateLimit, rate, "rate: ") if rate else None,
        latency.get("slope_seconds", 0.0),
        latency.get("capacity"),
        tuple(_made(Outage, one, f"outages {index}: ") for index, one in enumerate(outages, 1)),
        bool(was_there),
    )


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r}: must be a table, {{ ... }}")
    return value


def _made(kind: Any, arguments: Mapping[str, Any], where: str) -> Any:
    _check_names(arguments, [field.name for field in fields(kind)], where)
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}{plain(error)}") from None


def _check_names(given: Iterable[str], allowed: Iterable[str], where: str) -> None:
    names = list(allowed)
    for name in given:
        if name not in names:
            raise ValueError(f"{where}{name}: no such field{_near(name, names)}")


def _near(name: Any, names: list[str]) -> str:
    near = difflib.get_close_matches(str(name), names, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
