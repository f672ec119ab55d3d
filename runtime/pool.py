"""The worker pool's API: one, over any host.

A pool checks what it is given, keeps nothing that the engine does not keep, and decides nothing:
what happens to a task is the core's word, carried out by the host.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from os import PathLike
from pathlib import Path
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from runtime import interrupts
from runtime.accounts import Accounts
from runtime.attempt import current_attempt, here
from runtime.config import (
    MOST_WORKERS,
    WorkerPoolConfig,
    check_int,
    check_seconds,
    seconds_to_ns,
)
from runtime.core.records import (
    UNSET,
    AbortRequested,
    CancelRequested,
    DrainRequested,
    FinishTask,
    ResizeRequested,
    TaskSubmitted,
    UnsetType,
)
from runtime.engine import NO_CONTEXT, Engine, Job, ReturnWhen, Watch
from runtime.errors import PoolClosedError, UnknownTaskIdError, WaitTimeoutError
from runtime.host import Host
from runtime.logs import LogObserver, few, log_unfetched
from runtime.observers import (
    ContextObserver,
    Deliver,
    InContext,
    Observer,
    Relay,
    StepSink,
    check_observer,
)
from runtime.recorder import JournalTo, Recorder, describe_host
from runtime.results import TaskMetrics, TaskResult
from runtime.submission import ASYNC, checked, is_async
from runtime.threads import ThreadHost
from runtime.tracebacks import said_to_users
from runtime.view import PoolView

if TYPE_CHECKING:
    from simulation.whatif.forecast import Forecast

__all__ = ["WorkerPool"]
__tracebackhide__ = said_to_users

_log = logging.getLogger("twinclock")
_instances = itertools.count(1)


class WorkerPool:
    """Runs tasks in parallel, with retries, timeouts and an account of each.

    Use it in a ``with`` block: leaving the block waits for all tasks, those included that tasks go
    on submitting; leaving it by an exception aborts what is pending before it waits.

    Args:
        config: how it is set up; the default is ``WorkerPoolConfig()``.
        journal: where to record every decision, for replay: a path or a ``JournalTo``.
        observers: who is told of every transition (see ``runtime.observers.Observer``); not
            served where ``config.enable_instrumentation`` is off.

    Raises:
        TypeError: ``config`` is no ``WorkerPoolConfig``, ``journal`` no path, or an observer none.

    Example:
        >>> with WorkerPool(WorkerPoolConfig(max_workers=4)) as pool:
        ...     for n in range(3):
        ...         _ = pool.submit_task(f"double_{n}", lambda x: x * 2, args=(n,))
        ...     print([result.result for result in pool.wait_for_all()])
        [0, 2, 4]
    """

    def __init__(
        self,
        config: WorkerPoolConfig | None = None,
        *,
        journal: str | PathLike[str] | JournalTo | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        config = WorkerPoolConfig() if config is None else config
        if not isinstance(config, WorkerPoolConfig):
            raise TypeError(f"config={config!r}: a WorkerPoolConfig is needed")
        self.config = config
        self._prefix, key_prefix = self._name_run()
        self._engine = engine = Engine(config, self._prefix, key_prefix)
        self._jobs = engine.jobs
        self._numbers = itertools.count(1)
        self._shut = False
        self._closing = False  # shut for all but the pool's own running attempts
        self._rejected = {"closed": 0}
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._guarded: list[bool] = []
        self._host = host = self._make_host(engine)
        self._recorder: Recorder | None = None
        if journal is not None:
            to = journal if isinstance(journal, JournalTo) else JournalTo(journal)
            self._recorder = Recorder(
                to,
                describe_host(
                    engine.core.settings,
                    pool=config.name,
                    prefix=self._prefix,
                    epoch_ns=host.epoch_ns,
                    clock=host.clock,
                ),
            )
        for observer in observers:
            check_observer(observer)
        watching = self._own_observers()
        if config.enable_instrumentation:
            watching += [LogObserver(), *observers]
        sinks = [
            *self._own_sinks(),
            *([self._recorder] if self._recorder is not None else []),
        ]
        self._relay: Relay | None = None
        if watching or sinks:
            self._relay = Relay(engine, watching, sinks, threaded=host.clock == "wall")
        # no method: the threads hold the view, and must not hold the pool
        self._tallies = partial(_tallies, self._rejected, self._recorder, self._relay)
        in_context: InContext | None = None
        if self._relay is not None:
            self._relay.attach(PoolView(host, self._tallies, self._relay.flush))
            there = [one for one in self._relay.attached() if isinstance(one, ContextObserver)]
            in_context = InContext(there) if there else None
            host.observe(
                self._relay,
                measure_cpu=self._recorder is not None
                or any(getattr(observer, "needs_cpu_time", True) for observer in observers),
                in_context=in_context,
            )
        self._accounts = Accounts(engine, host, self._tallies)
        self._deliver: Deliver = host.deliver
        if in_context is not None:
            self._deliver = in_context.submitting(host.deliver)
        if host.clock == "wall" and interrupts.guard():
            self._guarded.append(True)

    def _name_run(self) -> tuple[str, str]:
        """What this pool's task ids and idempotency keys begin with."""
        return f"{self.config.name}-{next(_instances)}.", f"{secrets.token_hex(8)}."

    def _make_host(self, engine: Engine) -> Host:
        host = ThreadHost(engine)
        self._finalizer = weakref.finalize(self, _forgotten, host, self._guarded)
        self._finalizer.atexit = False
        return host

    def _own_observers(self) -> list[Observer]:
        """Who is told of transitions besides those whom the user names."""
        return []

    def _own_sinks(self) -> list[StepSink]:
        """Who is told of steps besides the journal."""
        return []

    # ------------------------------------------------------------ submitting

    @interrupts.shielded
    def submit_task(
        self,
        task_name: str,
        task_fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
        group: str = "default",
        timeout: float | UnsetType | None = UNSET,
        max_retries: int | UnsetType = UNSET,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Hand in a task.

        Args:
            task_name: what people call it.
            task_fn: its function. It may run more than once, so it should be idempotent. No
                coroutine function: ``lambda: asyncio.run(fetch(url))`` calls one.
            args: positional arguments.
            kwargs: keyword arguments.
            priority: lower starts first.
            group: tasks that belong together in metrics and limits.
            timeout: limit of one attempt in seconds, ``None`` for none; the pool's by default.
            max_retries: retries after a first attempt; the pool's by default.
            deadline: the instant by which the task must have ended, in epoch seconds (of the
                pool's clock: ``pool.now`` is the present).
            idempotency_key: a key for all its attempts to pass on; one is made by default.

        Returns:
            The task's id.

        Raises:
            TypeError: ``task_fn`` is no callable or a coroutine function, ``args`` no tuple,
                ``kwargs`` no mapping, or another argument has the wrong type.
            ValueError: a number is out of range.
            PoolClosedError: the pool was shut down; a ``RuntimeError``.
        """
        if self._shut or self._host.refusal is not None:
            self._refuse()
        if (
            type(task_name) is not str
            or not task_name.isascii()
            or type(args) is not tuple
            or not callable(task_fn)
            or (
                task_fn.__code__.co_flags & ASYNC
                if type(task_fn) is FunctionType
                else is_async(task_fn)
            )
            or type(priority) is not int
            or not -2147483648 <= priority <= 2147483647
            or group != "default"
            or kwargs is not None
            or timeout is not UNSET
            or max_retries is not UNSET
            or deadline is not None
            or idempotency_key is not None
            or here.running is not None
        ):
            spec = checked(
                self._numbers,
                self._parent(),
                self._host.epoch_ns,
                task_name,
                task_fn,
                args,
                kwargs,
                priority,
                group,
                timeout,
                max_retries,
                deadline,
                idempotency_key,
            )
            job = Job(spec, task_fn, args, dict(kwargs) if kwargs else None, copy_context())
            if idempotency_key is not None:
                job.more().idempotency_key = idempotency_key
            return self._hand_in(job)
        number = next(self._numbers)
        spec = TaskSubmitted(number, task_name, priority)
        context = copy_context()
        self._jobs[number] = Job(spec, task_fn, args, None, context if context else NO_CONTEXT)
        try:  # what _hand_in does, without the call
            self._deliver(spec, None)
        except BaseException:
            self._take_back(number)
            raise
        if interrupts.pending:
            interrupts.raise_pending()
        return f"{self._prefix}{number}"

    def _hand_in(self, job: Job) -> str:
        spec = job.spec
        number = spec.task
        self._jobs[number] = job
        try:
            self._deliver(spec, None)
        except BaseException:
            self._take_back(number)
            raise
        if interrupts.pending:
            interrupts.raise_pending()
        return f"{self._prefix}{number}"

    def _parent(self) -> int:
        """The number of the task of this pool that calls, 0 for none."""
        running = here.running
        return running[0].spec.task if running is not None and here.host is self._host else 0

    def _take_back(self, number: int) -> None:
        """Forget a task on whose way in a signal handler raised, unless it has arrived."""
        self._host.held(partial(self._engine.forget_unless_known, number))

    def _refuse(self) -> None:
        """Raise, unless the pool is only closing and a running attempt of its own submits."""
        if self._host.refusal is not None:
            raise self._host.refusal
        if self._closing and self._parent():
            return
        self._rejected["closed"] += 1
        raise PoolClosedError(
            f"the pool {self.config.name!r} was shut down and takes no more tasks; submit inside "
            f"its with block, or make a new pool"
        )

    # ------------------------------------------------------------ results

    def get_task_result(self, task_id: str, timeout: float | None = None) -> TaskResult:
        """The result of one task; waits for it.

        Args:
            task_id: what ``submit_task`` returned.
            timeout: how long to wait at most, in seconds; ``None`` for ever. The task itself is
                not touched.

        Returns:
            Its result, also where it failed.

        Raises:
            KeyError: no task of this pool has this id.
            TimeoutError: it had not ended by then.
            WouldDeadlockError: called from a task that nobody would be left to serve.
            TaskCancelledError: called from an attempt that was abandoned, before or meanwhile.
        """
        job = self._job(task_id)
        timeout_ns = None if timeout is None else self._timeout_ns(timeout)
        if job.end is None and not self._wait(Watch([job], "ALL_COMPLETED"), timeout_ns):
            raise WaitTimeoutError(
                f"task {job.spec.name!r} ({task_id}) had not ended after {timeout} s; it goes on",
                open_ids=[task_id],
            )
        assert job.end is not None
        return self._accounts.result(job, job.end)

    def wait_for_all(
        self, timeout: float | None = None, return_when: ReturnWhen = "ALL_COMPLETED"
    ) -> list[TaskResult]:
        """Wait for every task submitted so far, and for what those tasks submit, and theirs.

        Args:
            timeout: how long to wait at most, in seconds; ``None`` for ever.
            return_when: ``ALL_COMPLETED``; ``FIRST_COMPLETED``, when any task has ended; or
                ``FIRST_EXCEPTION``, when any task did not succeed, or all have ended.

        Returns:
            The results that are there, in submission order.

        Raises:
            TimeoutError: the time was up; ``results`` has the results so far and ``open_ids``
                the ids of the others.
            ValueError: an unknown ``return_when``.
            WouldDeadlockError: called from a task, which would wait for itself.
        """
        if return_when not in get_args(ReturnWhen):
            allowed = ", ".join(get_args(ReturnWhen))
            raise ValueError(f"return_when={return_when!r}: must be one of {allowed}")
        timeout_ns = self._timeout_ns(timeout)
        engine, host, accounts = self._engine, self._host, self._accounts
        until_ns = None if timeout_ns is None else host.now_ns() + timeout_ns

        def look() -> tuple[int, Watch]:
            jobs = accounts.in_order()
            return len(jobs), engine.watch(jobs, return_when, engine.born_meanwhile)

        submitted, watch = host.held(look)
        came_true = self._wait(watch, timeout_ns)
        while came_true and return_when == "ALL_COMPLETED":
            # a child may be told of after its parent's end, in the world of a search
            late = host.held(partial(engine.born_meanwhile, watch))
            if not late:
                break
            watch = host.held(
                partial(engine.watch, [*watch.jobs, *late], return_when, engine.born_meanwhile)
            )
            left_ns = None if until_ns is None else max(0, until_ns - host.now_ns())
            came_true = self._wait(watch, left_ns)
        jobs = watch.jobs
        if len(self._jobs) != submitted:
            jobs = host.held(lambda: engine.family(watch, accounts.in_order()))
        if not came_true:
            open_ids = [engine.task_id(job.spec.task) for job in jobs if job.end is None]
            raise WaitTimeoutError(
                f"{len(open_ids)} of {len(jobs)} tasks had not ended after {timeout} s; they go on",
                accounts.results(jobs),
                open_ids,
            )
        return accounts.results(jobs)

    def _wait(self, watch: Watch, timeout_ns: int | None) -> bool:
        """Wait, from outside or from a task of this very pool."""
        if watch.done:
            return True
        engine, host = self._engine, self._host
        running = here.running
        waiter = None
        if running is not None and here.host is host:
            waiter = running[0].spec.task, running[1]
        try:
            if waiter is None:
                return host.wait(watch, timeout_ns)
            attempt = current_attempt()
            host.held(partial(engine.begin_wait, waiter, watch, for_ever=timeout_ns is None))
            attempt.raise_if_cancelled()
            came_true = host.wait(watch, timeout_ns)
            if not came_true:
                attempt.raise_if_cancelled()
                if watch.refusal is not None:
                    raise watch.refusal
            return came_true
        finally:
            if waiter is not None or not watch.done:
                host.held(partial(engine.end_wait, waiter, watch))

    def _job(self, task_id: str) -> Job:
        prefix = self._prefix
        try:
            number = int(task_id[len(prefix) :])
            job = self._jobs[number]
        except (KeyError, TypeError, ValueError):
            raise UnknownTaskIdError(task_id) from None
        if task_id != f"{prefix}{number}":
            raise UnknownTaskIdError(task_id)
        return job

    @staticmethod
    def _timeout_ns(timeout: float | None) -> int | None:
        if timeout is None:
            return None
        check_seconds("timeout", timeout)
        return seconds_to_ns(timeout)

    # ------------------------------------------------------------ metrics

    @property
    def now(self) -> float:
        """The present on the pool's clock, in epoch seconds."""
        return self._host.epoch_seconds(self._host.now_ns())

    def get_metrics(self) -> dict[str, TaskMetrics]:
        """What happened to each task so far, all at one instant.

        Returns:
            The metrics by task id, in submission order.
        """
        return self._accounts.metrics()

    def get_summary_metrics(self) -> dict[str, Any]:
        """Totals over all tasks so far, all at one instant.

        Returns:
            ``total_tasks``; tasks by status: ``pending``, ``running``, ``retrying``,
            ``completed``, ``failed`` and of those ``timed_out``, ``cancelled``; ``success_rate``
            of those that ended; ``total_attempts``, ``total_retries``, ``timeouts`` (attempts),
            ``late_results``, ``abandoned_threads``; ``total_execution_time_ms`` and
            ``avg_execution_time_ms`` of tasks that ended and had an attempt; ``max_workers``,
            ``busy_workers``; ``journal_errors`` and ``observer_errors``.
        """
        return self._accounts.summary()

    def forecast(
        self,
        deadline: float | None = None,
        *,
        journal: str | PathLike[str] | None = None,
        runs: int | None = None,
        seed: int = 0,
    ) -> Forecast:
        """Forecast when all tasks submitted so far will have ended, by simulating the rest.

        It reads this pool's own journal and disturbs nothing. Needs the extra ``whatif``.

        Args:
            deadline: an instant in epoch seconds of the pool's clock: how likely does everything
                end by then?
            journal: the journal of an older run of the same kind, for what has not been seen yet;
                where no task was submitted, all that it did is expected.
            runs: replications; as many as it takes by default.
            seed: keys the draws.

        Returns:
            When, with an interval, and how likely in time (``simulation.whatif.forecast``).

        Raises:
            RuntimeError: the pool has no journal, or it could not be written.
            ValueError: nothing has been seen that one could forecast from.
        """
        from simulation.whatif.forecast import forecast  # noqa: PLC0415  # asked for by few

        recorder = self._recorder
        if recorder is None or self._relay is None:
            raise RuntimeError(
                "a forecast is made from what was seen so far, which is in the pool's journal: "
                "WorkerPool(config, journal='run.jsonl')"
            )
        now_ns = self._host.now_ns()
        self._relay.flush()
        if recorder.errors:
            raise RuntimeError("the pool's journal could not be written; see the log")
        return forecast(
            recorder.path,
            at_ns=now_ns,
            deadline=deadline,
            older=None if journal is None else Path(journal),
            runs=runs,
            seed=seed,
        )

    # ------------------------------------------------------------ stopping

    def cancel(self, task_id: str) -> bool:
        """Stop one task: it ends as cancelled now. If it runs, its token is set and what it
        brings home is dropped.

        Args:
            task_id: what ``submit_task`` returned.

        Returns:
            Whether this ended it; ``False`` where it had ended before.

        Raises:
            KeyError: no task of this pool has this id.
        """
        job = self._job(task_id)
        self._check_usable()
        if job.end is not None:
            return False
        instructions = self._host.decide(CancelRequested(job.spec.task))
        return any(type(instruction) is FinishTask for instruction in instructions)

    def abort_pending_tasks(self) -> int:
        """Cancel what is queued or in backoff; running attempts finish and are not retried. The
        pool goes on taking tasks.

        Returns:
            How many were cancelled.
        """
        self._check_usable()
        instructions = self._host.decide(AbortRequested())
        return sum(
            type(instruction) is FinishTask and instruction.reason == "aborted"
            for instruction in instructions
        )

    def resize(self, max_workers: int) -> None:
        """Change how many tasks run at the same time, from now on.

        More workers take on waiting tasks at once. With fewer, running attempts are left to finish,
        and no attempt starts until fewer run than there are workers. The journal records it, and
        ``config`` stays what the pool was made with. Where tasks wait for tasks of this very pool,
        and with fewer workers nobody would be left to serve them, one of them gets a
        ``WouldDeadlockError``.

        Args:
            max_workers: workers, 1 to 100,000.

        Raises:
            TypeError: no whole number.
            ValueError: out of range.

        Example:
            >>> pool = WorkerPool(WorkerPoolConfig(max_workers=2))
            >>> pool.resize(8)
            >>> pool.get_summary_metrics()["max_workers"]
            8
            >>> pool.shutdown()
        """
        wanted = check_int("max_workers", max_workers, 1, MOST_WORKERS)
        self._check_usable()
        self._host.decide(ResizeRequested(wanted))

    def drain(self, timeout: float | None = None) -> bool:
        """Take no new tasks and finish the rest.

        Args:
            timeout: how long to wait at most, in seconds; ``None`` for ever.

        Returns:
            Whether everything had ended by then.
        """
        timeout_ns = self._timeout_ns(timeout)
        self._check_usable()
        self._shut, self._closing = True, False
        self._host.decide(DrainRequested())
        return self._wait_until_empty(timeout_ns)

    def shutdown(self, wait: bool = True, cancel_futures: bool = False) -> None:
        """Take no new tasks, finish the rest, and let the workers go. May be called again.

        Args:
            wait: whether to return only when that is done; otherwise it goes on by itself.
            cancel_futures: whether what is pending is cancelled first.
        """
        self._close(wait=wait, abort=cancel_futures, timeout_ns=None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.name!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        hurry = kind is not None and not issubclass(kind, Exception)  # Ctrl-C, sys.exit
        grace_ns = seconds_to_ns(self.config.exit_grace_seconds) if hurry else None
        self._close(wait=True, abort=kind is not None, timeout_ns=grace_ns, children=kind is None)

    def _check_usable(self) -> None:
        if self._host.refusal is not None:
            raise self._host.refusal

    def _close(
        self, *, wait: bool, abort: bool, timeout_ns: int | None, children: bool = False
    ) -> None:
        self._closing = children and not self._shut
        self._shut = True
        host = self._host
        try:
            try:
                if self._closing and host.refusal is None:
                    self._wait_until_quiet()
            finally:
                self._closing = False
                if host.refusal is None:
                    host.deliver(DrainRequested(), None)  # not decide: a signal handler may call
                    if abort:
                        host.deliver(AbortRequested(), None)
            if wait and host.refusal is None:
                self._finish(timeout_ns)
        finally:
            _unguard(self._guarded)

    def _wait_until_quiet(self) -> None:
        """Wait until nothing is in flight, children included, and take no more from that very
        decision on.
        """
        engine, host = self._engine, self._host

        def look() -> Watch:
            return engine.watch(engine.live_jobs(), "ALL_COMPLETED", engine.live_jobs)

        while self._closing and not host.decide_if(
            lambda: not engine.core.live(), DrainRequested()
        ):
            if not self._wait(host.held(look), None):
                return  # on virtual time, where nothing is left that could happen

    def _finish(self, timeout_ns: int | None) -> None:
        """Wait for what is left, and let go of everything."""
        host = self._host
        if not self._wait_until_empty(timeout_ns):
            for number, job in list(self._jobs.items()):
                if job.end is None:
                    host.decide(CancelRequested(number))
        stuck = host.close(timeout_ns)
        if self._finalizer is not None:
            self._finalizer.detach()
        if stuck:
            _log.warning(
                "pool %r was shut down while %d abandoned attempts still run: %s",
                self.config.name,
                len(stuck),
                few(stuck),
            )
        log_unfetched(self.config.name, self._jobs.values())

    def _wait_until_empty(self, timeout_ns: int | None) -> bool:
        engine = self._engine
        watch = self._host.held(lambda: engine.watch(list(engine.jobs.values()), "ALL_COMPLETED"))
        return self._wait(watch, timeout_ns)


def _forgotten(host: ThreadHost, guarded: list[bool]) -> None:
    """Nobody refers to a pool any more that was not shut down."""
    _unguard(guarded)
    host.let_go()


def _unguard(guarded: list[bool]) -> None:
    with suppress(IndexError):  # another thread may do the same
        guarded.pop()
        interrupts.release()


def _tallies(
    rejected: dict[str, int], recorder: Recorder | None, relay: Relay | None
) -> tuple[dict[str, int], int, int]:
    """Rejections by reason, journal errors, observer errors."""
    return (
        dict(rejected),
        recorder.errors if recorder is not None else 0,
        relay.observer_errors if relay is not None else 0,
    )
