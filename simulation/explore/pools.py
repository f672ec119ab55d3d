"""A simulated pool whose choices are on a tape: ordinary functions, explored.

What is chosen here: in which order the stimuli of one instant are told, and whether a modelled
attempt is late or slow. The rest is the ``SimulatedWorkerPool``, the core under it verified after
each step.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.core.invariants import Auditor, check
from runtime.core.records import AttemptFailed, AttemptSucceeded, Instruction, Stimulus
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
    """

    def __init__(
        self, tape: Tape, faults: frozenset[str], config: WorkerPoolConfig | None, seed: int
    ) -> None:
        self._tape, self._faults = tape, faults
        super().__init__(config, seed)

    def _make_host(self, engine: Engine) -> Host:
        self._virtual = _Host(engine, self._seed, self._tape, self._faults)
        return self._virtual


class _Host(VirtualHost):
    def __init__(self, engine: Engine, seed: int, tape: Tape, faults: frozenset[str]) -> None:
        self._tape, self._faults = tape, faults
        self._auditor = Auditor(engine.core.settings)
        super().__init__(engine, seed)

    def _make_clock(self) -> StrandClock[Strand]:
        return _Clock(self.engine, self._decide, self._carry_out, self._tape, self._faults)

    def _decide(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        out = super()._decide(now_ns, stimulus)
        self._auditor.step(now_ns, stimulus, out)
        check(self.engine.core)
        return out


class _Clock(StrandClock[Strand]):
    def __init__(
        self, engine: Engine, decide: Any, carry_out: Any, tape: Tape, faults: frozenset[str]
    ) -> None:
        super().__init__(engine.core, decide, carry_out)
        self._tape, self._faults = tape, faults
        self._finish = Menu(_FINISH, faults)

    def happen_at(self, at_ns: int, stimulus: Stimulus, payload: Any) -> None:
        """Let an attempt end, perhaps late."""
        if isinstance(stimulus, AttemptSucceeded | AttemptFailed):
            place = self._tape.choose(self._finish, stimulus.task)
            if place:
                at_ns += 1 if place == 1 else at_ns - self.now
                stimulus = msgspec.structs.replace(stimulus, ended_at_ns=at_ns)
        super().happen_at(at_ns, stimulus, payload)

    def settle(self) -> None:
        """Let the core decide on what has happened, perhaps on one thing alone and first."""
        gathered = self._gathered
        while len(gathered) > 1:
            place = self._tape.choose(order_menu(len(gathered), self._faults), 0)
            if not place:
                break
            self.decide(*gathered.pop(place - 1))
        super().settle()
