"""The virtual clock in steps that end where a strand is due, so that any strand can drive it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop
from typing import Any, Generic, TypeVar

from simulation.clock import NEVER, VirtualClock, arrive

__all__ = ["StrandClock"]

S = TypeVar("S")
Aim = tuple[Callable[[], bool] | None, int | None]


class StrandClock(VirtualClock, Generic[S]):
    """A ``VirtualClock`` whose owner says where to, and whose strands take it there.

    Attributes:
        due: the strands that are to run now, in the order in which they became due.
        came_true: whether the owner's aim was reached.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.due: deque[S] = deque()
        self.came_true = False
        self._aim: Aim = (None, None)
        self._within = False  # in the middle of an instant

    #: Call back when a strand has slept or waited as long as it wants to; a search may be late.
    time_up_in = VirtualClock.at

    def aim(self, done: Callable[[], bool] | None, until_ns: int | None) -> Aim:
        """Say how far to go; returns the aim so far, for ``restore_aim``."""
        before, self._aim = self._aim, (done, until_ns)
        self.came_true = False
        if until_ns is not None and until_ns > self.now:
            self.at(until_ns - self.now, arrive)
        if not self._within:
            self.settle()
        return before

    def live(self) -> bool:
        """Whether any task has not ended."""
        return bool(self._core.live())

    def restore_aim(self, aim: Aim) -> None:
        """Go back to an earlier aim."""
        self._aim = aim

    def next_due(self) -> S | None:
        """Let time pass until a strand is due.

        Returns:
            The strand; ``None`` where the aim is reached, or nothing is left to happen.
        """
        due, ends = self.due, self._ends
        done, until_ns = self._aim
        while True:
            if due:
                return due.popleft()
            if self._within:
                if self._event_at <= self.now:
                    self._step()
                    continue
                self._within = False
                self.settle()
            if done is not None and done():
                self.came_true = True
                return None
            if until_ns is not None and self.now >= until_ns:
                return None
            instant = self._event_at
            if ends and ends[0][0] < instant:
                instant = ends[0][0]
            if instant == NEVER:
                return None
            self.now = instant = max(instant, self.now)  # a pause in a search makes it overdue
            self._within = True
            while ends and ends[0][0] <= instant:
                self._gathered.append(heappop(ends)[2:])
