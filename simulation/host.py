"""The virtual host: carries out a pool's instructions on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any, Final, Literal, TypeVar

import simpy

from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    FinishTask,
    Instruction,
    StartAttempt,
    Stimulus,
    StopWorkers,
)
from runtime.engine import Engine, Job, Raised, Watch
from runtime.failures import describe
from runtime.observers import InContext, Relay
from runtime.submission import refuse_awaitable
from runtime.tracebacks import said_to_users
from simulation.models import Modelled, ended
from simulation.world.aliases import adopt
from simulation.world.carriers import ThreadCarrier, make_greenlet_carrier
from simulation.world.errors import (
    BlockedOutsideError,
    DeadlockError,
    NothingLeftError,
    WorldEnded,
)
from simulation.world.loop import StrandClock
from simulation.world.patches import close_world, open_world
from simulation.world.strands import Strand, World, current

__all__ = ["CarrierKind", "ModelledError", "NothingLeftError", "VirtualHost"]
__tracebackhide__ = said_to_users

CarrierKind = Literal["thread", "greenlet"]
_T = TypeVar("_T")
_END: Final = 1 << 62


class ModelledError(RuntimeError):
    """What a modelled attempt raises."""


class VirtualHost:
    """Runs a pool's attempts on virtual time: modelled ones, and ordinary functions.

    Args:
        engine: the core with its jobs.
        seed: keys what modelled tasks draw.
        epoch_ns: the epoch nanoseconds at which the virtual clock is at 0.
        carrier: what runs ordinary functions.
        watchdog_seconds: how long a task may block in real time.
    """

    clock: Final = "virtual"

    def __init__(
        self,
        engine: Engine,
        seed: int,
        *,
        epoch_ns: int = 0,
        carrier: CarrierKind = "thread",
        watchdog_seconds: float = 5.0,
    ) -> None:
        self.engine = engine
        self.refusal: Exception | None = None
        self._seed = seed
        self.epoch_ns = epoch_ns
        self._time = self._make_clock()
        self._relay: Relay | None = None
        self._in_context: InContext | None = None
        self._nothing_left = False
        self._sampler: tuple[Modelled | None, Any] = (None, None)  # the last, and its draws
        self.world = self._make_world(
            self._time,
            make_greenlet_carrier() if carrier == "greenlet" else ThreadCarrier,
            name=engine.config.name,
            epoch_ns=epoch_ns,
            watchdog_seconds=watchdog_seconds,
        )
        open_world()
        self._patched = True

    _make_world: type[World] = World  # a search has one of its own

    def _make_clock(self) -> StrandClock[Strand]:
        return StrandClock(self.engine.core, self._decide, self._carry_out)

    def _decide(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        engine = self.engine
        engine.dropped.clear()
        instructions = engine.decide(now_ns, stimulus)  # another one once somebody observes
        if engine.core.transitions:
            engine.tell()
        return instructions

    def observe(self, relay: Relay, *, measure_cpu: bool, in_context: InContext | None) -> None:
        """Serve observers; there is no CPU time to measure."""
        self._relay = relay
        self._in_context = in_context

    def flush(self) -> None:
        """Tell the observers what has happened so far."""
        if self._relay is not None:
            self._relay.flush()

    def now_ns(self) -> int:
        """Nanoseconds since the pool was made."""
        return self._time.now

    def epoch_seconds(self, at_ns: int) -> float:
        """An instant in virtual seconds: at the virtual epoch, 0 by default, the pool began."""
        return (at_ns + self.epoch_ns) / 1e9

    # ------------------------------------------------------------ to the core

    def deliver(self, stimulus: Stimulus, payload: Any) -> None:
        """Hand in a stimulus: decided at once, or with all else of this instant where a task
        hands it in while the clock runs.
        """
        if self.world.current is not None:
            self._time.happen(stimulus, payload)
        else:
            self._time.decide(stimulus, payload)

    def decide(self, stimulus: Stimulus) -> list[Instruction]:
        """Hand in a stimulus and have it decided before this returns."""
        self._time.settle()
        return self._time.decide(stimulus, None)

    def decide_if(self, condition: Callable[[], bool], stimulus: Stimulus) -> bool:
        """Hand in a stimulus where a condition holds, with no decision between the two."""
        self._time.settle()
        if condition():
            self._time.decide(stimulus, None)
            return True
        return False

    def held(self, look: Callable[[], _T]) -> _T:
        """Call something: only one thread runs at any moment, so there is nobody to hold off."""
        self._time.settle()
        return look()

    # ------------------------------------------------------------ attempts

    def _carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        kind = type(instruction)
        if kind is FinishTask:
            self.engine.finish(now_ns, instruction, stimulus, payload)  # type: ignore[arg-type]
            return
        if not isinstance(instruction, StartAttempt):
            self.engine.carry_out(now_ns, instruction, stimulus, payload)
            if kind is StopWorkers and self._relay is not None:
                self._relay.flush()
            return
        number, attempt = instruction.task, instruction.attempt
        job = self.engine.jobs[number]
        model = job.fn
        if isinstance(model, Modelled):
            known, sample = self._sampler
            if model is not known:  # most tasks in a row share theirs
                sample = model.sampler(self._seed)
                self._sampler = model, sample
            behaviour = sample(number, attempt)
            took = behaviour.duration_ns
            if took is not None:
                failure = behaviour.failure
                brought = model.value if failure is None else Raised(ModelledError(failure.error))
                end = ended(number, attempt, now_ns, now_ns + took, behaviour)
                self._time.happen_at(now_ns + took, end, brought)
        else:
            self._time.at(0, self._begin, (job, attempt, now_ns, job.context))

    def _begin(self, event: simpy.Event) -> None:
        """An ordinary function is called."""
        carried: Any = event.value
        job, attempt, began, context = carried
        fn, args, kwargs = job.fn, job.args, job.kwargs
        number = job.spec.task
        if fn is None or args is None:  # cancelled at the very instant of its start
            self._time.happen(AttemptSucceeded(number, attempt, began, began, began), None)
            return
        fn, args = adopt(fn, args, kwargs)
        fn = self._struck(fn, number, attempt)

        def run() -> None:
            try:
                own = context.copy()
                if self._in_context is not None:
                    own.run(self._in_context.begin, number, attempt)
                value = own.run(fn, *args, **(kwargs or {}))
                of = type(value)
                if of is AsyncGeneratorType or hasattr(of, "__await__"):
                    refuse_awaitable(value, job.spec.name)
            except WorldEnded:
                raise
            except BaseException as error:
                kind, retryable, after = describe(error, self.engine.config.retry_on)
                now = self._time.now
                failed = AttemptFailed(number, attempt, began, began, now, kind, retryable, after)
                self._time.happen(failed, Raised(error))
            else:
                done = AttemptSucceeded(number, attempt, began, began, self._time.now)
                self._time.happen(done, value)

        name = f"{self.engine.config.name}-task-{number}.{attempt}"
        strand = self.world.spawn(run, name, (self, (job, attempt, began)))
        strand.attempt = self.engine, number, attempt
        strand.turn += 1
        self._time.due.append(strand)

    def _struck(self, fn: Callable[..., Any], number: int, attempt: int) -> Callable[..., Any]:
        """What is called for a task's function; a search lets faults strike its end."""
        return fn

    def sleep(self, job: Job, attempt: int, duration_ns: int) -> None:
        """Let the calling attempt sleep, at most until its token is set."""
        strand = current()
        if strand is None:
            raise RuntimeError(
                "current_attempt().sleep was called from a thread that the simulated pool does not "
                "control"
            )
        extra = job.more()
        turn = strand.turn

        def wake() -> None:
            self.world.wake(strand, turn)

        extra.wakers.append(wake)
        try:
            self.world.pause(strand, f"{duration_ns / 1e9:g} s to pass", duration_ns)
        finally:
            if wake in extra.wakers:
                extra.wakers.remove(wake)

    # ------------------------------------------------------------ waiting

    def wait(self, watch: Watch, timeout_ns: int | None) -> bool:
        """Let time pass until the watch is done; ``False`` where the time was up before."""
        strand = current()
        if strand is not None and strand.world is self.world:
            return self._wait_in_task(strand, watch, timeout_ns)
        until_ns = None if timeout_ns is None else self._time.now + timeout_ns
        try:
            came_true = self.world.run(lambda: watch.done, until_ns)
        except BlockedOutsideError as error:
            self.refusal = error
            self.release()
            raise
        finally:
            self.flush()
        if not came_true and until_ns is None and not self._nothing_left:
            self._nothing_left = True  # said once; whoever closes the pool then cancels the rest
            raise self._what_is_left(watch)
        return came_true

    def _what_is_left(self, watch: Watch) -> NothingLeftError:
        stories = self.world.stories()
        if stories:
            return DeadlockError(
                f"deadlock at {self._time.now / 1e9:g} s, nothing is left to happen: "
                f"{'; '.join(stories)}"
            )
        names = [job.spec.name for job in watch.jobs if job.end is None]
        return NothingLeftError(
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''} can never end: nothing "
            f"is left to happen; give the tasks a timeout, or a duration that ends"
        )

    def _wait_in_task(self, strand: Strand, watch: Watch, timeout_ns: int | None) -> bool:
        self._time.settle()
        if watch.done or watch.given_up:
            return watch.done
        turn = strand.turn

        def wake() -> None:
            self.world.wake(strand, turn)

        watch.wake = wake
        names = ", ".join(job.spec.name for job in watch.jobs[:5] if job.end is None)
        try:
            self.world.pause(strand, f"the end of {names}", timeout_ns)
        finally:
            watch.wake = None
        return watch.done

    def advance(self, duration_ns: int) -> None:
        """Let time pass.

        Raises:
            RuntimeError: a task calls it.
            ValueError: time would go past its end.
        """
        if current() is not None:
            raise RuntimeError(
                "advance() was called by a task: time passes for it when it sleeps, with "
                "time.sleep or current_attempt().sleep(seconds)"
            )
        if self._time.now + duration_ns >= _END:
            raise ValueError("virtual time ends 146 years after the pool was made")
        until_ns = self._time.now + duration_ns
        if self._patched:
            self.world.run(None, until_ns)
        else:  # it was shut down: nobody runs, but time may pass
            self._time.run(None, until_ns)
        self.flush()

    # ------------------------------------------------------------ the end

    def close(self, timeout_ns: int | None) -> list[str]:
        """End what is left, and finish what observers are owed."""
        self.engine.dropped.clear()
        stuck = [self.engine.task_id(number) for number in self.engine.core.abandoned_tasks()]
        self.release()
        if self._relay is not None:
            self._relay.finish()
        return stuck

    def release(self) -> None:
        """End what runs and undo the patches; may be called again."""
        if self._patched:
            self._patched = False
            try:
                self.world.close()
            finally:
                close_world()
