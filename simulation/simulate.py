"""One simulated run of a workload under a setting: the core on the virtual clock, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.core import Core, CoreSettings
from runtime.core.records import (
    AbandonAttempt,
    AttemptFailed,
    AttemptSucceeded,
    FinishTask,
    Instruction,
    StartAttempt,
    Stimulus,
    TaskSubmitted,
    TimeElapsed,
    Transition,
)
from runtime.errors import TaskCancelledError
from runtime.observers import Step
from runtime.recorder import StepDigest
from simulation.clock import NEVER, VirtualClock
from simulation.machine.machine import Machine, MachineRun
from simulation.models import Behaviour, Fails, ended
from simulation.sizes import Sizes
from simulation.workload import Reactive, Sampler, Workload

__all__ = ["HEEDED", "Run", "simulate"]

CarryOut = Callable[[int, Instruction, Stimulus, Any], None]
#: What an attempt raises that heeds its token, from ``current_attempt().sleep`` for one.
HEEDED: Final = f"{TaskCancelledError.__module__}.{TaskCancelledError.__qualname__}"


@dataclass
class Run:
    """What came of one simulated run.

    Args:
        max_workers: workers that it began with.
        ended_at_ns: the instants at which tasks ended, in order.
        ends: the ends themselves.
        timeouts: attempts abandoned because their time was up.
        abandoned_after_ns: how long an attempt had run when it was abandoned, by (task, attempt),
            of those that would never have ended or that heeded their token.
        held: attempts whose slot was not freed when they were abandoned, so that it waited for
            them.
        sizes: how many slots it had when, where it was resized; ``None`` where it was not.
        unfinished: tasks that never ended, because nothing was left to happen.
        steps: every step of the core, where it was asked for.
        transitions: every transition, where it was asked for.
    """

    max_workers: int
    ended_at_ns: list[int] = field(default_factory=list)
    ends: list[FinishTask] = field(default_factory=list)
    timeouts: int = 0
    abandoned_after_ns: dict[tuple[int, int], int] = field(default_factory=dict)
    held: int = 0
    sizes: Sizes | None = None
    unfinished: int = 0
    steps: list[Step] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)

    def slot_ns(self, from_ns: int, to_ns: int) -> int:
        """What all slots had together between two instants, in nanoseconds.

        Args:
            from_ns: from when on.
            to_ns: until when.
        """
        sizes = self.sizes
        return (
            self.max_workers * (to_ns - from_ns) if sizes is None else sizes.slot_ns(from_ns, to_ns)
        )

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
        workload: what comes, what attempts do, and what they meet.
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
        >>> run.ended_at_ns[-1] / 1e9
        6.0
    """
    return _Simulation(workload, settings, seed, log).run()


class _Simulation:
    def __init__(self, workload: Workload, settings: CoreSettings, seed: int, log: bool) -> None:
        self._core = core = Core(settings, record="all" if log else "none")
        self._result = Run(settings.max_workers)
        sample = workload.sampler(seed)
        machine = workload.machine
        if machine is None:
            carry_out = self._make_carry_out(sample)
        else:
            met = _OnMachine(machine, sample, self._result, core)
            carry_out = met.carry_out
        if isinstance(workload, Reactive):
            carry_out = self._let_react(workload, carry_out)
        self._clock = VirtualClock(
            core,
            self._decide_and_keep if log else core.handle,
            carry_out,
            workload.arrivals(seed),
        )
        if machine is not None:
            met.clock = self._clock
            self._clock.drive(met)

    def run(self) -> Run:
        self._clock.run(None)
        core = self._core
        result = self._result
        if core.resizes:
            result.sizes = Sizes(self._result.max_workers, core.resizes)
        result.unfinished = len(core.live())
        result.transitions = core.take_transitions()
        return result

    def _make_carry_out(self, sample: Sampler) -> CarryOut:
        """A closure, since it is called twice a task."""
        result = self._result
        ends, ended_at_ns = result.ends, result.ended_at_ns
        open_ended: dict[tuple[int, int], tuple[int, int | None]] = {}
        coming: set[tuple[int, int]] = set()  # of those that heed: whose end is on its way

        def carry_out(
            now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
        ) -> None:
            if type(instruction) is StartAttempt:
                task, attempt = instruction.task, instruction.attempt
                behaviour = sample(task, attempt)
                took = behaviour.duration_ns
                heeds = behaviour.heeds_after_ns
                if took is None or heeds is not None:
                    open_ended[task, attempt] = now_ns, heeds
                limit_ns = instruction.timeout_at_ns
                if took is not None and (
                    heeds is None or limit_ns is None or now_ns + took <= limit_ns
                ):
                    end_ns = now_ns + took
                    end: AttemptSucceeded | AttemptFailed
                    if behaviour.failure is None:
                        end = AttemptSucceeded(task, attempt, now_ns, now_ns, end_ns)
                    else:
                        end = ended(task, attempt, now_ns, end_ns, behaviour)
                    if heeds is not None:
                        coming.add((task, attempt))
                    self._clock.happen_at(end_ns, end, None)
            elif type(instruction) is FinishTask:
                ended_at_ns.append(now_ns)
                ends.append(instruction)
            elif type(instruction) is AbandonAttempt:
                result.timeouts += instruction.outcome == "timeout"
                result.held += not instruction.freed
                task, attempt = key = instruction.task, instruction.attempt
                if key in open_ended:
                    began_ns, heeds = open_ended.pop(key)
                    result.abandoned_after_ns[key] = now_ns - began_ns
                    if heeds is not None and key not in coming:
                        late = AttemptFailed(
                            task, attempt, began_ns, began_ns, now_ns + heeds, HEEDED, False
                        )
                        self._clock.happen_at(now_ns + heeds, late, None)

        return carry_out

    def _let_react(self, workload: Reactive, carry_out: CarryOut) -> CarryOut:
        """Tell the workload of each instruction before it is carried out."""
        react = workload.react

        def carry_out_and_arrive(
            now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
        ) -> None:
            arrivals = react(now_ns, instruction)
            carry_out(now_ns, instruction, stimulus, payload)
            for at_ns, part in arrivals:
                if type(part) is TaskSubmitted and part.parent:  # from inside, like an end
                    self._clock.happen_at(at_ns, part, None)
                else:
                    self._clock.arrive_at(at_ns, part)

        return carry_out_and_arrive

    def _decide_and_keep(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        core = self._core
        fired = core.timers_fired
        out = core.handle(now_ns, stimulus)
        if out or type(stimulus) is not TimeElapsed or core.timers_fired != fired:
            self._result.steps.append((now_ns, stimulus, out))
        return out


class _OnMachine:
    """Carries out where attempts meet: when one ends is known only once it does.

    Args:
        machine: what they meet.
        sample: what they do.
        result: what is noted of it.
        core: knows the tasks' groups.

    Attributes:
        clock: the virtual clock, set once it is there; it drives this.
        next_at_ns: when the machine next has something to do.
    """

    clock: VirtualClock

    def __init__(self, machine: Machine, sample: Sampler, result: Run, core: Core) -> None:
        self._sample = sample
        self._result = result
        self._core = core if machine.backends else None
        self._machine = MachineRun(machine, self._ended)
        self._running: dict[tuple[int, int], tuple[int, Behaviour]] = {}
        self.next_at_ns = NEVER
        self._awake = False  # whether the machine is let go on; else in the middle of a decision

    def carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        """Do what an instruction says."""
        if type(instruction) is StartAttempt:
            key = instruction.task, instruction.attempt
            behaviour = self._sample(*key)
            self._running[key] = now_ns, behaviour
            task = None if self._core is None else self._core.task(key[0])
            group = "" if task is None else task.spec.group
            self._machine.begin(now_ns, key, group, behaviour)
            self._note_next()
        elif type(instruction) is FinishTask:
            self._result.ended_at_ns.append(now_ns)
            self._result.ends.append(instruction)
        elif type(instruction) is AbandonAttempt:
            self._result.timeouts += instruction.outcome == "timeout"
            self._result.held += not instruction.freed
            key = instruction.task, instruction.attempt
            if key in self._running:  # else it has ended at this very instant
                self._abandon(now_ns, key)

    def advance(self, now_ns: int) -> None:
        """Let the machine do what is due now."""
        self._awake = True
        self._machine.advance(now_ns)
        self._awake = False
        self.next_at_ns = self._machine.next_at_ns

    def _note_next(self) -> None:
        """In the middle of a decision the machine was given something to do."""
        at_ns = self._machine.next_at_ns
        if at_ns != self.next_at_ns:
            self.next_at_ns = at_ns
            self.clock.look_again()

    def _abandon(self, now_ns: int, key: tuple[int, int]) -> None:
        """An attempt that heeds its token leaves; any other goes on, in the way of the rest."""
        began_ns, behaviour = self._running[key]
        heeds = behaviour.heeds_after_ns
        if behaviour.duration_ns is None or heeds is not None:
            self._result.abandoned_after_ns[key] = now_ns - began_ns
        if heeds is not None:
            del self._running[key]
            self._machine.leave(now_ns, key)
            self._note_next()
            at_ns = now_ns + heeds
            late = AttemptFailed(*key, began_ns, began_ns, at_ns, HEEDED, False)
            self.clock.happen_at(at_ns, late, None)

    def _ended(self, now_ns: int, key: tuple[int, int], failure: Fails | None) -> None:
        began_ns, behaviour = self._running.pop(key)
        if failure is not behaviour.failure:  # a backend's
            behaviour = Behaviour(None, failure)
        end = ended(*key, began_ns, now_ns, behaviour)
        if self._awake:
            self.clock.happen(end, None)  # with whatever else happens at this instant
        else:
            self.clock.happen_at(now_ns, end, None)
