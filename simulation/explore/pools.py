"""A simulated pool whose choices are on a tape: ordinary functions, explored.

What is chosen here: in which order the stimuli of one instant are told; which of the strands that
are due at one instant steps back behind the others, when its turn has come and at each lock that it
takes or lets go of; and whether a sleep, a wait's time or a modelled attempt is late or slow. The
rest is the ``SimulatedWorkerPool``, the core under it verified after each step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

import msgspec
import simpy

from runtime import WorkerPoolConfig
from runtime.core.invariants import Auditor, check
from runtime.core.records import AttemptFailed, AttemptSucceeded, Instruction, Stimulus
from runtime.core.stories import in_seconds
from runtime.engine import Engine
from runtime.host import Host
from simulation.explore.faults import Menu, order_menu
from simulation.explore.tape import Tape
from simulation.host import VirtualHost
from simulation.pool import SimulatedWorkerPool
from simulation.world.loop import StrandClock
from simulation.world.strands import Strand

__all__ = ["ExploredPool"]

_FINISH: Final = ("", "late", "slow")


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

    def _make_host(self, engine: Engine) -> Host:
        self._virtual = _Host(engine, self._seed, self._tape, self._faults, **self._world_options)
        weakref.finalize(self, self._virtual.release).atexit = False
        return self._virtual

    @property
    def strikes(self) -> list[str]:
        """What was not ordinary, a line each."""
        return self._virtual.strikes if isinstance(self._virtual, _Host) else []


class _Host(VirtualHost):
    def __init__(
        self, engine: Engine, seed: int, tape: Tape, faults: frozenset[str], **options: Any
    ) -> None:
        self._tape, self._faults = tape, faults
        self._auditor = Auditor(engine.core.settings)
        self.strikes: list[str] = []
        super().__init__(engine, seed, **options)
        self.world.offer = self._offer

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
        if strand is not self.world.current or strand.over or not clock.crowded():
            return
        if self._tape.choose(clock.order, strand.number):
            clock.strike(f"{strand.name} is held up at a lock, and others run first")
            self.world.step_back(strand)


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
        while len(gathered) > 1:
            place = self._tape.choose(order_menu(len(gathered), self._faults), 0)
            if not place:
                break
            first = gathered.pop(place - 1)
            self.strike(f"{type(first[0]).__name__} is told alone and first")
            self.decide(*first)
        super().settle()
