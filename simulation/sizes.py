"""How many slots a pool had at each instant, where it was resized.

More workers are there at once. With fewer, those that run an attempt finish it; so it has more
slots than workers until then, and each that goes is told by a ``RetireSlot``.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.core.records import (
    Instruction,
    ResizeRequested,
    RetireSlot,
    Simultaneous,
    Stimulus,
)

__all__ = ["Sizes"]


class Sizes:
    """Follows a run.

    Args:
        workers: how many it began with.

    Attributes:
        changes: from when on there were how many, in order.

    Example:
        >>> sizes = Sizes(2)
        >>> sizes.take(5, ResizeRequested(4), [])
        >>> sizes.take(7, ResizeRequested(3), [RetireSlot(3)])
        >>> sizes.changes, sizes.slot_ns(0, 10)
        ([(5, 4), (7, 3)], 27)
    """

    def __init__(self, workers: int, changes: Sequence[tuple[int, int]] = ()) -> None:
        self.workers = workers
        self.changes = list(changes)

    def take(self, at_ns: int, stimulus: Stimulus, instructions: Sequence[Instruction]) -> None:
        """Follow one step of the core.

        Args:
            at_ns: when.
            stimulus: what went in.
            instructions: what came out.
        """
        kind = type(stimulus)
        if kind is ResizeRequested or kind is Simultaneous:
            parts = stimulus.stimuli if isinstance(stimulus, Simultaneous) else (stimulus,)
            for part in parts:
                if isinstance(part, ResizeRequested) and part.max_workers > self._last():
                    self.changes.append((at_ns, part.max_workers))
        for instruction in instructions:
            if type(instruction) is RetireSlot:
                self.changes.append((at_ns, self._last() - 1))

    def _last(self) -> int:
        return self.changes[-1][1] if self.changes else self.workers

    def slot_ns(self, from_ns: int, to_ns: int) -> int:
        """What all slots had together between two instants, in nanoseconds.

        Args:
            from_ns: from when on.
            to_ns: until when.
        """
        sum_ns, slots, since_ns = 0, self.workers, from_ns
        for at_ns, then in self.changes:
            until_ns = min(max(at_ns, since_ns), to_ns)
            sum_ns += slots * (until_ns - since_ns)
            slots, since_ns = then, until_ns
        return sum_ns + slots * max(0, to_ns - since_ns)

    def between(self, from_ns: int | None = None, to_ns: int | None = None) -> tuple[int, int]:
        """The fewest and the most slots between two instants.

        Args:
            from_ns: from when on, ``None`` for the beginning.
            to_ns: until when, ``None`` for the end.

        Example:
            >>> Sizes(2, [(5, 4), (7, 3)]).between(0, 6)
            (2, 4)
        """
        before, found = self.workers, []
        at = dict(self.changes)  # the last of an instant
        for at_ns, slots in at.items():
            if from_ns is not None and at_ns <= from_ns:
                before = slots
            elif to_ns is None or at_ns < to_ns:
                found.append(slots)
        return min([before, *found]), max([before, *found])
