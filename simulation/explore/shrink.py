"""Making a failing tape small: the fewest departures from 0, and the smallest values.

First chunks of departures are put back to 0, then each alone, then values are lowered, until
nothing more can be taken away (after A. Zeller and R. Hildebrandt, 'Simplifying and Isolating
Failure-Inducing Input', IEEE TSE 28(2), 2002). Where more than one departure is left, all tapes
with fewer are tried in order, as far as the allowance goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from simulation.explore.faults import Menu
from simulation.explore.strategies import Systematic
from simulation.explore.tape import Answer, Tape, departures

__all__ = ["shrink"]


def shrink(
    values: Sequence[int], fails: Callable[[Tape], bool], allowance: int = 2_000
) -> list[int]:
    """Make a tape small.

    Args:
        values: a tape that fails.
        fails: runs a tape; whether it fails in the same way.
        allowance: runs that may be spent.

    Returns:
        A tape that fails, without zeros at its end.

    Example:
        >>> from simulation.explore.faults import Menu
        >>> menu = Menu(("", *["order"] * 5))
        >>> shrink([3, 1, 4, 1, 5], lambda tape: [tape.choose(menu, 0) for _ in range(5)][2] > 2)
        [0, 0, 3]
    """
    best = _trimmed(values)
    left = allowance
    ran: Tape | None = None  # the run of the best, where it is known

    def attempt(candidate: list[int]) -> bool:
        nonlocal best, left, ran
        if left <= 0:
            return False
        left -= 1
        tape = Tape(candidate)
        if fails(tape) and _allowed(tape):
            best, ran = _trimmed(tape.values), tape
            return True
        return False

    def attempt_by_label(candidate: list[int]) -> bool:
        """What is taken away moves what comes later: name the rest by whom it concerns."""
        nonlocal best, left, ran
        if left <= 0:
            return False
        left -= 1
        if ran is None:
            ran = Tape(best)
            if not fails(ran):
                return False
        tape = Tape((), _by_label(ran, candidate))
        if fails(tape) and departures(tape.values) < departures(best) and _allowed(tape):
            best, ran = _trimmed(tape.values), tape
            return True
        return False

    def attempt_either(candidate: list[int]) -> bool:
        return attempt(candidate) or attempt_by_label(candidate)

    changed = True
    while changed and left > 0:
        changed = _fewer(lambda: best, attempt_either) or _smaller(lambda: best, attempt)
    most = departures(best) - 1
    if most >= 0 and left > 0:
        search = Systematic(min(most, 2))
        for tape in islice(search.tapes(), left):
            if departures(tape.values) > most:
                break
            if fails(tape):
                return _trimmed(tape.values)
    return best


def _allowed(tape: Tape) -> bool:
    """Whether all that was chosen is a fault that is on: what moves may fall on another menu."""
    chosen = zip(tape.values, tape.menus, strict=True)
    return all(value == 0 or value in menu.allowed for value, menu in chosen)


def _by_label(ran: Tape, candidate: Sequence[int]) -> Answer:
    """Answers with a candidate's departures, each at the same choice of the same actor."""
    wanted: dict[tuple[int, str, int], int] = {}
    counts: dict[tuple[int, str], int] = {}

    def nth(menu: Menu, actor: int) -> tuple[int, str, int]:
        kind = menu.names[1]
        counts[actor, kind] = count = counts.get((actor, kind), 0) + 1
        return actor, kind, count

    for value, menu, actor in zip(candidate, ran.menus, ran.actors, strict=False):
        label = nth(menu, actor)
        if value:
            wanted[label] = value
    counts.clear()

    def answer(menu: Menu, actor: int) -> int:
        value = wanted.get(nth(menu, actor), 0)
        return value if value < len(menu.names) else 0

    return answer


def _fewer(best: Callable[[], list[int]], attempt: Callable[[list[int]], bool]) -> bool:
    changed = False
    chunk = max(1, departures(best()) // 2)
    while chunk:
        index = 0
        while True:
            places = [place for place, value in enumerate(best()) if value]
            taken = places[index : index + chunk]
            if not taken:
                break
            candidate = list(best())
            for place in taken:
                candidate[place] = 0
            if attempt(candidate):
                changed = True
            else:
                index += chunk
        chunk //= 2
    return changed


def _smaller(best: Callable[[], list[int]], attempt: Callable[[list[int]], bool]) -> bool:
    changed = False
    for place in range(len(best())):
        if place >= len(best()):
            break
        value = best()[place]
        for lower in range(1, value):
            candidate = list(best())
            candidate[place] = lower
            if attempt(candidate):
                changed = True
                break
    return changed


def _trimmed(values: Sequence[int]) -> list[int]:
    trimmed = list(values)
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed
