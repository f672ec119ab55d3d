"""A simulated pool whose choices are on a tape: ordinary functions, explored.

What is chosen here: in which order the stimuli of one instant are told; which of the strands that
are due at one instant steps back behind the others, when its turn has come and at each lock that it
takes or lets go of, or is held up there for a second; whether a sleep, a wait's time or a modelled
attempt is late or slow, and whether an error is raised in its place; whether a worker begins late
or dies; whether somebody cancels a task or aborts all; and whether an observer raises. The rest is
the ``SimulatedWorkerPool``, the core under it verified after each step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import simpy

from runtime import WorkerPoolConfig
from runtime.core.invariants import Auditor, check
from runtime.core.records import (
    AbortRequested,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    Instruction,
    Stimulus,
    Transition,
)
from runtime.core.stories import in_seconds
from runtime.engine import Engine, Raised
from runtime.host import Host
from runtime.observers import Detail, Observer
from runtime.view import PoolView
from simulation.explore.faults import InjectedError, Menu, order_menu, stop_menu
from simulation.explore.tape import Tape
from simulation.host import VirtualHost
from simulation.pool import SimulatedWorkerPool
from simulation.world.loop import StrandClock
from simulation.world.strands import Holds, Strand, World

__all__ = ["ExploredPool"]

_FINISH: Final = ("", "late", "slow")
_SECOND: Final = 1_000_000_000
_MOST_CANCELLED: Final = (
    8  # tasks of which one may be cancelled at one instant: the first live ones
)


class ExploredPool(SimulatedWorkerPool):
    """A ``SimulatedWorkerPool`` in a world; ``World.pool`` makes it.

    Args:
        tape: where choices are made.
        faults: which faults are on.
        config: as for a ``WorkerPool``.
        seed: as for a ``SimulatedWorkerPool``.
        options: as for a ``SimulatedWorkerPool``.
    """

    def __init__(
        self,
        tape: Tape,
        faults: frozenset[str],
        config: WorkerPoolConfig | None,
        seed: int,
        **options: Any,
    ) -> None:
        self._tape, self._faults = tape, faults
        super().__init__(config, seed, **options)

    def _own_observers(self) -> list[Observer]:
        menu = Menu(("", "observer"), self._faults)
        raises = self._tape.choose(menu, 0)
        return [*super()._own_observers(), *([_Raises()] if raises else [])]

    def _make_host(self, engine: Engine) -> Host:
        self._virtual = _Host(engine, self._seed, self._tape, self._faults, **self._world_options)
        weakref.finalize(self, self._virtual.release).atexit = False
        return self._virtual

    @property
    def strikes(self) -> list[str]:
        """What was not ordinary, a line each."""
        return self._virtual.strikes if isinstance(self._virtual, _Host) else []


class _Raises:
    """An observer that raises as soon as it is told anything."""

    def attach(self, view: PoolView) -> None:
        """It does not yet."""

    def detail(self) -> Detail:
        """All of them."""
        return "all"

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Raise."""
        raise InjectedError("this observer raises")

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """It was detached before."""

    def close(self) -> None:
        """Nothing to do."""


class _World(World):
    """Strands that may be interrupted where they would sleep or wait for a task."""

    interrupt: Callable[[Strand], None] | None = None

    def pause(self, strand: Strand, waits: Holds | str, timeout_ns: int | None) -> bool:
        if self.interrupt is not None and isinstance(waits, str):
            self.interrupt(strand)
        return super().pause(strand, waits, timeout_ns)


class _Host(VirtualHost):
    _make_world = _World

    def __init__(
        self, engine: Engine, seed: int, tape: Tape, faults: frozenset[str], **options: Any
    ) -> None:
        self._tape, self._faults = tape, faults
        self._auditor = Auditor(engine.core.settings)
        self.strikes: list[str] = []
        super().__init__(engine, seed, **options)
        self._start = Menu(("", "slow_start", "die"), faults)
        self._wait = Menu(("", "raise"), faults)
        world = self.world
        world.offer = self._offer
        if isinstance(world, _World):
            world.interrupt = self._interrupt

    def _make_clock(self) -> StrandClock[Strand]:
        self._clock = _Clock(
            self.engine, self._decide, self._carry_out, self._tape, self._faults, self.strikes
        )
        return self._clock

    def _decide(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        out = super()._decide(now_ns, stimulus)
        self._auditor.step(now_ns, stimulus, out)
        check(self.engine.core)
        return out

    def _offer(self, strand: Strand) -> None:
        """At a lock: perhaps others run before the strand goes on."""
        clock = self._clock
        if strand is not self.world.current or strand.over:
            return
        menu = clock.at_lock if clock.crowded() else clock.alone_at_lock
        struck = menu.names[self._tape.choose(menu, strand.number)]
        if struck == "order":
            clock.strike(f"{strand.name} is held up at a lock, and others run first")
            self.world.step_back(strand)
        elif struck:
            clock.strike(f"{strand.name} is held up for 1 s at a lock")
            self.world.step_back(strand, _SECOND)

    def _interrupt(self, strand: Strand) -> None:
        """At a sleep: perhaps an error takes its place."""
        if self._tape.choose(self._wait, strand.number):
            self._clock.strike(f"an error is raised where {strand.name} would wait")
            raise InjectedError("raised by the fault 'raise' where the task would wait")

    def _begin(self, event: simpy.Event) -> None:
        """Call a function; perhaps late, or its worker dies."""
        carried: Any = event.value
        job, attempt, began, _ = carried
        number = job.spec.task
        place = self._tape.choose(self._start, number)
        if place == 1:
            self._clock.strike(f"the worker of task {number}.{attempt} begins 1 s late")
            self._time.at(_SECOND, super()._begin, carried)
        elif place:
            self._clock.strike(f"the worker of task {number}.{attempt} dies")
            now = self._time.now
            died = AttemptFailed(number, attempt, began, began, now, "WorkerDied")
            self._time.happen(died, Raised(InjectedError("the worker died: the fault 'die'")))
        else:
            super()._begin(event)


class _Clock(StrandClock[Strand]):
    def __init__(
        self,
        engine: Engine,
        decide: Any,
        carry_out: Any,
        tape: Tape,
        faults: frozenset[str],
        strikes: list[str],
    ) -> None:
        super().__init__(engine.core, decide, carry_out)
        self._tape, self._faults, self._strikes = tape, faults, strikes
        self._finish = Menu(_FINISH, faults)
        self.order = Menu(("", "order"), faults)
        self.at_lock = Menu(("", "order", "late_lock"), faults)
        self.alone_at_lock = Menu(("", "late_lock"), faults)
        self._stood_back: set[int] = set()

    def strike(self, what: str) -> None:
        """Note what was not ordinary."""
        self._strikes.append(f"{in_seconds(self.now):>12}  {what}")

    def crowded(self) -> bool:
        """Whether anything else is due at this instant."""
        return bool(self.due) or self._event_at == self.now

    def next_due(self) -> Strand | None:
        """The next strand; perhaps it steps back once, behind all else of its instant."""
        while (strand := super().next_due()) is not None:
            number = strand.number
            if number in self._stood_back or not self.crowded() or strand.over:
                self._stood_back.discard(number)
                return strand
            if not self._tape.choose(self.order, number):
                return strand
            self.strike(f"{strand.name} is next, and others run first")
            self._stood_back.add(number)
            self.at(0, self._again, strand)
        return None

    def _again(self, event: simpy.Event) -> None:
        strand: Any = event.value
        self.due.append(strand)

    def happen_at(self, at_ns: int, stimulus: Stimulus, payload: Any) -> None:
        """Let an attempt end, perhaps late."""
        if isinstance(stimulus, AttemptSucceeded | AttemptFailed):
            place = self._tape.choose(self._finish, stimulus.task)
            if place:
                at_ns += 1 if place == 1 else at_ns - self.now
                stimulus = msgspec.structs.replace(stimulus, ended_at_ns=at_ns)
                self.strike(f"task {stimulus.task}.{stimulus.attempt} is {_FINISH[place]}")
        super().happen_at(at_ns, stimulus, payload)

    def time_up_in(self, after_ns: int, callback: Callable[[Any], None], value: Any = None) -> None:
        """Let a strand's sleep or wait end, perhaps late."""
        strand: Strand = value[0]
        place = self._tape.choose(self._finish, strand.number)
        if place:
            after_ns += 1 if place == 1 else after_ns
            self.strike(f"what {strand.name} waits for is {_FINISH[place]}")
        self.at(after_ns, callback, value)

    def settle(self) -> None:
        """Let the core decide on what has happened, perhaps on one thing alone and first."""
        gathered = self._gathered
        if gathered:
            self._stop_some()
        while len(gathered) > 1:
            place = self._tape.choose(order_menu(len(gathered), self._faults), 0)
            if not place:
                break
            first = gathered.pop(place - 1)
            self.strike(f"{type(first[0]).__name__} is told alone and first")
            self.decide(*first)
        super().settle()

    def _stop_some(self) -> None:
        """Perhaps somebody cancels a task or aborts all, at this instant."""
        live = self._core.live()[:_MOST_CANCELLED]
        place = self._tape.choose(stop_menu(len(live), self._faults), 0)
        if not place:
            return
        stop = AbortRequested() if place == 1 else CancelRequested(live[place - 2])
        self.strike(
            "all that is pending is aborted"
            if place == 1
            else f"task {live[place - 2]} is cancelled"
        )
        self._gathered.append((stop, None))
