"""A simulated pool whose choices are on a tape: ordinary functions, explored.

What is chosen while it runs stands in ``hosts`` and ``clocks``; here, whether an observer raises,
and what becomes of the run's journal. The rest is the ``SimulatedWorkerPool``, the core under it
verified after each step.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

from runtime import WorkerPoolConfig
from runtime.core.records import StopWorkers, Transition
from runtime.engine import Engine
from runtime.host import Host
from runtime.observers import Detail, Observer, Step, StepSink
from runtime.view import PoolView
from simulation.explore.faults import InjectedError, Menu, journal_menu
from simulation.explore.hosts import ExploredHost
from simulation.explore.journals import check_journal
from simulation.explore.properties import Broken
from simulation.explore.tape import Tape
from simulation.pool import SimulatedWorkerPool

__all__ = ["ExploredPool"]

_QUARTERS: Final = 4


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
        self._steps = _Steps()
        super().__init__(config, seed, **options)

    def _own_observers(self) -> list[Observer]:
        menu = Menu(("", "observer"), self._faults)
        self._observed = bool(self._tape.choose(menu, 0))
        return [*super()._own_observers(), *([_Raises()] if self._observed else [])]

    def _own_sinks(self) -> list[StepSink]:
        return [*super()._own_sinks(), self._steps]

    def _make_host(self, engine: Engine) -> Host:
        self._explored = self._virtual = ExploredHost(
            engine, self._seed, self._tape, self._faults, **self._world_options
        )
        weakref.finalize(self, self._virtual.release).atexit = False
        return self._virtual

    def _close(
        self, *, wait: bool, abort: bool, timeout_ns: int | None, children: bool = False
    ) -> None:
        super()._close(wait=wait, abort=abort, timeout_ns=timeout_ns, children=children)
        if wait and timeout_ns is None:
            self._verify_end()

    def _verify_end(self) -> None:
        """A pool that was waited for has nothing left."""
        left = self._engine.core.live()
        stops = [i for _, _, out in self._steps.seen for i in out if type(i) is StopWorkers]
        if left:
            raise Broken("liveness", f"the pool is closed, and {left} have not ended")
        if len(stops) != 1:
            raise Broken("liveness", f"workers were stopped {len(stops)} times, not once")

    def damage_journal(self) -> None:
        """Perhaps damage the journal of the run so far; a run does it once, at its end.

        Raises:
            Broken: the damage passes for the truth.
        """
        menu = journal_menu(self._faults)
        place = self._tape.choose(menu, 0)
        if place:
            fault, quarter = menu.names[place], (place - 1) % _QUARTERS
            self._explored.strike(fault, f"in quarter {quarter + 1} of {_QUARTERS}")
            self._virtual.flush()
            check_journal(self._engine.core.settings, self._steps.seen, fault, quarter)

    def told(self, number: int) -> str:
        """A task as messages name it."""
        return self._engine.told(number)

    @property
    def strikes(self) -> list[str]:
        """What was not ordinary, a line each."""
        made = ["         0 s  observer: one raises"] if self._observed else []
        return made + self._explored.strikes


class _Steps:
    """Keeps every step."""

    def __init__(self) -> None:
        self.seen: list[Step] = []

    def write(self, steps: Sequence[Step]) -> None:
        """Take some steps, in order."""
        self.seen.extend(steps)

    def close(self) -> None:
        """Nothing to do."""


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
