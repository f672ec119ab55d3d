"""The tape: every choice that a world makes, an integer each, 0 the ordinary one.

A tape that is given is read first; what comes after it is answered by a strategy, or by 0. So a
short tape is a whole schedule, and the tape of all zeros is the ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulation.explore.faults import Menu

__all__ = ["Answer", "Tape", "TapeError", "departures"]

#: A strategy's answer to a menu, for the actor that it concerns.
Answer = Callable[[Menu, int], int]


class TapeError(ValueError):
    """A tape that does not fit the scenario."""


class Tape:
    """What was chosen in one run.

    Args:
        given: what to choose first.
        answer: who chooses after that, ``None`` for the ordinary.
        strict: whether a given choice that is not on the menu is an error; else it is 0.

    Attributes:
        values: what was chosen so far.
        menus: what each was chosen from.
        actors: whom each concerned.

    Example:
        >>> tape = Tape([0, 1])
        >>> [tape.choose(Menu(("", "order")), 0) for _ in range(3)]
        [0, 1, 0]
    """

    __slots__ = ("_answer", "_given", "_quiet", "_strict", "actors", "menus", "values")

    def __init__(
        self, given: Sequence[int] = (), answer: Answer | None = None, *, strict: bool = False
    ) -> None:
        self._given = given
        self._answer = answer
        self._strict = strict
        self._quiet = False
        self.values: list[int] = []
        self.menus: list[Menu] = []
        self.actors: list[int] = []

    def choose(self, menu: Menu, actor: int, setting: int = 0) -> int:
        """Choose from a menu.

        Args:
            menu: what there is.
            actor: the task that it concerns, 0 for the world.
            setting: what is chosen unless the tape says otherwise, whatever a strategy answers;
                0 leaves it to the strategy.

        Returns:
            The place on the menu, 0 for the ordinary.

        Raises:
            TapeError: the given tape names a place that the menu has not.
        """
        if self._quiet:
            return 0
        values = self.values
        place = len(values)
        if place < len(self._given):
            value = self._given[place]
            if value >= len(menu.names):
                if self._strict:
                    raise TapeError(
                        f"choice {place + 1} is {value}, and there are {len(menu.names)} here: "
                        f"the token is of another scenario, or of another version of it"
                    )
                value = 0
        else:
            value = setting
            if not setting and self._answer is not None:
                value = self._answer(menu, actor)
        values.append(value)
        self.menus.append(menu)
        self.actors.append(actor)
        return value

    def end(self) -> None:
        """From now on all is ordinary, and nothing is kept."""
        self._quiet = True
        if self._strict and len(self._given) > len(self.values):
            raise TapeError(
                f"the token has {len(self._given)} choices, and the run made {len(self.values)}: "
                f"it is of another scenario, or of another version of it"
            )


def departures(values: Sequence[int]) -> int:
    """How many choices are not the ordinary one.

    Args:
        values: a tape.

    Returns:
        How many are not 0.
    """
    return len(values) - list(values).count(0)
