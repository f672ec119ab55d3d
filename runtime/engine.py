"""The core with what users handed in beside it: one step of a pool, whatever its clock.

A host takes stimuli in its own way, and for one at a time calls ``decide`` and then ``carry_out``
with each instruction that it does not carry out itself. The core decides; the engine does what has
no place in a host: it keeps each task's function until its end and its result from then on, sets
cancellation tokens, wakes who waits, and feeds the observers. What is left to the host is
``StartAttempt`` and ``StopWorkers``.

Values and exceptions never enter the core. A *payload* travels beside the stimulus of its attempt
and is delivered only if the core ends the task by that very attempt.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Mapping
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
    RetireSlot,
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
from runtime.failures import told

__all__ = ["NO_CONTEXT", "Engine", "Extra", "Feed", "Job", "Raised", "ReturnWhen", "Watch"]

#: One for all tasks whose submitter has set no context variable; never run in, only copied.
NO_CONTEXT: Final = Context()

ReturnWhen = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]


class Extra(msgspec.Struct):
    """What only some tasks have.

    Args:
        idempotency_key: the user's own, ``None`` for one made from the id.
        failures: the exceptions of its attempts so far.
        abandoned_through: the last attempt whose token is set.
        wakers: what wakes a sleeping attempt when its token is set.
        fetched: whether its failure was handed to anybody.
    """

    idempotency_key: str | None = None
    failures: list[BaseException] = msgspec.field(default_factory=list)
    abandoned_through: int = 0
    wakers: list[Callable[[], None]] = msgspec.field(default_factory=list)
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
        watches: who is to be told when it ends.
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
    watches: list[Watch] | None = None

    def ended(self) -> bool:
        """Whether it has; another thread may end it at any moment."""
        return self.end is not None

    def more(self) -> Extra:
        """The task's ``extra``, made when first needed."""
        extra = self.extra
        if extra is None:
            extra = self.extra = Extra()
        return extra


_hanging = allocate_lock()  # guards every job's ``watches`` among those who add to them


def after_fork_in_child() -> None:
    """Make new what another thread may have held when the process was forked."""
    global _hanging
    _hanging = allocate_lock()


class Watch:
    """Somebody waits for some tasks; made by ``Engine.watch``.

    For all of them, it hangs on one task that has not ended, and moves on to the next such task
    when that one ends: so it costs those tasks nothing on which it does not hang.

    Hanging it on needs no lock but one among those who do: a task's end is set before its watches
    are looked at, and looked at again here after the watch hangs there.

    Args:
        jobs: the tasks; those that join later are added to it.
        until: what is waited for.
        joining: asked when all have ended for those that are to be waited for, too.

    Attributes:
        done: whether it has come true.
        given_up: whether who waits was woken before that.
        for_ever: whether a task of the same pool waits, and without a timeout.
        refusal: why who waits is to wait no longer, raised there; ``None`` for no reason.
        wake: called once when it comes true, where a host sets it.
    """

    __slots__ = (
        "_joining",
        "_numbers",
        "_rest",
        "done",
        "for_ever",
        "given_up",
        "jobs",
        "refusal",
        "until",
        "wake",
    )

    def __init__(
        self,
        jobs: list[Job],
        until: ReturnWhen,
        joining: Callable[[Watch], list[Job]] | None = None,
    ) -> None:
        self.jobs = jobs
        self._joining = joining
        self._numbers: set[int] | None = None
        self.until = until
        self.done = False
        self.given_up = False
        self.for_ever = False
        self.refusal: Exception | None = None
        self.wake: Callable[[], None] | None = None
        self._rest = iter(jobs)
        if until != "ALL_COMPLETED":
            self.done = any(job.end is not None and self.ends_by(job.end) for job in jobs)
        self.move_on()

    def numbers(self) -> set[int]:
        """The numbers of its tasks; made when first needed."""
        if self._numbers is None:
            self._numbers = {job.spec.task for job in self.jobs}
        return self._numbers

    def ends_by(self, end: FinishTask) -> bool:
        """Whether the end of one of its tasks is enough."""
        return self.until == "FIRST_COMPLETED" or (
            self.until == "FIRST_EXCEPTION" and end.outcome != _OK
        )

    def move_on(self) -> None:
        """Hang on the next task that has not ended, or come true."""
        while not self._hang_on():
            more = [] if self._joining is None else self._joining(self)
            if not more:
                self.finish()
                return
            self.jobs.extend(more)
            self._rest = iter(more)

    def _hang_on(self) -> bool:
        """Hang on the next task that has not ended; ``False`` where all have."""
        for job in self._rest:
            if job.end is None:
                with _hanging:
                    if job.watches is None:
                        job.watches = [self]
                    else:
                        job.watches.append(self)
                if not job.ended():
                    return True
                with _hanging:  # it has ended meanwhile: if it was told of us, it goes on for us
                    if job.watches is None or self not in job.watches:
                        return True
                    job.watches.remove(self)
        return False

    def finish(self) -> None:
        """Make it come true, and wake who waits."""
        self.done = True
        self._call_wake()

    def give_up(self) -> None:
        """Wake who waits although it has not come true."""
        self.given_up = True
        self._call_wake()

    def _call_wake(self) -> None:
        wake, self.wake = self.wake, None
        if wake is not None:
            wake()


class Feed(Protocol):
    """Where each step's facts go: see ``runtime.observers.Relay``."""

    def step(self, now_ns: int, stimulus: Stimulus, instructions: list[Instruction]) -> None:
        """Take what went into the core and what came out; a wake that found nothing to do is
        not told.
        """

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
        timeouts: attempts that were abandoned because their time was up.
        late_results: results of abandoned attempts that were dropped.
        waiting: attempts that wait for tasks of this pool, as (task, attempt), each with its watch.
        dropped: what users handed in and nobody needs any more; the host lets go of it where
            their destructors may call the pool.
        feed: where transitions and late exceptions go, if anywhere.
        unheard: those that came when nobody was there any more; the host logs them.
        decide: the way to the core, ``Core.handle`` itself where nobody is told of decisions. The
            host calls ``tell`` after some of them, where transitions wait in the core.
    """

    def __init__(self, config: WorkerPoolConfig, prefix: str, key_prefix: str) -> None:
        self.config = config
        self.prefix = prefix
        self.key_prefix = key_prefix
        self.core = Core(config.core_settings())
        self.jobs: dict[int, Job] = {}
        self._watches: list[Watch] = []
        self.timeouts = 0
        self.late_results = 0
        self.waiting: dict[tuple[int, int], Watch] = {}
        self.dropped: list[Any] = []
        self.feed: Feed | None = None
        self.unheard: list[tuple[str, int, BaseException]] = []
        self._tap: Feed | None = None
        self.decide: Callable[[int, Stimulus], list[Instruction]] = self.core.handle

    def tap_into(self, tap: Feed | None) -> None:
        """Tell somebody of each decision from now on, or nobody.

        Args:
            tap: who is told what went into it and what came out.
        """
        self._tap = tap
        self.decide = self.core.handle if tap is None else self._decide_and_tell

    def _decide_and_tell(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        core = self.core
        fired = core.timers_fired
        out = core.handle(now_ns, stimulus)
        tap = self._tap
        if tap is not None and (
            out or type(stimulus) is not TimeElapsed or core.timers_fired != fired
        ):
            tap.step(now_ns, stimulus, out)
        return out

    def tell(self) -> None:
        """Hand over the transitions that wait in the core; a host calls it when there are any,
        before it lets go of the core.
        """
        taken = self.core.take_transitions()
        if self.feed is not None:
            self.feed.transitions(taken)

    def hang_up(self) -> None:
        """Tell nobody anything more, and count nothing more, as of now."""
        self.tap_into(None)
        self.feed = None
        self.core.record("none")
        self.core.count_into(None)

    def task_id(self, number: int) -> str:
        """The public id of a task."""
        return f"{self.prefix}{number}"

    def told(self, number: int, attempt: int = 1) -> str:
        """A task, or an attempt of it after the first, as messages name it.

        Args:
            number: the task's number.
            attempt: the attempt's.

        Returns:
            Its user's name for it, with the id behind.
        """
        which = f", attempt {attempt}," if attempt > 1 else ""
        return f"task {self.jobs[number].spec.name!r} ({self.task_id(number)}){which}"

    def watch(
        self,
        jobs: list[Job],
        until: ReturnWhen,
        joining: Callable[[Watch], list[Job]] | None = None,
    ) -> Watch:
        """Begin to wait for some tasks.

        Args:
            jobs: the tasks.
            until: what is waited for.
            joining: who joins them when all have ended: ``born_meanwhile`` or ``live_jobs``.

        Returns:
            What a host can wait on; to be given to ``unwatch`` where it has not come true.
        """
        watch = Watch(jobs, until, joining)
        if not watch.done and until != "ALL_COMPLETED":
            self._watches.append(watch)
        return watch

    def live_jobs(self, watch: Watch | None = None) -> list[Job]:
        """Every task that has not ended."""
        return [self.jobs[number] for number in self.core.live()]

    def born_meanwhile(self, watch: Watch) -> list[Job]:
        """The tasks that have not ended and were submitted by a watch's tasks, or by theirs."""
        return [
            self.jobs[number]
            for number in self.core.live()
            if number not in watch.numbers() and self._descends(number, watch)
        ]

    def family(self, watch: Watch, jobs: list[Job]) -> list[Job]:
        """Those of some tasks that a watch is about: its own, and their descendants."""
        return [job for job in jobs if self._descends(job.spec.task, watch)]

    def _descends(self, number: int, watch: Watch) -> bool:
        """Whether a task is one of a watch's or descends from one, and is therefore one, too."""
        numbers, jobs = watch.numbers(), self.jobs
        between = []
        while number not in numbers:
            if number not in jobs:
                return False  # 0: nobody's child
            between.append(number)
            number = jobs[number].spec.parent
        numbers.update(between)
        return True

    def unwatch(self, watch: Watch) -> None:
        """Stop waiting.

        Args:
            watch: what ``watch`` returned.
        """
        if watch in self._watches:
            self._watches.remove(watch)
        with _hanging:
            for job in watch.jobs:
                if job.watches is not None and watch in job.watches:
                    job.watches.remove(watch)

    def begin_wait(self, waiter: tuple[int, int], watch: Watch, *, for_ever: bool) -> None:
        """Note that a running task waits; raise where it would wait for ever.

        Args:
            waiter: the task that is about to wait, and the number of its attempt.
            watch: what it is about to wait for.
            for_ever: whether it waits without a timeout.

        Raises:
            WouldDeadlockError: it waits for itself, or every slot would be held by a task that
                waits for this pool, so that nothing that waits for a slot could ever start.
        """
        watch.for_ever = for_ever
        self.waiting[waiter] = watch
        if watch.done or not for_ever:
            return
        number, attempt = waiter
        who = self.task_id(number)
        if self.jobs[number].more().abandoned_through >= attempt:
            return  # it is told when it has not waited
        itself = any(job.spec.task == number for job in watch.jobs)
        if itself and watch.until == "ALL_COMPLETED":
            raise WouldDeadlockError(f"task {who} waits for itself")
        running = self._running()
        if waiter in running and self._nobody_left(running):
            raise WouldDeadlockError(
                f"task {who} holds the last free worker of {self.core.workers} and waits for "
                f"a task of its own pool: give the pool more workers, or submit from outside"
            )

    def _running(self) -> list[tuple[int, int]]:
        tasks = [self.core.task(number) for number in self.core.running()]
        return [(task.spec.task, task.attempt) for task in tasks if task is not None]

    def _nobody_left(self, running: list[tuple[int, int]]) -> bool:
        """Whether every slot there will be is held by an attempt that waits for this pool."""
        return len(running) >= self.core.workers and all(map(self._waits, running))

    def _free_who_waits(self) -> None:
        """A slot was retired: where only attempts are left that wait for this pool, the one that
        began last waits no longer.
        """
        running = self._running() if self.waiting else []
        if running and self._nobody_left(running):
            last = [attempt for attempt in self.waiting if attempt in running][-1]
            watch = self.waiting[last]
            watch.refusal = WouldDeadlockError(
                f"task {self.task_id(last[0])} waits for a task of its own pool, and since the "
                f"pool was resized to {self.core.workers}, all its workers do: resize it to more"
            )
            watch.give_up()

    def _waits(self, attempt: tuple[int, int]) -> bool:
        """Whether an attempt waits for what has not come: its thread may be slow to notice."""
        watch = self.waiting.get(attempt)
        return watch is not None and watch.for_ever and not watch.done

    def end_wait(self, waiter: tuple[int, int] | None, watch: Watch) -> None:
        """Note that a wait is over.

        Args:
            waiter: the task that waited, if it was one, and the number of its attempt.
            watch: what it waited for.
        """
        self.unwatch(watch)
        if waiter is not None:
            self.waiting.pop(waiter, None)

    def call_in(self, number: int, call: Callable[[], object]) -> None:
        """Call something in the context variables that each attempt of a task will have.

        Args:
            number: a task that is being handed in.
            call: what may set some.
        """
        job = self.jobs[number]
        if job.context is NO_CONTEXT or job.context is None:
            job.context = Context()
        job.context.run(call)

    def forget_unless_known(self, number: int) -> None:
        """Forget a task that was to be handed in, if the core has not heard of it.

        Args:
            number: the task's number.
        """
        if self.core.task(number) is None and number in self.jobs and not self.jobs[number].ended():
            self.dropped.append(self.jobs.pop(number))

    # ------------------------------------------------------------ carrying out

    def carry_out(
        self, now_ns: int, instruction: Instruction, stimulus: Stimulus, payload: Any
    ) -> None:
        """Carry out an instruction, as far as it is not the host's.

        Args:
            now_ns: the instant of the decision.
            instruction: what came out of it.
            stimulus: what went into it.
            payload: what an attempt brought home, its value or a ``Raised``; for a
                ``Simultaneous`` a dict of those by (task, attempt).
        """
        match instruction:
            case FinishTask():
                self.finish(now_ns, instruction, stimulus, payload)
            case DelayTask(task=number, attempt=attempt, reason="error"):
                raised = self._raised(stimulus, payload, number, attempt)
                self.jobs[number].more().failures.append(raised.error)
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
                watch = self.waiting.get((number, attempt))
                if watch is not None:
                    watch.give_up()
            case DropResult(task=number, attempt=attempt):
                self.late_results += 1
                self.dropped.append(payload)
                brought = payload
                if type(stimulus) is Simultaneous:
                    brought = payload.get((number, attempt))
                if isinstance(brought, Raised):
                    late = self.task_id(number), attempt, brought.error
                    if self.feed is not None:
                        self.feed.late_exception(*late)
                    elif self.config.enable_instrumentation:
                        self.unheard.append(late)
            case RetireSlot():
                self._free_who_waits()
            case DelayTask() | StartAttempt() | StopWorkers():
                pass

    def finish(self, now_ns: int, end: FinishTask, stimulus: Stimulus, payload: Any) -> None:
        """``carry_out`` for a task's end."""
        number = end.task
        job = self.jobs[number]
        ok = end.outcome == _OK
        if ok:
            if type(stimulus) is Simultaneous:
                payload = payload[number, end.attempts]
            job.value = payload
        else:
            shown = ""
            if end.outcome == "error":
                raised = self._raised(stimulus, payload, number, end.attempts)
                job.more().failures.append(raised.error)
                shown = raised.told
            job.value = self._error(job, end, shown)
        self.dropped.append((job.fn, job.args, job.kwargs, job.context))
        job.fn = job.args = job.kwargs = job.context = None
        job.ended_at_ns = now_ns
        job.end = end  # last: whoever sees it sees all the rest
        if job.watches is not None:
            watches, job.watches = job.watches, None
            for watch in watches:
                watch.move_on()
        if self._watches:
            self._tell_watches(end)

    def _tell_watches(self, end: FinishTask) -> None:
        """Tell those who wait for the first of several tasks that one has ended."""
        for watch in self._watches:
            if not watch.done and self._descends(end.task, watch) and watch.ends_by(end):
                watch.finish()
        self._watches = [watch for watch in self._watches if not watch.done]

    @staticmethod
    def _raised(stimulus: Stimulus, payload: Any, number: int, attempt: int) -> Raised:
        brought = payload[number, attempt] if type(stimulus) is Simultaneous else payload
        assert isinstance(brought, Raised)
        return brought

    def _error(self, job: Job, end: FinishTask, shown: str) -> TaskExecutionError:
        task_id, name = self.task_id(end.task), job.spec.name
        failures = job.extra.failures if job.extra is not None else []
        last = failures[-1] if failures else None
        tried = f"{end.attempts} attempt{'' if end.attempts == 1 else 's'}"
        who = f"task {name!r} ({task_id})"
        kind: type[TaskExecutionError]
        if end.outcome == "error":
            kind, what = (
                TaskFailedError,
                f"failed after {tried} ({end.reason}): {shown}",
            )
        elif end.outcome == "timeout":
            kind, what = TaskTimeoutError, f"timed out after {tried} ({end.reason})"
        else:
            kind, what = (
                TaskCancelledError,
                f"was cancelled after {tried} ({end.reason})",
            )
        error = kind(f"{who} {what}", task_id, name, end.reason, failures)
        error.__cause__ = last
        return error


class Raised:
    """The payload of an attempt that raised; made where users' code may run.

    Args:
        error: what it raised.

    Attributes:
        told: the same, as messages show it.
    """

    __slots__ = ("error", "told")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.told = told(error)
