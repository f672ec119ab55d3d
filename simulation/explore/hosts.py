"""The host of an explored pool: what is chosen about ordinary functions while they run.

A worker may begin late or die before it calls a function. A function may be held up at a lock, or
an error is raised where it sleeps or waits for a task. When it has returned or raised, its attempt
may be late, slow, hang, or end otherwise than it did: what it has done is done then, and it is
done again where the attempt is retried, as in production.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import simpy

from runtime.core.invariants import Auditor, check
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    Simultaneous,
    StartAttempt,
    Stimulus,
)
from runtime.engine import Engine, Raised
from simulation.explore.clocks import ExploredClock
from simulation.explore.faults import InjectedError, Menu, TooManyError, function_menu
from simulation.explore.preempt import traced
from simulation.explore.tape import Tape
from simulation.host import VirtualHost
from simulation.world.errors import WorldEnded
from simulation.world.loop import StrandClock
from simulation.world.strands import Holds, Strand, World, current

__all__ = ["ExploredHost"]

_SECOND: Final = 1_000_000_000
_ERRORS: Final[dict[str, type[BaseException]]] = {
    "die": InjectedError,
    "fail": InjectedError,
    "burst": InjectedError,
    "base_exception": KeyboardInterrupt,
    "retry_after": TooManyError,
}


class _World(World):
    """Strands that may be interrupted where they would sleep or wait for a task."""

    interrupt: Callable[[Strand], None] | None = None
    at_access: Callable[[FrameType], None] | None = None

    def spawn(self, function: Callable[[], None], name: str, here: tuple[Any, Any]) -> Strand:
        if self.at_access is not None:
            function = traced(function, self.at_access)
        return super().spawn(function, name, here)

    def pause(self, strand: Strand, waits: Holds | str, timeout_ns: int | None) -> bool:
        if self.interrupt is not None and isinstance(waits, str):
            self.interrupt(strand)
        return super().pause(strand, waits, timeout_ns)


class ExploredHost(VirtualHost):
    """A ``VirtualHost`` whose choices are on a tape.

    Args:
        engine: as for a ``VirtualHost``.
        seed: as for a ``VirtualHost``.
        tape: where choices are made.
        faults: which faults are on.
        options: as for a ``VirtualHost``.

    Attributes:
        strikes: what was not ordinary, a line each.
    """

    _make_world = _World

    def __init__(
        self, engine: Engine, seed: int, tape: Tape, faults: frozenset[str], **options: Any
    ) -> None:
        self._tape, self._faults = tape, faults
        self._auditor = Auditor(engine.core.settings)
        self._limits: dict[tuple[int, int], int | None] = {}  # of attempts: their timeouts
        super().__init__(engine, seed, **options)
        self._start = Menu(("", "slow_start", "die"), faults)
        self._wait = Menu(("", "raise", "base_exception"), faults)
        world = self.world
        world.offer = self._offer
        self._preempt = Menu(("", "preempt"), faults)
        preempting = tape.choose(self._preempt, 0, int("preempt" in faults))
        if isinstance(world, _World):
            world.interrupt = self._interrupt
            if preempting:
                if options.get("carrier", "thread") != "thread":
                    raise ValueError("the fault 'preempt' needs carrier='thread'")
                world.at_access = self._access

    def _make_clock(self) -> StrandClock[Strand]:
        self._clock = ExploredClock(
            self.engine, self._decide, self._carry_out, self._tape, self._faults
        )
        self.strikes = self._clock.strikes
        self.strike = self._clock.strike
        return self._clock

    def _decide(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        out = super()._decide(now_ns, stimulus)
        parts = stimulus.stimuli if isinstance(stimulus, Simultaneous) else (stimulus,)
        for part in parts:
            if isinstance(part, AttemptSucceeded | AttemptFailed):
                self._clock.last = part
                self._limits.pop((part.task, part.attempt), None)
        self._auditor.step(now_ns, stimulus, out)
        check(self.engine.core)
        return out

    def _carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        if type(instruction) is StartAttempt:
            self._limits[instruction.task, instruction.attempt] = instruction.timeout_at_ns
            self._clock.starts = instruction
        super()._carry_out(now_ns, instruction, stimulus, payload)

    # ------------------------------------------------------------ a worker begins

    def _begin(self, event: simpy.Event) -> None:
        """Call a function; perhaps late, or its worker dies."""
        carried: Any = event.value
        job, attempt, began, _ = carried
        number = job.spec.task
        place = self._tape.choose(self._start, number)
        if place == 1:
            self.strike(
                "slow_start", f"the worker of {self.engine.told(number, attempt)} begins 1 s late"
            )
            self._time.at(_SECOND, super()._begin, carried)
        elif place:
            self.strike(
                "die", f"the worker of {self.engine.told(number, attempt)} dies before it begins"
            )
            now = self._time.now
            died = AttemptFailed(number, attempt, began, began, now, "WorkerDied")
            self._time.happen(died, Raised(InjectedError("the worker died: the fault 'die'")))
        else:
            super()._begin(event)

    # ------------------------------------------------------------ a function runs

    def _offer(self, strand: Strand) -> None:
        """At a lock: perhaps others run before the strand goes on."""
        clock = self._clock
        if strand is not self.world.current or strand.over:
            return
        menu = clock.at_lock if clock.crowded() else clock.alone_at_lock
        struck = menu.names[self._tape.choose(menu, strand.number)]
        if struck == "order":
            self.strike(struck, f"{strand.told} is held up at a lock, and others run first")
            self.world.step_back(strand)
        elif struck:
            self.strike(struck, f"{strand.told} is held up for 1 s at a lock")
            self.world.step_back(strand, _SECOND)

    def _access(self, frame: FrameType) -> None:
        """Before what is shared is touched: perhaps others run first."""
        strand = current()
        if strand is None or strand.over or not self._clock.crowded():
            return
        if self._tape.choose(self._preempt, strand.number):
            code = frame.f_code
            self.strike(
                "preempt",
                f"{strand.told} is held up at {os.path.basename(code.co_filename)}:"
                f"{frame.f_lineno} in {code.co_name}, and others run first",
            )
            self.world.step_back(strand)

    def _interrupt(self, strand: Strand) -> None:
        """At a sleep: perhaps an error takes its place."""
        struck = self._wait.names[self._tape.choose(self._wait, strand.number)]
        if struck:
            error = InjectedError if struck == "raise" else _ERRORS[struck]
            self.strike(struck, f"{error.__name__} where {strand.told} would wait")
            raise error(f"raised by the fault {struck!r} where the task would wait")

    # ------------------------------------------------------------ a function ends

    def _struck(self, fn: Callable[..., Any], number: int, attempt: int) -> Callable[..., Any]:
        began = self._time.now

        def function_with_faults(*args: Any, **kwargs: Any) -> Any:
            try:
                value = fn(*args, **kwargs)
            except WorldEnded:
                raise
            except BaseException:
                self._end(number, attempt, began)
                raise
            self._end(number, attempt, began)
            return value

        return function_with_faults

    def _end(self, number: int, attempt: int, began: int) -> None:
        """A function has returned or raised: perhaps its attempt ends later, or otherwise."""
        clock, strand = self._clock, current()
        if strand is None or strand.over:
            return
        limit = self._limits.get((number, attempt))
        limited = limit is not None and limit > clock.now
        menu = function_menu(limited, self._faults)
        struck = menu.names[self._tape.choose(menu, number)]
        who = f"attempt {number}.{attempt}"
        if not struck and clock.burst:
            clock.burst -= 1
            struck = "burst"
        if not struck:
            return
        if struck in _ERRORS:
            kind = _ERRORS[struck]
            self.strike(struck, f"{kind.__name__} at the end of {who}, when its work is done")
            raise kind(f"raised by the fault {struck!r} at the end of the task's function")
        if struck == "hang":
            self.strike(struck, f"{who} never comes home")
            clock.hanging.append(strand)
            self.world.park(strand, "the end of the fault 'hang'")
            return
        if struck in {"at_timeout", "after_timeout"}:
            assert limit is not None
            late_ns = limit - clock.now + (struck == "after_timeout")
        else:
            late_ns = 1 if struck == "late" else clock.now - began
        self.strike(struck, f"{who} comes home {late_ns / 1e9:.10g} s later")
        self.world.step_back(strand, late_ns)
