"""The virtual clock: a core on SimPy's time.

Whatever happens at one and the same instant is gathered and handed to the core as one
``Simultaneous``, and the core settles the order; so a run never depends on which of two SimPy
events was scheduled first. What comes from outside (what a user does between two runs of the
clock, a workload's arrivals) is decided after that, one call after the other, as on real threads.

SimPy's ``Environment``, in integer nanoseconds, runs what can call back: sleeping code, waits, the
core's deadlines. What is known beforehand and only has to be told to the core at its instant is
merged in from its own order, without a SimPy event each: arrivals, and the ends of modelled
attempts (``docs/decisions/0006``: half the time a task).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, ClassVar, Final, Protocol, get_args

import msgspec
import simpy

from runtime.core import Core
from runtime.core.records import (
    AbortRequested,
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    Simultaneous,
    SimultaneousPart,
    Stimulus,
    TimeElapsed,
)

__all__ = ["NEVER", "Arrival", "Timed", "VirtualClock"]

#: An instant in nanoseconds and what happens then: a submission, a cancel, an abort, a drain.
Arrival = tuple[int, SimultaneousPart]

NEVER: Final = 1 << 63
_INFINITY: Final = float("inf")
_NO_ARRIVAL: Final[Arrival] = (NEVER, AbortRequested())
_PARTS: Final = frozenset(get_args(SimultaneousPart))


class Timed(Protocol):
    """Something that has timers of its own.

    Attributes:
        next_at_ns: when it next has something to do; ``NEVER`` for not at all.
    """

    next_at_ns: int

    def advance(self, now_ns: int) -> None:
        """Do what is due now."""


class _Alarm(msgspec.Struct, gc=False):
    """What is called back: all of a SimPy event that its environment and the callback need.

    Args:
        callbacks: what is called, with the alarm; SimPy takes them out for that.
        value: what it carries.
    """

    callbacks: list[Callable[[Any], None]] | None
    value: Any
    _ok: ClassVar[bool] = True  # SimPy asks whether it is to raise


class VirtualClock:
    """Runs a core on virtual time.

    Args:
        core: whose deadlines are kept.
        decide: the way to the core.
        carry_out: is given each instruction with the instant, the stimulus and its payload.
        arrivals: what is known to come, in the order of time.

    Attributes:
        now: the present, in nanoseconds.
    """

    def __init__(
        self,
        core: Core,
        decide: Callable[[int, Stimulus], list[Instruction]],
        carry_out: Callable[[int, Instruction, Stimulus, Any], None],
        arrivals: Iterator[Arrival] | None = None,
    ) -> None:
        self.now = 0
        self._core = core
        self._decide = decide
        self._carry_out = carry_out
        self._env: Any = simpy.Environment(initial_time=0)
        self._event_at = NEVER  # of the next SimPy event, or of what is called back now
        # called back now, after SimPy's events of this instant
        self._soon: deque[tuple[Callable[[Any], None], _Alarm]] = deque()
        self._ends: list[tuple[int, int, Stimulus, Any]] = []  # heap: at, count, what, payload
        self._count = 0
        self._arrivals: Iterator[Arrival] = iter(()) if arrivals is None else arrivals
        self._next_arrival = next(self._arrivals, _NO_ARRIVAL)
        self._gathered: list[tuple[Stimulus, Any]] = []
        self._wake_at = NEVER

    def happen(self, stimulus: Stimulus, payload: Any) -> None:
        """Note that something happens at this instant; while the clock runs."""
        self._gathered.append((stimulus, payload))

    def happen_at(self, at_ns: int, stimulus: Stimulus, payload: Any) -> None:
        """Let something happen at an instant, now or later.

        Args:
            at_ns: when, in nanoseconds.
            stimulus: what happens then.
            payload: what it brings home.
        """
        self._count = count = self._count + 1
        heappush(self._ends, (at_ns, count, stimulus, payload))

    def arrive_at(self, at_ns: int, part: SimultaneousPart) -> None:
        """Let something arrive that was not known when the clock was made.

        It is decided on like any arrival: after what else happens at its instant, and after the
        arrivals of that instant that were known before it.

        Args:
            at_ns: when, in nanoseconds, now or later.
            part: what arrives.
        """
        if not isinstance(self._arrivals, _Late):
            self._arrivals = _Late(self._next_arrival, self._arrivals)
        self._next_arrival = self._arrivals.add(at_ns, part)

    def at(self, after_ns: int, callback: Callable[[Any], None], value: Any = None) -> None:
        """Call back after a while.

        What is to be called back at one instant is called in the order in which this was asked.

        Args:
            after_ns: how long after now, in nanoseconds.
            callback: called with an event that has ``value``.
            value: what to carry.
        """
        at = self.now + after_ns
        if after_ns:
            env = self._env
            env.schedule(_Alarm([callback], value), delay=at - env.now)
        else:  # SimPy's events of this instant were all asked for before it came
            self._soon.append((callback, _Alarm(None, value)))
        self._event_at = min(self._event_at, at)

    def drive(self, timed: Timed) -> None:
        """Let something that has timers of its own go on with this clock.

        Args:
            timed: what. Whenever its next instant has changed other than by ``advance``,
                ``look_again`` is to be called.
        """
        self._env = _Both(self._env, timed)
        self._look_at_events()

    def look_again(self) -> None:
        """Take note that what this clock drives has another next instant."""
        self._look_at_events()

    def settle(self) -> None:
        """Let the core decide on what has happened at this instant."""
        gathered = self._gathered
        while gathered:
            if len(gathered) == 1:
                stimulus, payload = gathered.pop()
                self.decide(stimulus, payload)
                continue
            batch, gathered[:] = list(gathered), []
            parts: list[SimultaneousPart] = []
            payloads: dict[tuple[int, int], Any] = {}
            for stimulus, payload in batch:
                kind = type(stimulus)
                if kind in _PARTS:
                    parts.append(stimulus)  # type: ignore[arg-type]  # by its kind
                if kind is AttemptSucceeded or kind is AttemptFailed:
                    payloads[stimulus.task, stimulus.attempt] = payload  # type: ignore[union-attr]
            if len(parts) > 1:
                self.decide(Simultaneous(tuple(parts)), payloads)
            else:  # the others are wakes, and a wake says nothing that any decision does not
                self.decide(*next((b for b in batch if type(b[0]) is not TimeElapsed), batch[0]))

    def decide(self, stimulus: Stimulus, payload: Any) -> list[Instruction]:
        """Let the core decide on one stimulus now.

        Returns:
            The instructions, carried out.
        """
        now = self.now
        instructions = self._decide(now, stimulus)
        for instruction in instructions:
            self._carry_out(now, instruction, stimulus, payload)
        if self._core.wake_at_ns < self._wake_at:
            self._mind_deadline()
        return instructions

    def _mind_deadline(self) -> None:
        """Wake the core when its next deadline comes."""
        self._wake_at = wake = self._core.wake_at_ns
        self.at(max(0, wake - self.now), self._woken)

    def _woken(self, event: simpy.Event) -> None:
        if self.now >= self._wake_at:
            self._wake_at = NEVER
            self.happen(TimeElapsed(), None)

    def run(self, done: Callable[[], bool] | None, until_ns: int | None = None) -> bool:
        """Let time pass.

        Args:
            done: asked after each instant; ends the run where it is true. ``None`` for never.
            until_ns: the last instant, ``None`` for no end.

        Returns:
            Whether ``done`` came true; if not, it is ``until_ns`` now, or nothing is left that
            could ever happen.
        """
        core, decide, carry_out = self._core, self._decide, self._carry_out
        gathered, ends = self._gathered, self._ends
        if until_ns is not None and until_ns > self.now:
            self.at(until_ns - self.now, arrive)
        self.settle()
        stimulus: Stimulus
        payload: Any
        while done is None or not done():
            arrives_at, arriving = self._next_arrival
            if until_ns is not None and self.now >= until_ns:
                return False
            instant = self._event_at
            if ends and ends[0][0] < instant:
                instant = ends[0][0]
            if arrives_at < instant:  # else it comes after the others
                self.now = instant = arrives_at
                stimulus, payload = arriving, None
                self._next_arrival = next(self._arrivals, _NO_ARRIVAL)
            elif instant == NEVER:
                return False
            else:
                self.now = instant
                alone = False
                if self._event_at != instant:  # then there is an end
                    _, _, stimulus, payload = heappop(ends)
                    alone = not ends or ends[0][0] != instant
                    if not alone:
                        gathered.append((stimulus, payload))
                if not alone:
                    while ends and ends[0][0] == instant:
                        gathered.append(heappop(ends)[2:])
                    while self._event_at == instant:
                        self._step()
                    if len(gathered) != 1:
                        self.settle()
                        continue
                    stimulus, payload = gathered.pop()
            for instruction in decide(instant, stimulus):  # what decide() does, without the call
                carry_out(instant, instruction, stimulus, payload)
            if core.wake_at_ns < self._wake_at:
                self._mind_deadline()
        return True

    def _step(self) -> None:
        """Let the next thing of this instant call back."""
        env, soon = self._env, self._soon
        if soon and env.peek() > self.now:
            callback, alarm = soon.popleft()
            callback(alarm)
        else:
            env.step()
        at = env.peek()  # what _look_at_events does, without the call
        if soon and at > self.now:
            at = self.now
        self._event_at = NEVER if at == _INFINITY else int(at)

    def _look_at_events(self) -> None:
        at = self._env.peek()
        if self._soon and at > self.now:
            at = self.now
        self._event_at = NEVER if at == _INFINITY else int(at)


class _Both:
    """SimPy's environment and something else with timers, as one; the latter is first."""

    def __init__(self, env: Any, timed: Timed) -> None:
        self._env, self._timed = env, timed
        self.schedule = env.schedule

    @property
    def now(self) -> Any:
        return self._env.now

    def peek(self) -> Any:
        at, timed_at = self._env.peek(), self._timed.next_at_ns
        return timed_at if timed_at < at and timed_at < NEVER else at

    def step(self) -> None:
        at = self._timed.next_at_ns
        if at < NEVER and at <= self._env.peek():
            self._timed.advance(at)
        else:
            self._env.step()


class _Late:
    """Arrivals that were known beforehand, merged with those that became known on the way.

    Its top is the next arrival, and asking for the next one says that the top was taken.
    """

    def __init__(self, top: Arrival, known: Iterator[Arrival]) -> None:
        self._known = known
        self._count = 0
        self._heap: list[tuple[int, int, SimultaneousPart]] = [(top[0], 0, top[1])]

    def add(self, at_ns: int, part: SimultaneousPart) -> Arrival:
        """Take one in, and say which is the next."""
        self._count += 1
        heappush(self._heap, (at_ns, self._count, part))
        return self._heap[0][::2]

    def __iter__(self) -> _Late:
        return self

    def __next__(self) -> Arrival:
        _, count, _ = heappop(self._heap)
        if not count:  # known ones come first within their instant
            at_ns, part = next(self._known, _NO_ARRIVAL)
            heappush(self._heap, (at_ns, 0, part))
        return self._heap[0][::2]


def arrive(event: simpy.Event) -> None:
    """An instant is reached; that is all."""
