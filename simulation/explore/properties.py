"""Properties of the user's own: what always holds, what is seen at least once, what never is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Broken", "Properties"]

Predicate = Callable[[], Any]


class Broken(AssertionError):
    """A property that does not hold.

    Args:
        name: the property's name, which shrinking keeps.
        what: what was found.
    """

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        super().__init__(f"{name}: {what}")


class Properties:
    """The properties of one run.

    Attributes:
        wanted: each ``sometimes``, and whether it was seen.
    """

    def __init__(self) -> None:
        self._always: list[tuple[str, Predicate]] = []
        self._sometimes: list[tuple[str, Predicate]] = []
        self._never: list[tuple[str, Predicate]] = []
        self.wanted: dict[str, bool] = {}

    def always(self, predicate: Predicate, name: str) -> None:
        """Demand something of every step.

        Args:
            predicate: asked after each step; true where it holds.
            name: what it is called.
        """
        self._always.append((name, predicate))

    def sometimes(self, predicate: Predicate, name: str) -> None:
        """Demand something of one step in the whole search.

        Args:
            predicate: asked after each step, until it was true once in this run.
            name: what it is called.
        """
        self._sometimes.append((name, predicate))
        self.wanted.setdefault(name, False)

    def unreachable(self, predicate: Predicate, name: str) -> None:
        """Demand that something never comes true.

        Args:
            predicate: asked after each step; true where it has been reached.
            name: what it is called.
        """
        self._never.append((name, predicate))

    def check(self) -> None:
        """Ask all of them.

        Raises:
            Broken: one does not hold.
        """
        for name, predicate in self._always:
            if not predicate():
                raise Broken(f"always {name}", "does not hold after this step")
        for name, predicate in self._never:
            if predicate():
                raise Broken(f"unreachable {name}", "was reached in this step")
        wanted = self.wanted
        for name, predicate in self._sometimes:
            if not wanted[name] and predicate():
                wanted[name] = True
