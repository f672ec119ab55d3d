"""One simulated run of a workload under a setting: the core on the virtual clock, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import simpy

from runtime.core import Core, CoreSettings
from runtime.core.records import (
    AbandonAttempt,
    FinishTask,
    Instruction,
    StartAttempt,
    Stimulus,
    TaskSubmitted,
    TimeElapsed,
    Transition,
)
from runtime.observers import Step
from runtime.recorder import StepDigest
from simulation.clock import NothingLeftError, VirtualClock
from simulation.models import ended
from simulation.workload import Arrival, Workload

__all__ = ["Run", "simulate"]


@dataclass
class Run:
    """What came of one simulated run.

    Args:
        max_workers: slots.
        submitted_at_ns: when each task was submitted, by number.
        ends: each task's end, in the order of their ends, with its instant.
        timeouts: attempts abandoned because their time was up.
        unfinished: tasks that never ended, because nothing was left to happen.
        steps: every step of the core, where it was asked for.
        transitions: every transition, where it was asked for.
    """

    max_workers: int
    submitted_at_ns: dict[int, int] = field(default_factory=dict)
    ends: list[tuple[int, FinishTask]] = field(default_factory=list)
    timeouts: int = 0
    unfinished: int = 0
    steps: list[Step] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The fingerprint of every decision, where the log was asked for."""
        sink = StepDigest()
        sink.write(self.steps)
        return sink.digest


def simulate(
    workload: Workload, settings: CoreSettings, seed: int = 0, *, log: bool = False
) -> Run:
    """Run a workload on virtual time.

    Args:
        workload: what comes, and what attempts do.
        settings: what the core is set up with.
        seed: keys everything that is random.
        log: whether to keep every step and every transition.

    Returns:
        What came of it; the same for the same arguments.

    Example:
        >>> from simulation.workload import Batch, Modelled, SyntheticWorkload
        >>> run = simulate(
        ...     SyntheticWorkload([Batch(10, Modelled(duration=3.0))]), CoreSettings(max_workers=5)
        ... )
        >>> run.ends[-1][0] / 1e9
        6.0
    """
    return _Simulation(workload, settings, seed, log).run()


class _Simulation:
    def __init__(self, workload: Workload, settings: CoreSettings, seed: int, log: bool) -> None:
        self._sample = workload.sampler(seed)
        self._core = core = Core(settings, record="all" if log else "none")
        self._result = Run(settings.max_workers)
        decide = self._decide_and_keep if log else core.handle
        self._clock = VirtualClock(core, decide, self._carry_out)
        self._arrivals: Iterator[Arrival] = workload.arrivals(seed)

    def run(self) -> Run:
        self._expect()
        clock, core = self._clock, self._core
        try:
            clock.run(lambda: False)
        except NothingLeftError:
            pass
        result = self._result
        result.unfinished = len(core.live())
        result.transitions = core.take_transitions()
        return result

    # ------------------------------------------------------------ what comes from outside

    def _expect(self) -> None:
        """Put the next arrival on the clock."""
        arrival = next(self._arrivals, None)
        if arrival is not None:
            self._clock.at(arrival[0] - self._clock.now, self._arrive, arrival[1])

    def _arrive(self, event: simpy.Event) -> None:
        stimulus: Any = event.value
        if type(stimulus) is TaskSubmitted:
            self._result.submitted_at_ns[stimulus.task] = self._clock.now
        self._clock.happen(stimulus, None)
        self._expect()

    # ------------------------------------------------------------ instructions

    def _carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        if type(instruction) is StartAttempt:
            task, attempt = instruction.task, instruction.attempt
            behaviour = self._sample(task, attempt)
            if behaviour.duration_ns is not None:
                carried = (task, attempt, now_ns, behaviour)
                self._clock.at(behaviour.duration_ns, self._end, carried)
        elif type(instruction) is FinishTask:
            self._result.ends.append((now_ns, instruction))
        elif type(instruction) is AbandonAttempt and instruction.outcome == "timeout":
            self._result.timeouts += 1

    def _end(self, event: simpy.Event) -> None:
        carried: Any = event.value
        task, attempt, began, behaviour = carried
        self._clock.happen(ended(task, attempt, began, self._clock.now, behaviour), None)

    def _decide_and_keep(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        core = self._core
        fired = core.timers_fired
        out = core.handle(now_ns, stimulus)
        if out or type(stimulus) is not TimeElapsed or core.timers_fired != fired:
            self._result.steps.append((now_ns, stimulus, out))
        return out
