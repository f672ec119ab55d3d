"""The body of ``python -m simulation explore``."""

from __future__ import annotations

import functools
import importlib
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from simulation.explore.search import Report, Target, explore, replay_token
from simulation.explore.world import World

__all__ = ["as_json", "find_target", "run_command", "show"]

_LITTLE: Final = 20  # less than one new pair for so many that are known is hardly worth while


def find_target(text: str) -> Target:
    """What a command line names.

    Args:
        text: a TOML file, or ``module:function``.

    Returns:
        What to explore.

    Raises:
        ValueError: there is no such module or function.
    """
    name, colon, function = text.partition(":")
    if not colon or text.endswith(".toml"):
        return text
    try:
        found: Any = getattr(importlib.import_module(name), function)
    except AttributeError:
        raise ValueError(f"{text}: {name} has no {function}") from None
    except Exception as error:
        raise ValueError(f"{text}: cannot be imported: {error}") from None
    if not callable(found):
        raise ValueError(f"{text}: is no function; it must take a World and set it up")

    @functools.wraps(found)  # for its name, which a token has
    def set_up(world: World) -> None:
        try:
            found(world)
        except Exception as error:
            if world.pools:  # it has set up all, and runs: what it raises is what it asserts
                raise
            kind = type(error).__name__
            raise ValueError(f"{text}: cannot set up its world: {kind}: {error}") from None

    return set_up


def run_command(
    target: str,
    schedules: int,
    seed: int,
    strategy: str | None,
    faults: Sequence[str],
    token: str | None,
    progress: Callable[[int, int], None],
) -> Report:
    """Explore or replay.

    Args:
        target: what the command line names.
        schedules: how many to run at most.
        seed: of the search.
        strategy: one of them, ``None`` for all in turn.
        faults: which are on, none for all.
        token: a schedule to replay, ``None`` to search.
        progress: told how far it is.

    Returns:
        What came of it.
    """
    found = find_target(target)
    if token is not None:
        return replay_token(found, token)
    return explore(
        found,
        schedules,
        seed,
        strategy=strategy,
        faults=faults or None,
        progress=progress,
    )


def show(target: str, report: Report) -> str:
    """What a report says to people.

    Args:
        target: what was explored, as on the command line.
        report: what came of it.

    Returns:
        Lines.
    """
    seen = report.coverage
    lines = []
    failure = report.failure
    if failure is not None:
        lines += [f"FAILED  {failure.message}", ""]
    if failure is not None and failure.story:  # what was never seen has no schedule to show
        lines.append(
            f"shrunk to {_count(failure.departures, 'departure')} from the ordinary schedule; "
            f"found after {_count(failure.found_after, 'schedule')} by {failure.strategy}:"
        )
        lines += [
            *failure.story,
            "",
            "replay exactly this one:",
            f"  python -m simulation explore {shlex.quote(target)} --replay {failure.token}",
            "",
        ]
    elif failure is None:
        lines.append("nothing failed")
    all_of_them = ", all there are" if report.exhausted else ""
    lines.append(f"{_count(seen.schedules, 'schedule')}{all_of_them}")
    lines += _coverage(report)
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _coverage(report: Report) -> list[str]:
    """How much was seen, when, and whether more search is worth while."""
    seen = report.coverage
    if not seen.features:
        return []
    marks = sorted({*(10**power for power in range(7) if 10**power < seen.schedules)})
    curve = ", ".join(f"{seen.at(mark)} after {mark:,}" for mark in (*marks, seen.schedules))
    lines = [f"seen: {curve} (pairs of states, stimuli and decisions)"]
    if report.exhausted or report.failure is not None:
        return lines
    more = round(seen.unseen_mass * seen.schedules)  # Good and Turing's, for as many again
    worth = "worth while" if more * _LITTLE >= seen.features else "hardly worth while"
    lines.append(
        f"more search: {worth}; as many again would show up to about {more} more "
        f"(at least about {seen.reachable} can be seen)"
        if more
        else "more search: in vain, each of them was seen more than once"
    )
    return lines


def as_json(report: Report) -> Any:
    """A report as plain values."""
    return msgspec.to_builtins(report)
