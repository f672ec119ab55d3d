"""When the tasks of a recording come under another setting.

* ``recorded`` (open): everything comes at its recorded instant, whatever becomes of it.
* ``closed``: whoever submits waits for what he submitted before. What came after the n-th end comes
  as long after the n-th end as it did then (his *think time*), and not before what he did before.
  So the number of tasks in flight stays what it was, and the unchanged setting comes out exactly.
  (Open and closed systems answer very differently to the same change: Schroeder, Wierman and
  Harchol-Balter, 'Open versus closed: a cautionary tale', NSDI 2006.)
* ``scaled=F``: open, and F times as fast: each instant, counted from the first arrival, is divided
  by F.

A task that was submitted by an attempt of another one (its *parent*) always follows that: it comes
as long after the attempt's start as it did then; where that attempt never takes place, since the
parent succeeds without it, when the parent ends; and not at all where the parent fails before. A
journal says who submitted a task since ``TaskSubmitted`` has a ``parent``.

What belongs to a task moves with it: a deadline keeps its distance from the submission, and so does
a cancel. An abort and a drain are somebody's decisions about all tasks: as recorded they stay at
their instants, closed they keep their place among the ends, scaled they are scaled. So it is with a
resize; but who asks for a number of workers means that one throughout (``resizes=False``). A drain
that came when every task from outside had ended was the end of the run, and follows their ends, or
is left out where it refused nothing: ``with`` leaves one in each journal, and at its recorded
instant it would refuse what tasks of a slower setting submit after that.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from runtime.core.records import (
    CancelRequested,
    DrainRequested,
    FinishTask,
    ResizeRequested,
    SimultaneousPart,
    StartAttempt,
    TaskSubmitted,
)
from simulation.clock import Arrival
from simulation.recording.read import Recording

__all__ = [
    "CLOSED",
    "RECORDED",
    "Arrivals",
    "Source",
    "parse_arrivals",
]


@dataclass(frozen=True)
class Arrivals:
    """When tasks come.

    Args:
        kind: see the module.
        factor: how many times as fast they come, where they are scaled.
        resizes: whether the pool is resized as it was then.

    Raises:
        ValueError: the factor is out of range.
    """

    kind: Literal["recorded", "closed", "scaled"]
    factor: float = 1.0
    resizes: bool = True

    def __post_init__(self) -> None:
        if not 1e-6 <= self.factor <= 1e6:
            raise ValueError(f"arrivals: scaled={self.factor!r}: must be 1e-6 to 1e6")

    @property
    def baseline(self) -> Arrivals:
        """How they come where nothing is changed: scaled ones as recorded."""
        return CLOSED if self.kind == "closed" else RECORDED

    def under(self, changes: Iterable[str]) -> Arrivals:
        """The same where some settings are changed: with a number of workers of its own, a pool is
        not resized.

        Args:
            changes: the fields of ``WorkerPoolConfig`` that are.
        """
        return dataclasses.replace(self, resizes=False) if "max_workers" in changes else self

    def __str__(self) -> str:
        return f"scaled={self.factor:g}" if self.kind == "scaled" else self.kind


RECORDED: Final = Arrivals("recorded")
CLOSED: Final = Arrivals("closed")


def parse_arrivals(text: str) -> Arrivals:
    """Read how tasks are to come.

    Args:
        text: ``recorded``, ``closed`` or ``scaled=F``.

    Returns:
        The same as a value.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> parse_arrivals("scaled=1.5")
        Arrivals(kind='scaled', factor=1.5)
    """
    kind, equals, factor = text.strip().partition("=")
    if not equals and kind == "recorded":
        return RECORDED
    if not equals and kind == "closed":
        return CLOSED
    if equals and kind == "scaled":
        try:
            return Arrivals("scaled", float(factor))
        except ValueError as error:
            if "arrivals" in str(error):
                raise
    raise ValueError(
        f"arrivals {text!r}: must be recorded, closed, or scaled=F with F a number, such as "
        f"scaled=1.5 for half as many again in the same time"
    )


class _Bundle(NamedTuple):
    """A task's submission and what belongs to it, or something else that came from outside."""

    at_ns: int
    part: SimultaneousPart
    cancels: list[Arrival]

    def moved_to(self, at_ns: int) -> list[Arrival]:
        """The same at another instant."""
        by_ns = at_ns - self.at_ns
        part = self.part
        if by_ns and type(part) is TaskSubmitted and part.deadline_at_ns is not None:
            part = replace(part, deadline_at_ns=part.deadline_at_ns + by_ns)
        return [(at_ns, part), *((at + by_ns, cancel) for at, cancel in self.cancels)]


class Source:
    """What comes from outside in one run.

    Args:
        recording: what was recorded.
        arrivals: when tasks come.
    """

    def __init__(self, recording: Recording, arrivals: Arrivals) -> None:
        self._parents = recording.parents
        self._closed = arrivals.kind == "closed"
        self._deadlines: dict[int, int] = {}
        # by the parent's attempt: how long after its start, and what comes then
        self._children: dict[tuple[int, int], list[tuple[int, _Bundle]]] = defaultdict(list)
        self._parents_attempts: dict[int, list[tuple[int, int]]] = defaultdict(list)
        # after how many ends, how long after the last of them, and what comes then
        self._queue: deque[tuple[int, int, _Bundle]] = deque()
        # a drain that waited for the tasks from outside: how many, how long after the last, and it
        self._closing: tuple[int, int, _Bundle] | None = None
        self._ended = 0
        self._last_at = 0
        self._resizes = arrivals.resizes
        if not recording.parents and arrivals.kind == "recorded":
            self._known = [known for known in recording.arrivals if self._comes(known[1])]
            self._note_deadlines(self._known)
        else:
            self._known = self._sort_out(recording, arrivals.factor)

    @property
    def waiting(self) -> int:
        """Arrivals that have not come, since what they wait for has not happened."""
        return len(self._queue) + sum(len(of) for of in self._children.values())

    def known(self) -> Iterator[Arrival]:
        """What comes whatever happens, in the order of time."""
        return iter(self._known)

    def deadline_at(self, task: int) -> int | None:
        """By when a task must have ended.

        Args:
            task: its number.
        """
        return self._deadlines.get(task)

    def started(self, now_ns: int, attempt: StartAttempt) -> list[Arrival]:
        """What follows the start of an attempt.

        Args:
            now_ns: when it starts.
            attempt: which.
        """
        if not self._children:
            return []
        coming: list[Arrival] = []
        for after_ns, bundle in self._children.pop((attempt.task, attempt.attempt), ()):
            coming += bundle.moved_to(now_ns + after_ns)
        self._note_deadlines(coming)
        return coming

    def ended(self, now_ns: int, end: FinishTask) -> list[Arrival]:
        """What follows the end of a task.

        Args:
            now_ns: when it ends.
            end: how.
        """
        coming: list[Arrival] = []
        for key in self._parents_attempts.pop(end.task, ()):
            children = self._children.pop(key, ())
            if end.outcome == "ok":
                for _, bundle in children:
                    coming += bundle.moved_to(now_ns)
        if end.task not in self._parents:
            self._ended += 1
            if self._closing is not None and self._closing[0] == self._ended:
                _, after_ns, bundle = self._closing
                coming += bundle.moved_to(now_ns + after_ns)
            while self._queue and self._queue[0][0] <= self._ended:
                _, think_ns, bundle = self._queue.popleft()
                self._last_at = max(self._last_at, now_ns + think_ns)
                coming += bundle.moved_to(self._last_at)
        self._note_deadlines(coming)
        return coming

    def _sort_out(self, recording: Recording, factor: float) -> list[Arrival]:
        """Put each where it belongs; what comes whatever happens is returned, in order."""
        cancels = defaultdict(list)
        for arrival in recording.arrivals:
            if isinstance(arrival[1], CancelRequested):
                cancels[arrival[1].task].append(arrival)
        ends = [
            at
            for at, end in zip(recording.run.ended_at_ns, recording.run.ends, strict=True)
            if end.task not in self._parents
        ]
        own = [0, *accumulate(end.task not in self._parents for end in recording.run.ends)]
        outside = len(recording.specs) - len(self._parents)
        refused = any(end.reason == "submitted while draining" for end in recording.run.ends)
        known: list[Arrival] = []
        first_at = recording.arrivals[0][0] if recording.arrivals else 0
        for (at, part), ends_before in zip(recording.arrivals, recording.ends_before, strict=True):
            if isinstance(part, CancelRequested) or not self._comes(part):
                continue
            task = part.task if type(part) is TaskSubmitted else 0
            bundle = _Bundle(at, part, cancels.get(task, []))
            parent = self._parents.get(task)
            if parent is not None:
                after_ns = at - recording.begun_at[parent]
                self._children[parent].append((after_ns, bundle))
                self._parents_attempts[parent[0]].append(parent)
            elif type(part) is DrainRequested and 0 < outside == own[ends_before]:
                if refused:  # else it did nothing, and is to do nothing
                    self._closing = self._closing or (outside, at - ends[-1], bundle)
            elif self._closed and own[ends_before]:
                ended = own[ends_before]
                self._queue.append((ended, at - ends[ended - 1], bundle))
            else:
                moved_at = first_at + round((at - first_at) / factor)
                self._last_at = max(self._last_at, moved_at)
                known += bundle.moved_to(moved_at)
        known.sort(key=lambda arrival: arrival[0])
        self._note_deadlines(known)
        return known

    def _comes(self, part: SimultaneousPart) -> bool:
        return self._resizes or type(part) is not ResizeRequested

    def _note_deadlines(self, arrivals: list[Arrival]) -> None:
        for _, part in arrivals:
            if type(part) is TaskSubmitted and part.deadline_at_ns is not None:
                self._deadlines[part.task] = part.deadline_at_ns
