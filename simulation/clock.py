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

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, Final

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

__all__ = ["Arrival", "VirtualClock"]

#: An instant in nanoseconds and what happens then: a submission, a cancel, an abort, a drain.
Arrival = tuple[int, SimultaneousPart]

NEVER: Final = 1 << 63
_INFINITY: Final = float("inf")
_NO_ARRIVAL: Final[Arrival] = (NEVER, AbortRequested())


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
        self._env = simpy.Environment(initial_time=0)
        self._event_at = NEVER  # of the next SimPy event
        self._ends: list[tuple[int, int, Stimulus, Any]] = []  # heap: at, count, what, payload
        self._count = 0
        self._arrivals = iter(()) if arrivals is None else arrivals
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

    def at(self, after_ns: int, callback: Callable[[Any], None], value: Any = None) -> None:
        """Call back after a while.

        Args:
            after_ns: how long after now, in nanoseconds.
            callback: called with the SimPy event, which carries ``value``.
            value: what to carry.
        """
        env = self._env
        at = self.now + after_ns
        timeout = env.timeout(at - env.now, value)
        timeout.callbacks.append(callback)
        self._event_at = min(self._event_at, at)

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
                if isinstance(stimulus, SimultaneousPart):
                    parts.append(stimulus)
                if isinstance(stimulus, AttemptSucceeded | AttemptFailed):
                    payloads[stimulus.task, stimulus.attempt] = payload
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
        arrives_at, arriving = self._next_arrival
        while done is None or not done():
            if until_ns is not None and self.now >= until_ns:
                return False
            instant = self._event_at
            if ends and ends[0][0] < instant:
                instant = ends[0][0]
            if arrives_at < instant:  # else it comes after the others
                self.now = instant = arrives_at
                stimulus, payload = arriving, None
                self._next_arrival = arrives_at, arriving = next(self._arrivals, _NO_ARRIVAL)
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
                        self._env.step()
                        self._look_at_events()
                    if len(gathered) != 1:
                        self.settle()
                        continue
                    stimulus, payload = gathered.pop()
            for instruction in decide(instant, stimulus):  # what decide() does, without the call
                carry_out(instant, instruction, stimulus, payload)
            if core.wake_at_ns < self._wake_at:
                self._mind_deadline()
        return True

    def _look_at_events(self) -> None:
        at = self._env.peek()
        self._event_at = NEVER if at == _INFINITY else int(at)


def arrive(event: simpy.Event) -> None:
    """An instant is reached; that is all."""
