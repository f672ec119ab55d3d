"""The virtual clock: a core over SimPy.

SimPy's ``Environment`` keeps the time, in integer nanoseconds. Whatever happens at one and the same
instant is gathered and handed to the core as one ``Simultaneous``, and the core settles the order;
so a run never depends on which of two SimPy events was scheduled first. What a user does between
two runs of the clock is decided at once, one call after the other, as on real threads.

An attempt is a plain timeout with a callback, not a process: a third of the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import simpy

from runtime.core import Core
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    Simultaneous,
    SimultaneousPart,
    Stimulus,
    TimeElapsed,
)

__all__ = ["NothingLeftError", "VirtualClock"]

_NEVER: Final = 1 << 63
_INFINITY: Final = float("inf")


class NothingLeftError(RuntimeError):
    """Something is waited for, but nothing is left that could ever happen."""


class VirtualClock:
    """Runs a core on virtual time.

    Args:
        core: whose deadlines are kept.
        decide: the way to the core, looked up anew for each decision.
        carry_out: is given each instruction with the instant, the stimulus and its payload.

    Attributes:
        env: SimPy's environment; schedule on it what else is to happen.
        now: the present, in nanoseconds.
    """

    def __init__(
        self,
        core: Core,
        decide: Callable[[int, Stimulus], list[Instruction]],
        carry_out: Callable[[int, Instruction, Stimulus, Any], None],
    ) -> None:
        self.env = simpy.Environment(initial_time=0)
        self._core = core
        self._decide = decide
        self._carry_out = carry_out
        self._gathered: list[tuple[Stimulus, Any]] = []
        self._wake_at = _NEVER

    @property
    def now(self) -> int:
        """The present, in nanoseconds."""
        return self.env.now  # type: ignore[return-value]  # ints in, ints out

    def happen(self, stimulus: Stimulus, payload: Any) -> None:
        """Note that something happens at this instant; while the clock runs."""
        self._gathered.append((stimulus, payload))

    def at(self, after_ns: int, callback: Callable[[simpy.Event], None], value: Any = None) -> None:
        """Call back after a while.

        Args:
            after_ns: how long after now, in nanoseconds.
            callback: called with the SimPy event, which carries ``value``.
            value: what to carry.
        """
        timeout = self.env.timeout(after_ns, value)
        assert timeout.callbacks is not None
        timeout.callbacks.append(callback)

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
        now = self.env.now
        instructions = self._decide(now, stimulus)  # type: ignore[arg-type]
        for instruction in instructions:
            self._carry_out(now, instruction, stimulus, payload)  # type: ignore[arg-type]
        wake = self._core.wake_at_ns
        if wake < self._wake_at:
            self._wake_at = wake
            self.at(max(0, wake - now), self._woken)  # type: ignore[arg-type]
        return instructions

    def _woken(self, event: simpy.Event) -> None:
        if self.env.now >= self._wake_at:
            self._wake_at = _NEVER
            self.happen(TimeElapsed(), None)

    def run(self, done: Callable[[], bool], until_ns: int | None = None) -> bool:
        """Let time pass.

        Args:
            done: asked after each instant; ends the run.
            until_ns: the last instant, ``None`` for no end.

        Returns:
            Whether ``done`` came true; if not, it is ``until_ns`` now.

        Raises:
            NothingLeftError: nothing is left to happen and there is no ``until_ns``.
        """
        env = self.env
        peek, step = env.peek, env.step
        if until_ns is not None and until_ns > self.now:
            self.at(until_ns - self.now, _arrive)
        self.settle()
        while not done():
            if until_ns is not None and self.now >= until_ns:
                return False
            at = peek()
            if at == _INFINITY:
                raise NothingLeftError("nothing is left to happen")
            step()
            while peek() == at:
                step()
            self.settle()
        return True


def _arrive(event: simpy.Event) -> None:
    """An instant is reached; that is all."""
