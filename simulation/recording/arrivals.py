"""When the tasks of a recording come under another setting.

* ``auto``: as the recording shows that they came (``simulation.recording.following``). Where
  submissions followed ends, each that did waits for them again: one that came when nothing was in
  flight waits until nothing is (a *barrier*: the next phase of an orchestrator), the others for
  the n-th end, as in ``closed``. Then it comes after the think time that it had. What came without
  waiting, such as the rest of a batch, comes as long after the last one that waited as it did then.
  Where submissions did not follow ends, they come as recorded. An abort that found nothing to
  cancel did nothing, and is left out.
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
from simulation.recording.following import following_of
from simulation.recording.read import Recording

__all__ = [
    "AUTO",
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
        doubted: where ``auto`` cannot tell whether submissions follow ends: whether they do.

    Raises:
        ValueError: the factor is out of range.
    """

    kind: Literal["auto", "recorded", "closed", "scaled"]
    factor: float = 1.0
    resizes: bool = True
    doubted: bool = False

    def __post_init__(self) -> None:
        if not 1e-6 <= self.factor <= 1e6:
            raise ValueError(f"arrivals: scaled={self.factor!r}: must be 1e-6 to 1e6")

    @property
    def baseline(self) -> Arrivals:
        """How they come where nothing is changed: scaled ones as recorded."""
        return RECORDED if self.kind == "scaled" else dataclasses.replace(self, resizes=True)

    def under(self, changes: Iterable[str]) -> Arrivals:
        """The same where some settings are changed: with a number of workers of its own, a pool is
        not resized.

        Args:
            changes: the fields of ``WorkerPoolConfig`` that are.
        """
        return dataclasses.replace(self, resizes=False) if "max_workers" in changes else self

    def __str__(self) -> str:
        return f"scaled={self.factor:g}" if self.kind == "scaled" else self.kind


AUTO: Final = Arrivals("auto")
RECORDED: Final = Arrivals("recorded")
CLOSED: Final = Arrivals("closed")


def parse_arrivals(text: str) -> Arrivals:
    """Read how tasks are to come.

    Args:
        text: ``auto``, ``recorded``, ``closed`` or ``scaled=F``.

    Returns:
        The same as a value.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> parse_arrivals("scaled=1.5").factor
        1.5
    """
    kind, equals, factor = text.strip().partition("=")
    for known in (AUTO, RECORDED, CLOSED):
        if not equals and kind == known.kind:
            return known
    if equals and kind == "scaled":
        try:
            return Arrivals("scaled", float(factor))
        except ValueError as error:
            if "arrivals" in str(error):
                raise
    raise ValueError(
        f"arrivals {text!r}: must be auto, recorded, closed, or scaled=F with F a number, such as "
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


class _Stage(NamedTuple):
    """Arrivals of one program that go on together once what they wait for has happened.

    Args:
        ends: so many tasks from outside must have ended.
        idle: whether nothing may be in flight.
        think_ns: how long after that the first of them comes.
        came: them, and how long after the first each comes.
    """

    ends: int
    idle: bool
    think_ns: int
    came: list[tuple[int, _Bundle]]


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
        # what waits for ends, in the order in which it came
        self._queue: deque[_Stage] = deque()
        # a drain that waited for the tasks from outside: how many, how long after the last, and it
        self._closing: tuple[int, int, _Bundle] | None = None
        self._ended = 0
        self._last_at = 0
        self._resizes = arrivals.resizes
        self._in_flight = 0
        self._leaders = self._idle = left_out = frozenset[int]()
        if arrivals.kind == "auto":
            judged = following_of(recording)
            self._leaders = judged.possible if arrivals.doubted else judged.leaders
            self._idle = frozenset(one.index for one in judged.barriers)
            left_out = judged.idle_aborts
        plain = arrivals.kind in ("auto", "recorded") and not self._leaders and not left_out
        if not recording.parents and plain:
            self._known = [known for known in recording.arrivals if self._comes(known[1])]
            self._note(self._known)
        else:
            self._known = self._sort_out(recording, arrivals.factor, left_out)

    @property
    def waiting(self) -> int:
        """Arrivals that have not come, since what they wait for has not happened."""
        return sum(len(stage.came) for stage in self._queue) + sum(
            map(len, self._children.values())
        )

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
        self._note(coming)
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
        self._note(coming)
        self._in_flight -= 1
        if end.task not in self._parents:
            self._ended += 1
            if self._closing is not None and self._closing[0] == self._ended:
                _, after_ns, bundle = self._closing
                coming += bundle.moved_to(now_ns + after_ns)
        while self._queue and self._ready(self._queue[0]):
            stage = self._queue.popleft()
            begins_at = max(self._last_at, now_ns + stage.think_ns)
            on: list[Arrival] = []
            for after_ns, bundle in stage.came:
                self._last_at = max(self._last_at, begins_at + after_ns)
                on += bundle.moved_to(begins_at + after_ns)
            self._note(on)
            coming += on
        return coming

    def _ready(self, stage: _Stage) -> bool:
        """Whether what a stage waits for has happened."""
        return self._ended >= stage.ends and not (stage.idle and self._in_flight)

    def _sort_out(
        self, recording: Recording, factor: float, left_out: frozenset[int]
    ) -> list[Arrival]:
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
        stage_at = 0
        first_at = recording.arrivals[0][0] if recording.arrivals else 0
        for index, ((at, part), ends_before) in enumerate(
            zip(recording.arrivals, recording.ends_before, strict=True)
        ):
            if isinstance(part, CancelRequested) or not self._comes(part) or index in left_out:
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
            elif index in self._leaders:
                idle, ended = index in self._idle, own[ends_before]
                last = recording.run.ended_at_ns[ends_before - 1] if idle else ends[ended - 1]
                self._queue.append(_Stage(ended, idle, at - last, [(0, bundle)]))
                stage_at = at
            elif self._leaders and self._queue:
                self._queue[-1].came.append((at - stage_at, bundle))
            elif self._closed and own[ends_before]:
                ended = own[ends_before]
                self._queue.append(_Stage(ended, False, at - ends[ended - 1], [(0, bundle)]))
            else:
                moved_at = first_at + round((at - first_at) / factor)
                self._last_at = max(self._last_at, moved_at)
                known += bundle.moved_to(moved_at)
        known.sort(key=lambda arrival: arrival[0])
        self._note(known)
        return known

    def _comes(self, part: SimultaneousPart) -> bool:
        return self._resizes or type(part) is not ResizeRequested

    def _note(self, arrivals: list[Arrival]) -> None:
        """Tasks that are to come: they are in flight from now on, and by when they must end."""
        for _, part in arrivals:
            if type(part) is TaskSubmitted:
                self._in_flight += 1
                if part.deadline_at_ns is not None:
                    self._deadlines[part.task] = part.deadline_at_ns
