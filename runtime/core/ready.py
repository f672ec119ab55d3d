"""The order in which ready tasks start.

Lower priority number first; within one priority, first ready, first started. With ageing on, every
``ageing_ns`` of waiting is worth one step of priority. Both sides of a comparison age alike, so the
order of two tasks never changes while they wait, and the key

    ready_at_ns + priority * ageing_ns

is fixed when a task becomes ready: a task can only be overtaken by tasks that become ready within
``(its priority - theirs) * ageing_ns`` after it, hence none starves (invariant 23).

Within one priority the keys only grow, so each priority is a plain FIFO, and a heap holds one entry
for each priority that has somebody waiting. Ties between priorities under ageing go to the lower
priority number. With a single priority, push and pop are O(1).

A task that ended while it waited stays behind as a *stale* entry and is skipped when it comes up;
when most entries are stale they are swept out.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final

from runtime.core.states import TaskState
from runtime.core.task import Task

__all__ = ["ReadyOrder"]

_READY: Final = int(TaskState.READY)
#: Empty FIFOs are kept for reuse up to this many priorities, and stale entries up to this many.
_SPARE: Final = 64


class ReadyOrder:
    """Tasks that wait for a slot, in the order in which they start.

    Args:
        ageing_ns: waiting time that is worth one step of priority, ``None`` for no ageing.

    Attributes:
        live: how many wait.
    """

    __slots__ = ("_ageing_ns", "_fifos", "_heads", "_stale", "live")

    def __init__(self, ageing_ns: int | None) -> None:
        self._ageing_ns = ageing_ns
        self._fifos: dict[int, deque[Task]] = {}
        self._heads: list[tuple[int, int]] = []  # (key of the first in line, its priority)
        self.live = 0
        self._stale = 0

    def __len__(self) -> int:
        return self.live

    def __iter__(self) -> Iterator[Task]:
        """The waiting tasks, priority by priority, each in its order; for checks and snapshots."""
        for priority in sorted(self._fifos):
            for task in self._fifos[priority]:
                if task.state == _READY:
                    yield task

    def oldest_at_ns(self) -> int | None:
        """Since when the task waits that has waited longest, ``None`` for none. It is the first of
        its priority, so this costs time in proportion to the priorities.
        """
        firsts = (
            next((t for t in fifo if t.state == _READY), None) for fifo in self._fifos.values()
        )
        return min((task.ready_at_ns for task in firsts if task is not None), default=None)

    def key(self, task: Task) -> tuple[int, int]:
        """The written key of the order, for checks: the smallest starts first, then FIFO."""
        priority = task.spec.priority
        if self._ageing_ns is None:
            return priority, priority
        return task.ready_at_ns + priority * self._ageing_ns, priority

    def push(self, task: Task) -> None:
        """Append a task that has just become ready."""
        priority = task.spec.priority
        fifo = self._fifos.get(priority)
        if fifo:
            fifo.append(task)
        else:
            ageing = self._ageing_ns
            key = priority if ageing is None else task.ready_at_ns + priority * ageing
            heapq.heappush(self._heads, (key, priority))
            if fifo is None:
                self._fifos[priority] = deque((task,))
            else:
                fifo.append(task)
        self.live += 1

    def pop(self) -> Task:
        """Take out the task that starts next.

        Raises:
            IndexError: nobody waits.
        """
        heads = self._heads
        while True:
            priority = heads[0][1]
            fifo = self._fifos[priority]
            task = fifo.popleft()
            if not fifo:
                heapq.heappop(heads)
                if len(self._fifos) > _SPARE:
                    del self._fifos[priority]
            elif self._ageing_ns is not None:
                key = fifo[0].ready_at_ns + priority * self._ageing_ns
                heapq.heapreplace(heads, (key, priority))
            if task.state == _READY:
                self.live -= 1
                return task
            self._stale -= 1

    def discard_one(self) -> None:
        """Note that one waiting task has ended where it stands."""
        self.live -= 1
        self._stale += 1
        if self._stale > _SPARE and self._stale > self.live:
            self._sweep()

    def _sweep(self) -> None:
        self._heads = []
        for priority in sorted(self._fifos):
            kept = deque(task for task in self._fifos[priority] if task.state == _READY)
            if not kept:
                del self._fifos[priority]
                continue
            self._fifos[priority] = kept
            ageing = self._ageing_ns
            key = priority if ageing is None else kept[0].ready_at_ns + priority * ageing
            self._heads.append((key, priority))
        heapq.heapify(self._heads)
        self._stale = 0
