"""The core with what users handed in beside it: one step of a pool, whatever its clock.

A host takes stimuli in its own way and calls ``step`` for one at a time. The core decides; the
engine carries out what has no place in a host: it keeps each task's function until its end and its
result from then on, sets cancellation tokens, wakes who waits, and feeds the observers. What is
left to the host is ``StartAttempt`` and ``StopWorkers``.

Values and exceptions never enter the core. A *payload* travels beside the stimulus of its attempt
and is delivered only if the core ends the task by that very attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Any, Final, Literal, Protocol

import msgspec

from runtime.config import WorkerPoolConfig
from runtime.core import Core
from runtime.core.records import (
    AbandonAttempt,
    DelayTask,
    DropResult,
    FinishTask,
    Instruction,
    Simultaneous,
    StartAttempt,
    Stimulus,
    StopWorkers,
    TaskSubmitted,
    TimeElapsed,
    Transition,
)
from runtime.errors import (
    TaskCancelledError,
    TaskExecutionError,
    TaskFailedError,
    TaskTimeoutError,
    WouldDeadlockError,
)

__all__ = ["Engine", "Feed", "Job", "Raised", "ReturnWhen", "Watch"]

ReturnWhen = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]


class Extra(msgspec.Struct):
    """What only some tasks have.

    Args:
        idempotency_key: the user's own, ``None`` for one made from the id.
        failures: the exceptions of its attempts so far.
        abandoned_through: the last attempt whose token is set.
        wakers: what wakes a sleeping attempt when its token is set.
        watches: who waits for this task alone.
        fetched: whether its failure was handed to anybody.
    """

    idempotency_key: str | None = None
    failures: list[BaseException] = msgspec.field(default_factory=list)
    abandoned_through: int = 0
    wakers: list[Callable[[], None]] = msgspec.field(default_factory=list)
    watches: list[Watch] = msgspec.field(default_factory=list)
    fetched: bool = False


class Job(msgspec.Struct):
    """One task as its user knows it.

    Args:
        spec: what the core was told.
        fn: its function; this and the next three are let go of when it ends.
        args: positional arguments.
        kwargs: keyword arguments.
        context: the submitter's context variables.
        end: the core's last word, ``None`` until then.
        ended_at_ns: when that was.
        value: what the function returned, or the task's error.
        extra: what only some tasks have.
    """

    spec: TaskSubmitted
    fn: Any
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    context: Context | None
    end: FinishTask | None = None
    ended_at_ns: int = 0
    value: Any = None
    extra: Extra | None = None

    def more(self) -> Extra:
        """The task's ``extra``, made when first needed."""
        extra = self.extra
        if extra is None:
            extra = self.extra = Extra()
        return extra


class Watch:
    """Somebody waits for some tasks.

    Args:
        numbers: the tasks that have not ended.
        until: what is waited for.

    Attributes:
        done: whether it has come true.
        wake: called once when it comes true, where a host sets it.
    """

    __slots__ = ("done", "numbers", "until", "wake")

    def __init__(self, numbers: Iterable[int], until: ReturnWhen) -> None:
        self.numbers = set(numbers)
        self.until = until
        self.done = not self.numbers
        self.wake: Callable[[], None] | None = None

    def saw(self, number: int, ok: bool) -> None:
        """Note that a task has ended."""
        numbers = self.numbers
        numbers.discard(number)
        if not numbers or self.until != "ALL_COMPLETED":
            if self.until == "FIRST_EXCEPTION" and numbers and ok:
                return
            self.finish()

    def finish(self) -> None:
        """Make it come true, and wake who waits."""
        self.done = True
        wake, self.wake = self.wake, None
        if wake is not None:
            wake()


class Feed(Protocol):
    """Where each step's facts go: see ``runtime.observers.Relay``."""

    def step(self, now_ns: int, stimulus: Stimulus, instructions: list[Instruction]) -> None:
        """Take what went into the core and what came out; a wake that found nothing to do is
        not told."""

    def transitions(self, batch: list[Transition]) -> None:
        """Take what changed."""

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Take the exception of an abandoned attempt."""


_OK: Final = "ok"


class Engine:
    """A core, its jobs and its feed. Not thread-safe: a host calls in one thread at a time.

    Args:
        config: the pool's configuration.
        prefix: what every task id of this pool begins with.
        key_prefix: what every idempotency key begins with; not the same in two runs.

    Attributes:
        core: the core.
        jobs: every task by number, in the order of submission.
        watches: who waits for more than one task.
        ended_started: tasks that have ended and had an attempt.
        ended_attempts: their attempts, and ``ended_running_ns`` how long they ran.
        timeouts: attempts that were abandoned because their time was up.
        late_results: results of abandoned attempts that were dropped.
        waiting: running tasks that wait for others of this pool.
        feed: where late exceptions go, if anywhere.
        tap: where each step goes, if anywhere; the same feed, while it needs that.
    """

    def __init__(self, config: WorkerPoolConfig, prefix: str, key_prefix: str) -> None:
        self.config = config
        self.prefix = prefix
        self.key_prefix = key_prefix
        self.core = Core(config.core_settings())
        self.jobs: dict[int, Job] = {}
        self.watches: list[Watch] = []
        self.ended_started = 0
        self.ended_attempts = 0
        self.ended_running_ns = 0
        self.timeouts = 0
        self.late_results = 0
        self.waiting: set[int] = set()
        self.feed: Feed | None = None
        self.tap: Feed | None = None

    def step(self, now_ns: int, stimulus: Stimulus, payload: Any) -> list[Instruction]:
        """Let the core decide, and carry out what is not the host's.

        Args:
            now_ns: the host's clock.
            stimulus: what happened.
            payload: what an attempt brought home, its value or its exception; for a
                ``Simultaneous`` a dict of those by (task, attempt).

        Returns:
            The core's instructions; ``StartAttempt`` and ``StopWorkers`` are the host's.

        Raises:
            InvalidTransition: see ``Core.handle``; nothing has changed then.
        """
        core = self.core
        tap = self.tap
        if tap is None:
            out = core.handle(now_ns, stimulus)
        else:
            fired = core.timers_fired
            out = core.handle(now_ns, stimulus)
            if out or type(stimulus) is not TimeElapsed or core.timers_fired != fired:
                tap.step(now_ns, stimulus, out)
            if core.transitions:
                tap.transitions(core.take_transitions())
        for instruction in out:
            kind = type(instruction)
            if kind is FinishTask:
                self._finish(now_ns, instruction, stimulus, payload)  # type: ignore[arg-type]
            elif kind is not StartAttempt:
                self._carry_out(instruction, stimulus, payload)
        return out

    def task_id(self, number: int) -> str:
        """The public id of a task."""
        return f"{self.prefix}{number}"

    def check_wait(self, waiter: int, watch: Watch) -> None:
        """Raise where a running task would wait for ever.

        Args:
            waiter: the task that is about to wait.
            watch: what it is about to wait for.

        Raises:
            WouldDeadlockError: it waits for itself, or every slot would be held by a task that
                waits for this pool, so that nothing that waits for a slot could ever start.
        """
        who = self.task_id(waiter)
        if waiter in watch.numbers and (len(watch.numbers) == 1 or watch.until == "ALL_COMPLETED"):
            raise WouldDeadlockError(f"task {who} waits for itself")
        running = self.core.running()
        if len(running) == self.config.max_workers and all(
            number == waiter or number in self.waiting for number in running
        ):
            raise WouldDeadlockError(
                f"task {who} holds the last free worker of {self.config.max_workers} and waits for "
                f"a task of its own pool: give the pool more workers, or submit from outside"
            )

    # ------------------------------------------------------------ carrying out

    def _finish(self, now_ns: int, end: FinishTask, stimulus: Stimulus, payload: Any) -> None:
        number = end.task
        job = self.jobs[number]
        ok = end.outcome == _OK
        if ok:
            if type(stimulus) is Simultaneous:
                payload = payload[number, end.attempts]
            job.value = payload
        else:
            if end.outcome == "error":
                job.more().failures.append(self._exception(stimulus, payload, number, end.attempts))
            job.value = self._error(job, end)
        attempts = end.attempts
        if attempts:
            self.ended_started += 1
            self.ended_attempts += attempts
            self.ended_running_ns += end.running_ns
        job.fn = job.args = job.kwargs = job.context = None
        job.ended_at_ns = now_ns
        job.end = end  # last: whoever sees it sees all the rest
        extra = job.extra
        if extra is not None:
            for watch in extra.watches:
                watch.saw(number, ok)
        for watch in self.watches:
            if number in watch.numbers:
                watch.saw(number, ok)
                if watch.done:
                    self.watches = [other for other in self.watches if other is not watch]

    def _carry_out(self, instruction: Instruction, stimulus: Stimulus, payload: Any) -> None:
        match instruction:
            case DelayTask(task=number, attempt=attempt, reason="error"):
                failure = self._exception(stimulus, payload, number, attempt)
                self.jobs[number].more().failures.append(failure)
            case AbandonAttempt(task=number, attempt=attempt, outcome=outcome):
                extra = self.jobs[number].more()
                if outcome == "timeout":
                    self.timeouts += 1
                    extra.failures.append(
                        TimeoutError(f"attempt {attempt} of {self.task_id(number)} took too long")
                    )
                extra.abandoned_through = attempt
                wakers, extra.wakers = extra.wakers, []
                for wake in wakers:
                    wake()
            case DropResult(task=number, attempt=attempt):
                self.late_results += 1
                brought = payload
                if type(stimulus) is Simultaneous:
                    brought = payload.get((number, attempt))
                if isinstance(brought, Raised) and self.feed is not None:
                    self.feed.late_exception(self.task_id(number), attempt, brought.error)
            case DelayTask() | StartAttempt() | FinishTask() | StopWorkers():
                pass

    @staticmethod
    def _exception(
        stimulus: Stimulus, payload: Any, number: int, attempt: int
    ) -> BaseException:
        brought = payload[number, attempt] if type(stimulus) is Simultaneous else payload
        assert isinstance(brought, Raised)
        return brought.error

    def _error(self, job: Job, end: FinishTask) -> TaskExecutionError:
        task_id, name = self.task_id(end.task), job.spec.name
        failures = job.extra.failures if job.extra is not None else []
        last = failures[-1] if failures else None
        tried = f"{end.attempts} attempt{'' if end.attempts == 1 else 's'}"
        who = f"task {name!r} ({task_id})"
        kind: type[TaskExecutionError]
        if end.outcome == "error":
            kind, what = TaskFailedError, f"failed after {tried} ({end.reason}): {last!r}"
        elif end.outcome == "timeout":
            kind, what = TaskTimeoutError, f"timed out after {tried} ({end.reason})"
        else:
            kind, what = TaskCancelledError, f"was cancelled after {tried} ({end.reason})"
        error = kind(f"{who} {what}", task_id, name, end.reason, failures)
        error.__cause__ = last
        return error


class Raised:
    """The payload of an attempt that raised.

    Args:
        error: what it raised.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error
