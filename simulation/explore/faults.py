"""The fault catalogue: what a world may do to a core, each by name, and menus to choose from.

All of them are things that a host may truly tell a core, or that an attempt may truly do; nothing
is decided outside the core. A run may switch each on and off: searches do so at random, since a
run that is offered everything rarely sees much of anything (swarm testing: A. Groce, C. Zhang,
E. Eide, Y. Chen, J. Regehr, 'Swarm Testing', ISSTA 2012).

A ``World`` of modelled tasks has all but the last three. A pool of ordinary functions has all: how
an attempt ends is chosen when its function has returned or raised, and ``instant`` strikes the
modelled attempts in it only, as what a function does takes as long as it takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from runtime.core import records as r

__all__ = [
    "FAULTS",
    "FIRST_CANCEL",
    "OF_FUNCTIONS",
    "OPT_IN",
    "Completion",
    "InjectedError",
    "Menu",
    "TooManyError",
    "check_faults",
    "check_modelled",
    "finish_menu",
    "function_menu",
    "journal_menu",
    "order_menu",
    "outside_menu",
    "struck",
    "wake_menu",
]

#: Every fault, and what it does.
FAULTS: Final[dict[str, str]] = {
    "order": "what happens in one instant is told one by one, in another order",
    "late": "a completion comes 1 ns late",
    "slow": "an attempt takes twice as long",
    "slow_start": "a worker begins late, by as long as the attempt takes",
    "at_timeout": "a completion comes in the very instant of its timeout",
    "after_timeout": "a completion comes 1 ns after its timeout",
    "hang": "an attempt never returns, until faults are over",
    "die": "a worker dies: the attempt fails in the instant it starts, retryably",
    "fail": "an attempt fails, retryably",
    "base_exception": "an attempt raises what is no Exception, which is not retried",
    "retry_after": "an attempt fails and asks for a long wait",
    "instant": "an attempt succeeds in the instant it starts",
    "late_timer": "the core is woken 1 ns late",
    "lost_timer": "the core is not woken before something else happens",
    "abort": "everything pending is aborted",
    "drain": "no more tasks are taken",
    "resize": "the pool is given 1 worker, or again as many as it began with",
    "pause": "the whole world stands still for a while, and all that was due comes at once",
    "burst": "the next attempts fail, several in a row",
    "wake": "the core is woken although nothing is due",
    "twice": "a completion is told a second time",
    "cancel": "a task is cancelled, in whatever state it is",
    "journal_cut": "the run's journal is cut off",
    "journal_flip": "a bit of the run's journal is flipped",
    "disk_full": "from some step on the run's journal cannot be written",
    "late_lock": "an ordinary function is held up for 1 s at a lock",
    "raise": "an InjectedError is raised where an ordinary function would sleep or wait",
    "observer": "an observer of a pool raises",
}

#: Faults that are on only where they are asked for by name.
OPT_IN: Final = {
    "preempt": "an ordinary function is held up between two bytecodes that touch what is shared",
}

#: Those that only pools of ordinary functions have.
OF_FUNCTIONS: Final = ("late_lock", "raise", "observer")


Completion = r.AttemptSucceeded | r.AttemptFailed

_SECOND: Final = 1_000_000_000
_LONG_WAIT_SECONDS: Final = 7


class InjectedError(ConnectionError):
    """What ``raise``, ``fail`` and ``burst`` raise, and what comes home where a worker died."""


class TooManyError(InjectedError):
    """What ``retry_after`` raises: it asks for a long wait."""

    retry_after_seconds = float(_LONG_WAIT_SECONDS)


class Menu:
    """What one choice is made from; place 0 is the ordinary.

    Args:
        names: the fault of each place.
        enabled: which faults are on, ``None`` for all.

    Attributes:
        allowed: the places, but for 0, that a search may take.
    """

    __slots__ = ("allowed", "names")

    def __init__(self, names: tuple[str, ...], enabled: frozenset[str] | None = None) -> None:
        self.names = names
        self.allowed = tuple(
            place for place in range(1, len(names)) if enabled is None or names[place] in enabled
        )


_FINISH: Final = ("late", "slow", "slow_start", "hang", "die", "fail", "base_exception")
_FINISH_TOO: Final = ("retry_after", "instant", "at_timeout", "after_timeout")
_OUTSIDE: Final = ("abort", "drain", "resize", "resize", "pause", "burst", "wake", "twice")
#: The first place of a menu of what comes from outside that cancels a task.
FIRST_CANCEL: Final = len(_OUTSIDE) + 1


@lru_cache(maxsize=1024)
def order_menu(equals: int, enabled: frozenset[str]) -> Menu:
    """Of what happens at one instant: all at once, or one of them alone and first.

    Args:
        equals: how many there are.
        enabled: which faults are on.

    Returns:
        The menu.
    """
    return Menu(("", *("order",) * equals), enabled)


@lru_cache(maxsize=64)
def finish_menu(limited: bool, enabled: frozenset[str]) -> Menu:
    """How an attempt ends.

    Args:
        limited: whether it has a timeout.
        enabled: which faults are on.

    Returns:
        The menu.
    """
    return Menu(("", *_FINISH, *(_FINISH_TOO if limited else _FINISH_TOO[:2])), enabled)


@lru_cache(maxsize=64)
def function_menu(limited: bool, enabled: frozenset[str]) -> Menu:
    """How the attempt of an ordinary function ends that has just returned or raised.

    Args:
        limited: whether it has a timeout that is still to come.
        enabled: which faults are on.

    Returns:
        The menu.
    """
    names = tuple(name for name in (*_FINISH, "retry_after") if name != "slow_start")
    return Menu(("", *names, *(_FINISH_TOO[2:] if limited else ())), enabled)


@lru_cache(maxsize=64)
def wake_menu(enabled: frozenset[str]) -> Menu:
    """When the core is woken.

    Args:
        enabled: which faults are on.

    Returns:
        The menu.
    """
    return Menu(("", "late_timer", "lost_timer"), enabled)


@lru_cache(maxsize=1024)
def outside_menu(tasks: int, enabled: frozenset[str]) -> Menu:
    """What comes from outside at an instant.

    Args:
        tasks: how many there are to cancel.
        enabled: which faults are on.

    Returns:
        The menu.
    """
    return Menu(("", *_OUTSIDE, *("cancel",) * tasks), enabled)


@lru_cache(maxsize=64)
def journal_menu(enabled: frozenset[str]) -> Menu:
    """What becomes of the run's journal; each place damages another quarter of it.

    Args:
        enabled: which faults are on.

    Returns:
        The menu.
    """
    names = [name for name in ("journal_cut", "journal_flip", "disk_full") for _ in range(4)]
    return Menu(("", *names), enabled)


def struck(name: str, start: r.StartAttempt, now: int, took: int, end: Completion) -> Completion:
    """The end of a modelled attempt that a fault strikes.

    Args:
        name: the fault, one of ``finish_menu`` but ``hang``.
        start: what began the attempt.
        now: when it began, in nanoseconds.
        took: how long it takes by its model, in nanoseconds.
        end: how it ends by its model.

    Returns:
        How it ends.
    """
    task, attempt, limit = start.task, start.attempt, start.timeout_at_ns
    if name == "die":
        return r.AttemptFailed(task, attempt, now, now, now, "WorkerDied")
    if name == "fail":
        return r.AttemptFailed(task, attempt, now, now, now + took, "RuntimeError")
    if name == "base_exception":
        return r.AttemptFailed(
            task, attempt, now, now, now + took, "KeyboardInterrupt", retryable=False
        )
    if name == "retry_after":
        return r.AttemptFailed(
            task,
            attempt,
            now,
            now,
            now + took,
            "TooMany",
            retry_after_ns=_LONG_WAIT_SECONDS * _SECOND,
        )
    if name == "instant":
        return r.AttemptSucceeded(task, attempt, now, now, now)
    begun, at = now, now + took
    if name == "late":
        at += 1
    elif name == "slow":
        at += took
    elif name == "slow_start":
        begun, at = at, at + took
    else:
        assert limit is not None
        at = limit + (name == "after_timeout")
    if isinstance(end, r.AttemptSucceeded):
        return r.AttemptSucceeded(task, attempt, now, begun, at)
    return r.AttemptFailed(
        task, attempt, now, begun, at, end.error, end.retryable, end.retry_after_ns
    )


def check_faults(names: Iterable[str] | None) -> frozenset[str]:
    """Read a choice of faults.

    Args:
        names: which, ``None`` for all but those of ``OPT_IN``.

    Returns:
        The set.

    Raises:
        ValueError: one of them does not exist.

    Example:
        >>> sorted(check_faults(["late", "order"]))
        ['late', 'order']
    """
    wanted = frozenset(FAULTS if names is None else names)
    unknown = sorted(wanted - FAULTS.keys() - OPT_IN.keys())
    if unknown:
        known = [*FAULTS, *OPT_IN]
        near = difflib.get_close_matches(str(unknown[0]), known, 1, 0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"no fault {unknown[0]!r}: {hint}")
    return wanted


def check_modelled(names: frozenset[str]) -> None:
    """Raise where a fault was asked for that a scenario's file has no place for.

    Args:
        names: faults that there are.

    Raises:
        ValueError: one of them strikes ordinary functions only.

    Example:
        >>> check_modelled(check_faults(["raise"]))
        Traceback (most recent call last):
            ...
        ValueError: the fault 'raise' strikes ordinary functions, and a scenario's file has none
    """
    lost = sorted(names & {*OF_FUNCTIONS, *OPT_IN})
    if lost:
        raise ValueError(
            f"the fault {lost[0]!r} strikes ordinary functions, and a scenario's file has none"
        )
