"""Making a failing tape small: the fewest departures from 0, and the smallest values.

First chunks of departures are put back to 0, then each alone, then values are lowered, until
nothing more can be taken away (after A. Zeller and R. Hildebrandt, 'Simplifying and Isolating
Failure-Inducing Input', IEEE TSE 28(2), 2002). Where more than one departure is left, all tapes
with fewer are tried in order, as far as the allowance goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from simulation.explore.strategies import Systematic
from simulation.explore.tape import Tape, departures

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
        >>> shrink([3, 1, 4, 1, 5], lambda tape: max(tape.choose(menu, 0) for _ in range(5)) > 2)
        [3]
    """
    best = _trimmed(values)
    left = allowance

    def attempt(candidate: list[int]) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        if fails(Tape(candidate)):
            best = _trimmed(candidate)
            return True
        return False

    changed = True
    while changed and left > 0:
        changed = _fewer(lambda: best, attempt) or _smaller(lambda: best, attempt)
    most = departures(best) - 1
    if most >= 0 and left > 0:
        search = Systematic(min(most, 2))
        for tape in islice(search.tapes(), left):
            if fails(tape):
                return _trimmed(tape.values)
    return best


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
