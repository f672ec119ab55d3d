"""Who answers a menu: at random, by priorities, or all tapes in order.

``random``: each run departs from the ordinary at a rate of its own, among faults of its own
(swarm testing, see ``faults``).

``pct``: actors get random priorities, and some places are change points: the actors of the lowest
priority are struck whenever they can be, one fault for all of a run (after S. Burckhardt,
P. Kothari, M. Musuvathi, S. Nagarakatte, 'A Randomized Scheduler with Probabilistic Guarantees of
Finding Bugs', ASPLOS 2010). It finds what needs the same actor to be late again and again, which
independent choices nearly never do.

``systematic``: every tape with at most so many departures from 0, fewest first. It ends, and then
has truly run them all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Final, Protocol

from simulation.explore.faults import FAULTS, OPT_IN, Menu
from simulation.explore.tape import Answer, Tape

__all__ = ["STRATEGIES", "Pct", "RandomChoice", "Strategy", "Systematic"]

STRATEGIES: Final = ("random", "pct", "systematic")
_RATES: Final = (0.01, 0.03, 0.1, 0.3)


class Strategy(Protocol):
    """Makes tapes, one a schedule."""

    exhausted: bool

    def tapes(self) -> Iterator[Tape]:
        """The tapes to run; each has been run when the next is asked for."""


class RandomChoice:
    """Independent choices.

    Args:
        seed: of the search.
    """

    exhausted = False

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def tapes(self) -> Iterator[Tape]:
        """Tapes without end."""
        index = 0
        while True:
            yield Tape((), self._answerer(Random((self._seed << 32) | index)))
            index += 1

    @staticmethod
    def _answerer(random: Random) -> Answer:
        draw = random.random
        rate = _RATES[int(draw() * len(_RATES))]
        swarm = {name for name in FAULTS if draw() < 0.5} | OPT_IN.keys()
        places: dict[Menu, tuple[int, ...]] = {}

        def answer(menu: Menu, actor: int) -> int:
            if draw() >= rate:
                return 0
            found = places.get(menu)
            if found is None:
                places[menu] = found = tuple(p for p in menu.allowed if menu.names[p] in swarm)
            return found[int(draw() * len(found))] if found else 0

        return answer


class Pct:
    """Priorities with change points.

    Args:
        seed: of the search.
        depth: how many actors at most are struck, and how often priorities change, plus one.
    """

    exhausted = False

    def __init__(self, seed: int, depth: int = 3) -> None:
        self._seed = seed
        self._depth = depth
        self._length = 64  # of the longest tape so far: where change points may lie
        self._faults: dict[str, None] = {}  # those that menus so far offered, in this order

    def tapes(self) -> Iterator[Tape]:
        """Tapes without end."""
        index = 0
        while True:
            random = Random((1 << 96) | (self._seed << 32) | index)
            tape = Tape((), self._answerer(random))
            yield tape
            self._length = max(self._length, len(tape.values))
            for menu in dict.fromkeys(tape.menus):
                self._faults.update(dict.fromkeys(menu.names[place] for place in menu.allowed))
            index += 1

    def _answerer(self, random: Random) -> Answer:
        draw = random.random
        faults = list(self._faults or FAULTS)
        favourite = faults[int(draw() * len(faults))]
        changes = sorted(int(draw() * self._length) for _ in range(self._depth - 1))
        priorities: dict[int, float] = {}
        lowest: list[int] = []
        count = 0

        def answer(menu: Menu, actor: int) -> int:
            nonlocal count
            count += 1
            if actor not in priorities:
                priorities[actor] = draw()
                lowest[:] = sorted(priorities, key=priorities.__getitem__)[:1]
            if changes and count >= changes[0]:
                changes.pop(0)
                priorities[actor] = -draw()  # the one whose turn it is falls below all others
                lowest[:] = sorted(priorities, key=priorities.__getitem__)[:1]
            if actor not in lowest:
                return 0
            found = [place for place in menu.allowed if menu.names[place] == favourite]
            return found[-1] if found else 0

        return answer


class Systematic:
    """All tapes with at most so many departures from 0.

    Args:
        most: departures.
    """

    def __init__(self, most: int) -> None:
        self.exhausted = False
        self._most = most

    def tapes(self) -> Iterator[Tape]:
        """All of them, each once, those with fewer departures first."""
        first = Tape()
        yield first
        parents: deque[tuple[Tape, int, int]] = deque([(first, 0, 0)])  # from where, departures
        while parents:
            parent, start, departed = parents.popleft()
            if departed == self._most:
                continue
            values = parent.values
            for place in range(start, len(values)):
                for value in parent.menus[place].allowed:
                    tape = Tape([*values[:place], value])
                    yield tape
                    if departed + 1 < self._most:
                        parents.append((tape, place + 1, departed + 1))
        self.exhausted = True
