"""A world around one core: it makes things happen, and every choice in that is on a tape.

The world is a host like any other: it tells the core what happened and does what it is told. It
is a small one of its own, since a search runs thousands of them; and it may do all that a real
host may do, in any order. After each step the invariants are verified: by the auditor, which
follows the run and asks the core nothing, by the core's own books, and by the user's properties.

When nothing is left, faults go off: what hangs returns, the pool is drained, and everything must
come to its end within its bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from runtime import WorkerPoolConfig
from runtime.config import seconds_to_ns
from runtime.core import Core, CoreSettings
from runtime.core import records as r
from runtime.core.errors import InvalidTransition
from runtime.core.invariants import Auditor, check
from runtime.core.states import Cause, TaskState
from runtime.observers import Step
from runtime.recorder import StepDigest
from simulation.explore.coverage import Seen
from simulation.explore.faults import (
    FIRST_CANCEL,
    Completion,
    finish_menu,
    journal_menu,
    order_menu,
    outside_menu,
    struck,
    wake_menu,
)
from simulation.explore.journals import check_journal
from simulation.explore.pools import ExploredPool
from simulation.explore.properties import Broken, Properties
from simulation.explore.tape import Tape
from simulation.models import Behaviour, Modelled, ended
from simulation.pool import SimulatedWorkerPool

__all__ = ["World", "told"]

_NEVER: Final = 1 << 63
_CONFIG: Final = WorkerPoolConfig()
_SECOND: Final = 1_000_000_000
#: A run that takes more steps than these a task does not end by itself.
_STEPS: Final = 2_000
_BURST: Final = 3
_MODELLED_FOR_EVER: Final = _SECOND

# by their numbers: to ask an enum for a name costs more than all else that coverage notes
_STATE_NAMES: Final = tuple(state.name for state in TaskState)
_CAUSE_NAMES: Final = tuple(cause.name for cause in Cause)

#: They meet every task.
_MEET_ALL: Final = (r.AbortRequested, r.DrainRequested, r.ResizeRequested)
CoreMaker = Callable[[CoreSettings, str], Core]


class World:
    """One run. A scenario sets it up; then it runs.

    Args:
        tape: where choices are made.
        seed: keys what modelled tasks draw, and the jitter.
        faults: which faults are on.
        core: what makes the core.

    Attributes:
        core: the core, once the world runs; properties may look into it.
        now_ns: the present.
        steps: every step of the core.
        log: every instruction so far, with its instant.
        strikes: what was not ordinary: the step before which it was chosen, and what it was.
    """

    core: Core

    def __init__(
        self, tape: Tape, seed: int, faults: frozenset[str], core: CoreMaker = Core
    ) -> None:
        self.tape = tape
        self.seed = seed
        self.faults = faults
        self._make_core = core
        self._config = _CONFIG
        self._settings: CoreSettings | None = None
        self.properties = Properties()
        self.always = self.properties.always
        self.sometimes = self.properties.sometimes
        self.unreachable = self.properties.unreachable
        self.now_ns = 0
        self.steps: list[Step] = []
        self.log: list[tuple[int, r.Instruction]] = []
        self.strikes: list[tuple[int, str]] = []
        self.transitions: list[r.Transition] = []
        self._heap: list[tuple[int, int, r.SimultaneousPart]] = []
        self._count = 0
        self._submitted = 0
        self._models: dict[int, Callable[[int, int], Behaviour]] = {}
        self._sample: Callable[[int, int], Behaviour] | None = None
        self._running: dict[tuple[int, int], int] = {}  # handed out, to when it began
        self._hanging: set[tuple[int, int]] = set()
        self._last: Completion | None = None
        self._burst = 0
        self._woken_for = _NEVER
        self._wake_at = _NEVER
        self._longest_ns = _SECOND
        self._longest_wait_ns = 0
        self._stops = 0
        self._ends: dict[int, str] = {}
        self._quiet = False
        self.seen: set[Seen] = set()
        self.pools: list[ExploredPool] = []
        self._last_cause = "-"

    # ------------------------------------------------------------ what a scenario says

    def configure(self, **fields: Any) -> None:
        """Set up the pool.

        Args:
            fields: those of ``WorkerPoolConfig``.
        """
        self._config = WorkerPoolConfig(**fields)

    def use(self, settings: CoreSettings) -> None:
        """Set up the core itself.

        Args:
            settings: its settings.
        """
        self._settings = settings

    def submit(
        self,
        name: str,
        model: Modelled,
        *,
        at_seconds: float = 0.0,
        priority: int = 0,
        deadline_seconds: float | None = None,
        **own: Any,
    ) -> int:
        """Let a task come.

        Args:
            name: its name.
            model: what its attempts do.
            at_seconds: when it comes.
            priority: lower starts first.
            deadline_seconds: by when it must have ended, counted from its coming.
            own: ``timeout_ns``, ``max_retries`` or ``group`` of its own.

        Returns:
            Its number.
        """
        self._submitted = number = self._submitted + 1
        at_ns = seconds_to_ns(at_seconds)
        due = None if deadline_seconds is None else at_ns + seconds_to_ns(deadline_seconds)
        self._models[number] = model.sampler(self.seed)
        spec = r.TaskSubmitted(number, name, priority, deadline_at_ns=due, **own)
        self._push(at_ns, spec)
        return number

    def pool(self, config: WorkerPoolConfig | None = None) -> SimulatedWorkerPool:
        """A pool for ordinary functions, whose choices are on this world's tape.

        The scenario itself submits and waits, in a ``with`` block; what it asserts are properties.

        Args:
            config: as for a ``WorkerPool``.

        Returns:
            The pool.
        """
        made = ExploredPool(self.tape, self.faults, config, self.seed)
        self.pools.append(made)
        return made

    def cancel(self, task: int, *, at_seconds: float) -> None:
        """Let a task be cancelled.

        Args:
            task: its number.
            at_seconds: when.
        """
        self._push(seconds_to_ns(at_seconds), r.CancelRequested(task))

    def abort(self, *, at_seconds: float) -> None:
        """Let everything pending be aborted.

        Args:
            at_seconds: when.
        """
        self._push(seconds_to_ns(at_seconds), r.AbortRequested())

    def drain(self, *, at_seconds: float) -> None:
        """Let the pool be drained.

        Args:
            at_seconds: when.
        """
        self._push(seconds_to_ns(at_seconds), r.DrainRequested())

    def resize(self, max_workers: int, *, at_seconds: float) -> None:
        """Let the pool be given another number of workers.

        Args:
            max_workers: how many.
            at_seconds: when.
        """
        self._push(seconds_to_ns(at_seconds), r.ResizeRequested(max_workers))

    def arrive(
        self,
        arrivals: Iterator[tuple[int, r.SimultaneousPart]],
        sample: Callable[[int, int], Behaviour],
    ) -> None:
        """Let a whole workload come.

        Args:
            arrivals: what comes when.
            sample: what attempts do.
        """
        for at_ns, stimulus in arrivals:
            self._submitted += isinstance(stimulus, r.TaskSubmitted)
            self._push(at_ns, stimulus)
        self._sample = sample

    # ------------------------------------------------------------ what properties ask

    def state(self, task: int) -> TaskState | None:
        """The state of a task, ``None`` before it comes."""
        return self.core.state(task)

    def outcome(self, task: int) -> str | None:
        """How a task ended, ``None`` before it has."""
        return self._ends.get(task)

    @property
    def digest(self) -> str:
        """The fingerprint of every decision."""
        if self.pools:
            return "-".join(pool.digest for pool in self.pools)
        sink = StepDigest()
        sink.write(self.steps)
        return sink.digest

    # ------------------------------------------------------------ the run

    def run(self) -> None:
        """Run, until everything has ended.

        Raises:
            InvariantBroken: the core broke an invariant.
            Broken: a property does not hold.
        """
        for pool in self.pools:
            self._look_back(pool)
            pool.damage_journal()
        if self.pools and not self._submitted:
            self.tape.end()
            return
        settings = self._settings
        if settings is None:
            config = self._config
            if config.seed == 0:
                config = config.replace(seed=self.seed)
            settings = config.core_settings()
        self.core = self._make_core(settings, "all")
        self._auditor = Auditor(settings)
        self._owner = settings
        while self._instant():
            pass
        menu = journal_menu(self.faults)
        place = self.tape.choose(menu, 0)
        self.tape.end()
        if place:
            self._strike(f"{menu.names[place]}: quarter {(place - 1) % 4 + 1} of it")
            check_journal(settings, self.steps, menu.names[place], (place - 1) % 4)
        self._quiet = True
        self._drain()

    def _look_back(self, pool: SimulatedWorkerPool) -> None:
        last = "-"
        for t in pool.transitions:
            cause = "SUBMITTED" if t.cause is None else t.cause.name
            self.seen.update(((last, cause), ("" if t.before is None else t.before.name, cause)))
            last = cause
        self.transitions += pool.transitions

    def _push(self, at_ns: int, stimulus: r.SimultaneousPart) -> None:
        self._count = count = self._count + 1
        heappush(self._heap, (at_ns, count, stimulus))

    def _next_wake(self) -> int:
        """When the core is woken, if nothing happens before."""
        wake = self.core.wake_at_ns
        if wake != self._woken_for:
            self._woken_for = self._wake_at = wake
            if wake != _NEVER and not self._quiet:
                menu = wake_menu(self.faults)
                late = self.tape.choose(menu, 0)
                if late:
                    self._strike(menu.names[late])
                    self._wake_at = wake + 1 if late == 1 else _NEVER
        return self._wake_at

    def _instant(self) -> bool:
        """Let the next thing happen; whether there was any."""
        heap = self._heap
        wake = self._next_wake()
        now = heap[0][0] if heap else _NEVER
        if wake == now == _NEVER:
            if self.core.wake_at_ns == _NEVER:
                return False
            now = max(self.now_ns, self.core.wake_at_ns)  # a lost wake, and nothing else to come
        elif wake < now:
            now = wake
        self.now_ns = now = max(now, self.now_ns)
        due: list[r.SimultaneousPart] = []
        while heap and heap[0][0] <= now:
            due.append(heappop(heap)[2])
        if not self._quiet:
            self._outside(due)
            if len(due) > 1:
                menu = order_menu(len(due), self.faults)
                place = self.tape.choose(menu, 0)
                if place:
                    alone = due.pop(place - 1)
                    for other in due:
                        self._push(self.now_ns, other)
                    due = [alone]
                    self._strike(f"order: {_brief(alone)} is told alone and first")
        if not due:
            self._tell(r.TimeElapsed())
            self._woken_for = _NEVER - 1  # ask again, as this wake may have been early
        elif len(due) == 1:
            self._tell(due[0])
        else:
            self._tell(r.Simultaneous(tuple(due)))
        if len(self.steps) > _STEPS * (1 + self._submitted):
            raise Broken("liveness", f"no end after {len(self.steps)} steps")
        return True

    def _outside(self, due: list[r.SimultaneousPart]) -> None:
        """What comes from outside, chosen once an instant."""
        fate = self.core
        menu = outside_menu(self._submitted, self.faults)
        place = self.tape.choose(menu, 0)
        if not place:
            return
        name = menu.names[place]
        task = place - FIRST_CANCEL + 1
        workers = self._owner.max_workers if menu.names[place - 1] == name == "resize" else 1
        told = {"cancel": f"cancel: task {task}", "resize": f"resize: to {workers}"}
        self._strike(told.get(name, name))
        if name == "abort":
            due.append(r.AbortRequested())
        elif name == "drain":
            due.append(r.DrainRequested())
        elif name == "resize":
            due.append(r.ResizeRequested(workers))
        elif name == "cancel":
            if fate.state(task) is not None:
                due.append(r.CancelRequested(task))
        elif name == "burst":
            self._burst = _BURST
        elif name == "wake":
            self._tell(r.TimeElapsed())
        elif name == "twice":
            self._tell_twice()
        else:  # a pause: all that falls into it happens at its end
            until = self.now_ns + 2 * _SECOND
            for part in due:
                self._push(until, part)
            due.clear()
            self._heap = [(max(at, until), n, part) for at, n, part in self._heap]
            self._heap.sort()
            self.now_ns = until
            while self._heap and self._heap[0][0] <= until:
                due.append(heappop(self._heap)[2])

    def _tell_twice(self) -> None:
        last = self._last
        if last is None:
            return
        try:
            self.core.handle(self.now_ns, last)
        except InvalidTransition:
            check(self.core)
            return
        raise Broken("a result told twice is refused", f"{last!r} was taken a second time")

    def _tell(self, stimulus: r.Stimulus) -> None:
        core, now = self.core, self.now_ns
        parts = stimulus.stimuli if type(stimulus) is r.Simultaneous else (stimulus,)
        seen = self.seen
        for part in parts:
            kind = type(part)
            state = core.state(getattr(part, "task", 0))
            seen.add(("" if state is None else _STATE_NAMES[state], kind.__name__))
            if isinstance(part, Completion):
                self._last = part
                self._running.pop((part.task, part.attempt), None)
            elif kind in _MEET_ALL:
                met = [at for at, count in core.counts().items() if count]
                seen.update((_STATE_NAMES[at], kind.__name__) for at in met)
        try:
            out = core.handle(now, stimulus)
        except InvalidTransition as error:
            self.steps.append((now, stimulus, []))
            raise Broken("what is true is not refused", str(error)) from error
        self.steps.append((now, stimulus, out))
        for instruction in out:
            self.log.append((now, instruction))
            if type(instruction) is r.StartAttempt:
                self._start(instruction)
            elif type(instruction) is r.FinishTask:
                self._ends[instruction.task] = instruction.outcome
            elif type(instruction) is r.StopWorkers:
                self._stops += 1
        moved = core.take_transitions()
        self._auditor.step(now, stimulus, out, moved)
        check(core)
        last = self._last_cause
        for t in moved:
            cause = "SUBMITTED" if t.cause is None else _CAUSE_NAMES[t.cause]
            seen.add((last, cause))
            last = cause
        self._last_cause = last
        self.transitions += moved
        self.properties.check()

    def _start(self, start: r.StartAttempt) -> None:
        """Choose what an attempt does."""
        number, attempt, now = start.task, start.attempt, self.now_ns
        sample = self._models.get(number, self._sample)
        assert sample is not None
        behaviour = sample(number, attempt)
        self._running[number, attempt] = now
        took = behaviour.duration_ns
        if took is None:
            if not self._quiet:
                self._hanging.add((number, attempt))
                return
            took = _MODELLED_FOR_EVER
        self._longest_ns = max(self._longest_ns, took)
        end = ended(number, attempt, now, now + took, behaviour)
        if isinstance(end, r.AttemptFailed) and end.retry_after_ns is not None:
            self._longest_wait_ns = max(self._longest_wait_ns, end.retry_after_ns)
        if self._quiet:
            self._push(now + took, end)
            return
        limit = start.timeout_at_ns
        menu = finish_menu(limit is not None, self.faults)
        place = self.tape.choose(menu, number)
        if place:
            name = menu.names[place]
            self._strike(f"{name}: attempt {number}.{attempt}")
            if name == "hang":
                self._hanging.add((number, attempt))
                return
            end = struck(name, start, now, took, end)
        elif self._burst:
            self._burst -= 1
            end = r.AttemptFailed(number, attempt, now, now, now + took, "Burst")
        self._push(end.ended_at_ns, end)

    def _strike(self, what: str) -> None:
        self.strikes.append((len(self.steps), what))

    # ------------------------------------------------------------ the end

    def _drain(self) -> None:
        core = self.core
        for number, attempt in sorted(self._hanging):
            began = self._running[number, attempt]
            self._push(self.now_ns, r.AttemptSucceeded(number, attempt, began, began, self.now_ns))
        self._hanging.clear()
        self._woken_for = _NEVER - 1
        bound = self._bound()
        if core.accepting:
            self._push(self.now_ns, r.DrainRequested())
        left = core.live()
        while self._instant():
            if left and self.now_ns > bound():
                raise Broken("liveness", f"{left} not ended by {bound()} ns, without faults")
            left = core.live()
        if left:
            told = "; ".join(core.story(left[0]))
            raise Broken("liveness", f"{left} can never end, and nothing is to come: {told}")
        if core.busy or core.outstanding or core.wake_at_ns != _NEVER:
            raise Broken("liveness", "a slot or a timer is left where no task is")
        if self._stops != 1:
            raise Broken("liveness", f"workers were stopped {self._stops} times, not once")
        if len(self._ends) != self._submitted:
            raise Broken("liveness", f"{len(self._ends)} of {self._submitted} tasks told an end")

    def _bound(self) -> Callable[[], int]:
        """By when all that is live now must have ended: invariant 21.

        A task that is ready waits only while all slots are taken, so none waits longer than all
        work takes on all slots together; and its own attempts and backoffs come one after another
        (R. L. Graham, 'Bounds on Multiprocessing Timing Anomalies', SIAM J. Appl. Math. 17, 1969).
        How long attempts take is known when they start, so the bound is asked for again.
        """
        began, own, work, chain, most = self.now_ns, self._owner, 0, 0, 0
        workers = self.core.workers
        for number in self.core.live():
            task = self.core.task(number)
            assert task is not None
            retries = task.spec.max_retries
            retries = own.max_retries if retries is r.UNSET else retries
            left = max(0, 1 + retries - task.attempt) + (task.state == TaskState.RUNNING)
            work, chain, most = work + left, max(chain, left), max(most, retries)
        backoff = min(own.backoff_max_ns, own.backoff_base_ns << min(most, 62))
        if own.jitter == "decorrelated":
            backoff = own.backoff_max_ns

        def bound() -> int:
            wait = max(backoff, self._longest_wait_ns)
            return began + work * self._longest_ns // workers + chain * (self._longest_ns + wait)

        return bound


def _brief(stimulus: object) -> str:
    number, attempt = getattr(stimulus, "task", None), getattr(stimulus, "attempt", None)
    name = type(stimulus).__name__
    if isinstance(stimulus, r.ResizeRequested):
        return f"{name} to {stimulus.max_workers}"
    if number is None:
        return name
    if isinstance(stimulus, r.TaskSubmitted):
        return f"{name} {number} {stimulus.name!r}"
    return f"{name} {number}" + (f".{attempt}" if attempt is not None else "")


def told(step: Step) -> str:
    """A step in words.

    Args:
        step: the step.

    Returns:
        One line.
    """
    at_ns, stimulus, out = step
    parts: Sequence[object] = (
        stimulus.stimuli if isinstance(stimulus, r.Simultaneous) else (stimulus,)
    )
    heard = " + ".join(_brief(part) for part in parts)
    did = ", ".join(_did(instruction) for instruction in out) or "nothing"
    return f"{at_ns / 1e9:.9f} s  {heard} -> {did}"


def _did(i: r.Instruction) -> str:
    match i:
        case r.StartAttempt():
            return f"start {i.task}.{i.attempt} on slot {i.slot}"
        case r.DelayTask():
            return f"retry {i.task} at {i.until_ns / 1e9:.9f} s"
        case r.AbandonAttempt():
            return f"abandon {i.task}.{i.attempt}"
        case r.FinishTask():
            return f"finish {i.task} as {i.outcome}" + (f" ({i.reason})" if i.reason else "")
        case r.DropResult():
            return f"drop {i.task}.{i.attempt}"
        case r.RetireSlot():
            return f"retire slot {i.slot}"
        case _:
            return "stop the workers"
