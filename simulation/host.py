"""The virtual host: carries out a pool's instructions on the virtual clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import simpy

from runtime.attempt import here
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    StartAttempt,
    Stimulus,
    StopWorkers,
)
from runtime.engine import Engine, Job, Raised, Watch
from runtime.failures import describe
from runtime.observers import InContext, Relay
from simulation.batons import Baton, WorldEnded
from simulation.clock import VirtualClock
from simulation.models import Modelled, ended

__all__ = ["ModelledError", "NothingLeftError", "VirtualHost"]

_T = TypeVar("_T")
_END: Final = 1 << 62


class NothingLeftError(RuntimeError):
    """Something is waited for, but nothing is left that could ever happen."""


class ModelledError(RuntimeError):
    """What a modelled attempt raises."""


class VirtualHost:
    """Runs a pool's attempts on virtual time: modelled ones, and ordinary functions.

    Args:
        engine: the core with its jobs.
        seed: keys what modelled tasks draw.
    """

    clock: Final = "virtual"
    epoch_ns: Final = 0

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.refusal: Exception | None = None
        self._seed = seed
        self._time = VirtualClock(engine.core, self._decide, self._carry_out)
        self._relay: Relay | None = None
        self._in_context: InContext | None = None
        self._batons: dict[tuple[int, int], Baton] = {}
        self._current: Baton | None = None
        self._owner = threading.get_ident()

    def _decide(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        self.engine.dropped.clear()
        return self.engine.decide(now_ns, stimulus)  # another one once somebody observes

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
        """An instant in virtual seconds: the virtual epoch is the pool's beginning."""
        return at_ns / 1e9

    # ------------------------------------------------------------ to the core

    def deliver(self, stimulus: Stimulus, payload: Any) -> None:
        """Hand in a stimulus: decided at once, or with all else of this instant where a task
        hands it in while the clock runs.
        """
        if self._current is not None:
            self._time.happen(stimulus, payload)
        else:
            self._time.decide(stimulus, payload)

    def decide(self, stimulus: Stimulus) -> list[Instruction]:
        """Hand in a stimulus and have it decided before this returns."""
        self._time.settle()
        return self._time.decide(stimulus, None)

    def held(self, look: Callable[[], _T]) -> _T:
        """Call something: only one thread runs at any moment, so there is nobody to hold off."""
        self._time.settle()
        return look()

    # ------------------------------------------------------------ attempts

    def _carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        if type(instruction) is not StartAttempt:
            self.engine.carry_out(now_ns, instruction, stimulus, payload)
            if type(instruction) is StopWorkers and self._relay is not None:
                self._relay.flush()
            return
        number, attempt = instruction.task, instruction.attempt
        job = self.engine.jobs[number]
        model = job.fn
        if isinstance(model, Modelled):
            behaviour = model.sampler(self._seed)(number, attempt)
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

        def run() -> None:
            here.host, here.running = self, (job, attempt, began)
            try:
                own = context.copy()
                if self._in_context is not None:
                    own.run(self._in_context.begin, number, attempt)
                value = own.run(fn, *args, **(kwargs or {}))
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
            finally:
                here.host = here.running = None

        baton = Baton(run, f"{self.engine.config.name}-task-{number}.{attempt}")
        self._batons[number, attempt] = baton
        self._resume(baton)

    def _resume(self, baton: Baton) -> None:
        if baton.ended:
            return
        before, self._current = self._current, baton
        ended = baton.resume()
        self._current = before
        if ended:
            for key in [key for key, other in self._batons.items() if other is baton]:
                del self._batons[key]

    def sleep(self, job: Job, attempt: int, duration_ns: int) -> None:
        """Let the calling attempt sleep, at most until its token is set."""
        baton = self._batons[job.spec.task, attempt]
        extra = job.more()
        woken = False

        def wake(event: object = None) -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._time.at(0, resume) if event is None else self._resume(baton)

        def resume(event: simpy.Event) -> None:
            self._resume(baton)

        extra.wakers.append(wake)
        self._time.at(duration_ns, wake)
        baton.pause()
        if wake in extra.wakers:
            extra.wakers.remove(wake)

    # ------------------------------------------------------------ waiting

    def wait(self, watch: Watch, timeout_ns: int | None) -> bool:
        """Let time pass until the watch is done; ``False`` where the time was up before."""
        baton = self._current
        if baton is not None and threading.get_ident() != self._owner:
            return self._wait_in_task(baton, watch, timeout_ns)
        until_ns = None if timeout_ns is None else self._time.now + timeout_ns
        try:
            came_true = self._time.run(lambda: watch.done, until_ns)
        finally:
            self.flush()
        if not came_true and until_ns is None:
            names = [job.spec.name for job in watch.jobs if job.end is None]
            raise NothingLeftError(
                f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''} can never end: nothing "
                f"is left to happen; give the tasks a timeout, or a duration that ends"
            )
        return came_true

    def _wait_in_task(self, baton: Baton, watch: Watch, timeout_ns: int | None) -> bool:
        woken = False

        def resume(event: simpy.Event) -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._resume(baton)

        self._time.settle()
        if watch.done or watch.given_up:
            return watch.done
        watch.wake = lambda: self._time.at(0, resume)
        if timeout_ns is not None:
            self._time.at(timeout_ns, resume)
        baton.pause()
        return watch.done

    def advance(self, duration_ns: int) -> None:
        """Let time pass.

        Raises:
            RuntimeError: a task calls it.
            ValueError: time would go past its end.
        """
        if self._current is not None:
            raise RuntimeError(
                "advance() was called by a task: time passes for it when it sleeps, with "
                "current_attempt().sleep(seconds)"
            )
        if self._time.now + duration_ns >= _END:
            raise ValueError("virtual time ends 146 years after the pool was made")
        self._time.run(None, self._time.now + duration_ns)
        self.flush()

    # ------------------------------------------------------------ the end

    def close(self, timeout_ns: int | None) -> list[str]:
        """End what is left, and finish what observers are owed."""
        self.engine.dropped.clear()
        stuck = [self.engine.task_id(number) for number in self.engine.core.abandoned_tasks()]
        for baton in list(self._batons.values()):
            baton.end()
        self._batons.clear()
        if self._relay is not None:
            self._relay.finish()
        return stuck
