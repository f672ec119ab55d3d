"""The thread host: real threads, the monotonic clock.

How threads reach the core, so that nobody waits for a lock on the way:

* A stimulus is appended to the *inbox*, a deque. Then its thread tries the core's lock without
  waiting. Whoever gets it takes everything in the inbox through the core, for all (*combining*),
  and looks again after letting go, so that nothing is left behind. A stimulus is stamped when the
  core takes it: journal order is decision order.
* A worker that has finished an attempt keeps the first ``StartAttempt`` that comes out for itself;
  all others leave through one ``SimpleQueue``. A thread is started when the attempts that occupy
  one outnumber the threads, so there is always a thread for what is on the queue.
* One *clock thread*, started when first needed, waits for the core's next deadline and is woken
  only when that comes nearer. It also takes over from a thread that has combined for too long.

What the locks guard: ``_lock`` guards the engine, the thread counts and ``_wake_at``; nothing is
called under it that waits or that users wrote. Raw locks serve as one-shot signals elsewhere.

An exception in the middle of a decision (a signal handler's, or a bug) leaves the core half-way:
the pool is then *broken*, says so to all who wait, and decides nothing more. Ctrl-C does not do
that: see ``runtime.interrupts``.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from _thread import LockType, RLock, allocate_lock
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from types import AsyncGeneratorType
from typing import Any, Final, TypeVar

from runtime import interrupts, processes
from runtime.attempt import here
from runtime.config import seconds_to_ns
from runtime.core.errors import InvalidTransition, TimeWentBack
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    DrainRequested,
    DropResult,
    FinishTask,
    Instruction,
    RetireSlot,
    StartAttempt,
    Stimulus,
    StopWorkers,
    TimeElapsed,
)
from runtime.engine import Engine, Extra, Job, Raised, Watch
from runtime.errors import PoolBrokenError, ReentrantCallError
from runtime.failures import describe, without_this_frame
from runtime.logs import log_late_exception
from runtime.observers import InContext, Relay
from runtime.submission import refuse_awaitable

__all__ = ["ThreadHost"]

_log = logging.getLogger("twinclock")

#: Stimuli that one thread takes through the core before it lets another do it.
_BATCH: Final = 256
_NEVER: Final = 1 << 63
_TICK_SECONDS: Final = 0.02
#: What the journal gets for its last lines when the interpreter exits and the grace is over.
_LAST_LINES_NS: Final = 1_000_000_000
_LET_GO: Final[list[Any]] = []
#: What functions mostly return; of other kinds it takes 1 us to see that they have no __await__.
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set})

_T = TypeVar("_T")

# (job, attempt, dispatched_at_ns)
_Item = tuple[Job, int, int]


class ThreadHost:
    """Runs a pool's attempts on threads.

    Args:
        engine: the core with its jobs.
    """

    clock: Final = "wall"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.refusal: Exception | None = None
        self._relay: Relay | None = None
        self._measure_cpu = False
        self._in_context: InContext | None = None
        self._origin_ns = time.monotonic_ns()
        self._origin_epoch_ns = time.time_ns()
        self._lock: Any = RLock()
        self._busy = False  # whether the thread that has the lock is in the middle of something
        self._inbox: deque[tuple[Stimulus, Any]] = deque()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}  # by their running number
        self._spawned = 0
        self._alive = 0
        self._stopped = False
        self._wake_at = _NEVER
        self._clock_thread: threading.Thread | None = None
        self._clock_start = allocate_lock()  # taken by whoever starts the clock thread
        self._clock_signal = allocate_lock()
        self._clock_signal.acquire()
        self._clock_done = allocate_lock()
        self._clock_done.acquire()
        self._exit_signal = allocate_lock()
        self._exit_signal.acquire()
        self._waiting: set[Watch] = set()
        self._enter = self._make_enter()
        self.deliver = self._enter  # type: ignore[method-assign, assignment]  # a call less
        self._retry_on = engine.config.retry_on
        processes.register(self)

    def observe(self, relay: Relay, *, measure_cpu: bool, in_context: InContext | None) -> None:
        """Serve observers; measuring CPU time costs 1 us an attempt."""
        self._relay = relay
        self._in_context = in_context
        self._measure_cpu = measure_cpu

    # ------------------------------------------------------------ clock

    def now_ns(self) -> int:
        """Nanoseconds since the pool was made."""
        return time.monotonic_ns() - self._origin_ns

    def epoch_seconds(self, at_ns: int) -> float:
        """An instant of ``now_ns`` as epoch seconds."""
        return (self._origin_epoch_ns + at_ns) / 1e9

    @property
    def epoch_ns(self) -> int:
        """The epoch nanoseconds at which ``now_ns`` was 0."""
        return self._origin_epoch_ns

    # ------------------------------------------------------------ to the core

    @interrupts.shielded
    def deliver(self, stimulus: Stimulus, payload: Any) -> None:
        """Hand in a stimulus; it may be decided a little later, by another thread."""
        self._enter(stimulus, payload, False)

    @interrupts.shielded
    def decide(self, stimulus: Stimulus) -> list[Instruction]:
        """Hand in a stimulus and have it decided before this returns."""
        return self.held(partial(self._take_whole, stimulus, None))

    def decide_if(self, condition: Callable[[], bool], stimulus: Stimulus) -> bool:
        """Hand in a stimulus where a condition holds, with no decision between the two."""

        def look() -> bool:
            if condition():
                self._take_whole(stimulus, None)
                return True
            return False

        return self.held(look)

    @interrupts.shielded
    def held(self, look: Callable[[], _T]) -> _T:
        """Have everything decided that was handed in, then call something while nobody decides.

        The core's lock is taken by a ``with`` of its own: CPython runs no signal handler between
        taking a native lock that way and being bound to let it go.
        """
        dropped = None
        try:
            with self._lock:
                if self._busy:
                    raise ReentrantCallError(
                        f"the pool {self.engine.config.name!r} was called by a signal handler or a "
                        f"destructor that came in the middle of a call of its own, in the same "
                        f"thread: set a flag there, or submit_task or shutdown(wait=False), which "
                        f"never wait"
                    )
                self._busy = True
                try:
                    for _ in range(len(self._inbox)):
                        self._take_whole(None, None)
                    return look()
                finally:
                    dropped, self.engine.dropped = self.engine.dropped, []
                    self._busy = False
        finally:
            del dropped  # destructors run here, not under the lock
            if self._inbox:
                self._enter(None, None, False)
            if interrupts.pending:
                interrupts.raise_pending()

    def _take_whole(self, stimulus: Stimulus | None, payload: Any) -> list[Instruction]:
        """Take one stimulus through the core, or the next that is there; wholly, or the pool is
        broken. The lock is held.
        """
        try:
            if stimulus is None:
                stimulus, payload = self._inbox.popleft()
            return self._take(stimulus, payload)
        except (InvalidTransition, TimeWentBack):
            raise  # nothing has changed
        except BaseException as error:
            self._break(error)
            raise

    def _take(self, stimulus: Stimulus, payload: Any) -> list[Instruction]:
        engine = self.engine
        now = self.now_ns()
        instructions = engine.decide(now, stimulus)
        for instruction in instructions:
            if type(instruction) is StartAttempt:
                self._hand_out(engine.jobs[instruction.task], instruction.attempt, now)
            else:
                engine.carry_out(now, instruction, stimulus, payload)
                self._carry_out(instruction)
        if engine.core.transitions:
            engine.tell()
        self._mind_clock()
        return instructions

    def _mind_clock(self) -> None:
        wake = self.engine.core.wake_at_ns
        if wake < self._wake_at:
            self._wake_at = wake
            self._need_clock_thread()

    def _make_enter(  # noqa: PLR0915  # the hot path in one piece
        self,
    ) -> Callable[[Stimulus | None, Any, bool], _Item | None]:
        """The way to the core. A closure, with its loop written out: this is what a task costs."""
        inbox = self._inbox
        append, popleft = inbox.append, inbox.popleft
        acquire, release = self._lock.acquire, self._lock.release
        owned = self._lock._is_owned  # as threading.Condition does
        engine = self.engine
        carry_out, finish = engine.carry_out, engine.finish
        jobs, core = engine.jobs, engine.core
        clock = time.monotonic_ns
        origin = self._origin_ns
        hand_out = self._hand_out

        @interrupts.shielded
        def enter(  # noqa: PLR0915
            stimulus: Stimulus | None, payload: Any, worker: bool = False
        ) -> _Item | None:
            """Take a stimulus through the core, and all others that are there; or leave it to
            the thread that holds the core. Without a stimulus, take what is there.

            Returns:
                An attempt that the calling worker is to run next, if it got one.
            """
            mine: _Item | None = None
            taken = 0
            try:
                if stimulus is None:
                    if not acquire(False):
                        return None
                elif not acquire(False):
                    append((stimulus, payload))
                    if not acquire(False):
                        return None  # whoever holds it looks again after letting go
                    stimulus = None
                elif inbox or self._busy:
                    append((stimulus, payload))
                    stimulus = None
                if stimulus is None and (self._busy or not inbox):
                    # busy: a signal handler or a destructor, in the middle of a decision
                    release()
                    return None
                while True:
                    try:
                        self._busy = True
                        while True:
                            if stimulus is None:
                                stimulus, payload = popleft()
                            now = clock() - origin
                            for instruction in engine.decide(now, stimulus):
                                if type(instruction) is StartAttempt:
                                    if worker and mine is None:
                                        mine = (
                                            jobs[instruction.task],
                                            instruction.attempt,
                                            now,
                                        )
                                    else:
                                        hand_out(jobs[instruction.task], instruction.attempt, now)
                                elif type(instruction) is FinishTask:
                                    finish(now, instruction, stimulus, payload)
                                else:
                                    carry_out(now, instruction, stimulus, payload)
                                    self._carry_out(instruction)
                            if not inbox:
                                break
                            stimulus = None
                            taken += 1
                            if taken >= _BATCH and (mine is not None or not worker):
                                break  # somebody else's turn: this thread has work of its own
                        if core.transitions:
                            engine.tell()
                        if core.wake_at_ns < self._wake_at:
                            self._mind_clock()
                    except BaseException as error:
                        self._break(error)
                        raise
                    finally:
                        dropped = engine.dropped
                        if dropped:
                            engine.dropped = []
                        self._busy = False
                        release()
                    dropped = _LET_GO  # destructors run here, not under the lock
                    if not inbox:
                        return mine
                    if taken >= _BATCH and (mine is not None or not worker):
                        self._need_clock_thread()
                        return mine
                    if not acquire(False):
                        return mine
                    if not inbox:
                        release()
                        return mine
                    stimulus = None
            except BaseException:  # a signal handler's, or of a decision, which let go of the lock
                if owned() and not self._busy:
                    release()
                if inbox:
                    self._need_clock_thread()
                raise

        return enter

    def _carry_out(self, instruction: Instruction) -> None:
        """Do the host's part of what is neither a start nor a task's end."""
        if type(instruction) is DropResult or type(instruction) is RetireSlot:
            self._let_one_go()
        elif type(instruction) is StopWorkers:
            self._stop_workers()

    def _break(self, error: BaseException) -> None:
        """Give up: the core may be half-way through a decision."""
        self.refusal = PoolBrokenError(
            f"the pool {self.engine.config.name!r} was interrupted in the middle of a decision by "
            f"{error!r} and takes part in nothing more; make a new pool"
        )
        self.refusal.__cause__ = error
        self._inbox.clear()
        self.engine.decide = _decide_nothing
        _log.critical("%s", self.refusal)
        for watch in list(self._waiting):
            watch.finish()
        self._stop_workers()

    # ------------------------------------------------------------ workers

    def _hand_out(self, job: Job, attempt: int, now: int) -> None:
        item = (job, attempt, now)
        if self.engine.core.outstanding > self._alive:
            self._spawn(item)
        else:
            self._queue.put(item)

    def _spawn(self, item: _Item) -> None:
        self._alive += 1
        self._spawned += 1
        number = self._spawned
        thread = threading.Thread(
            target=self._work,
            args=(number, item),
            name=f"{self.engine.config.name}-thread-{number}",
            daemon=True,
        )
        self._threads[number] = thread
        try:
            thread.start()
        except RuntimeError:
            # the system is out of threads: those that are there take it in turn
            del self._threads[number]
            self._alive -= 1
            self._spawned -= 1
            if not self._alive:
                self._fail_to_start(item)
                return
            _log.warning(
                "pool %r: no more threads can be started; going on with %d",
                self.engine.config.name,
                self._alive,
            )
            self._queue.put(item)

    def _fail_to_start(self, item: _Item) -> None:
        """No thread at all can be started: the attempt fails by that, and may be retried."""
        job, attempt, now = item
        error = RuntimeError("no thread can be started: the system is out of threads")
        _log.warning("pool %r: %s", self.engine.config.name, error)
        kind, retryable, after = describe(error, self._retry_on)
        failed = AttemptFailed(job.spec.task, attempt, now, now, now, kind, retryable, after)
        self._inbox.append((failed, Raised(error)))

    def _work(self, me: int, item: _Item | None) -> None:  # noqa: PLR0915  # the hot path
        clock = time.monotonic_ns
        cpu_clock = time.thread_time_ns if self._measure_cpu else None
        in_context = self._in_context
        origin = self._origin_ns
        enter = self._enter
        get = self._queue.get
        unheard = self.engine.unheard
        begin = None if in_context is None else in_context.begin
        cpu: int | None = None
        here.host = self
        while True:
            if item is None:
                here.running = None
                item = get()
                if item is None:
                    break
            job, attempt, dispatched_at = item
            number = job.spec.task
            fn, args, kwargs, context = job.fn, job.args, job.kwargs, job.context
            if context is None or args is None:  # cancelled between decision and here
                fn, args, kwargs, context = _nothing, (), None, _EMPTY
            here.running = item
            if cpu_clock is not None:
                cpu = cpu_clock()
            begun_at = clock() - origin
            try:
                own = context.copy()
                if begin is not None:
                    own.run(begin, number, attempt)
                value = own.run(fn, *args, **kwargs) if kwargs else own.run(fn, *args)
                kind = type(value)
                if kind not in _PLAIN and (
                    kind is AsyncGeneratorType or hasattr(kind, "__await__")
                ):
                    refuse_awaitable(value, job.spec.name)
            except BaseException as error:
                ended_at = clock() - origin
                if cpu_clock is not None and cpu is not None:
                    cpu = cpu_clock() - cpu
                without_this_frame(error)
                failure = describe(error, self._retry_on)
                stimulus: Stimulus = AttemptFailed(
                    number, attempt, dispatched_at, begun_at, ended_at, *failure, cpu
                )
                payload: Any = Raised(error)
                error = None  # type: ignore[assignment]  # no cycle through this frame
            else:
                ended_at = clock() - origin
                if cpu_clock is not None and cpu is not None:
                    cpu = cpu_clock() - cpu
                stimulus = AttemptSucceeded(number, attempt, dispatched_at, begun_at, ended_at, cpu)
                payload = value
                value = None
            if self.refusal is not None:
                processes.leave_child(self.refusal, payload)
            item = enter(stimulus, payload, True)
            if unheard:
                self._tell_unheard()
            if item is None:
                job = fn = args = kwargs = context = payload = None  # type: ignore[assignment]
        self.held(partial(self._threads.pop, me, None))
        _signal(self._exit_signal)

    def _tell_unheard(self) -> None:
        """Log what abandoned attempts raised after the observers had gone."""
        while self.engine.unheard:
            try:
                late = self.engine.unheard.pop()
            except IndexError:
                return  # another worker has told of it
            log_late_exception(self.engine.config.name, *late)

    def _let_one_go(self) -> None:
        """A worker is one too many where an abandoned attempt came back whose slot was replaced,
        and where a slot was retired.
        """
        core = self.engine.core
        needed = max(core.workers, core.outstanding)
        if self._alive > needed and not self._stopped:
            self._alive -= 1
            self._queue.put(None)

    def _stop_workers(self) -> None:
        self._stopped = True
        for _ in range(self._alive):
            self._queue.put(None)
        _signal(self._clock_signal)
        if self._relay is not None:
            self._relay.finish()

    # ------------------------------------------------------------ time

    def _need_clock_thread(self) -> None:
        _signal(self._clock_signal)  # also for one that is only now started: it looks at once
        # called outside the core's lock, too: of those who see that there is none, one starts it
        if self._clock_thread is None and not self._stopped and self._clock_start.acquire(False):
            thread = threading.Thread(
                target=self._keep_time,
                name=f"{self.engine.config.name}-clock",
                daemon=True,
            )
            self._clock_thread = thread
            try:
                thread.start()
            except BaseException as error:
                if thread.ident is None:
                    self._clock_thread = None
                    self._wake_at = _NEVER
                    self._clock_start.release()
                # out of threads: the next decision tries again, and who waits keeps the time
                if not isinstance(error, RuntimeError):
                    raise

    def _keep_time(self) -> None:
        """Wait for the next deadline; take the inbox along when asked to."""
        while not self._stopped:
            wait_ns = self._wake_at - self.now_ns()
            if wait_ns > 0:
                self._clock_signal.acquire(True, min(wait_ns / 1e9, threading.TIMEOUT_MAX))
            if self.now_ns() >= self._wake_at:
                self._wake_at = _NEVER  # set anew after the step that this wake leads to
                self._enter(TimeElapsed(), None, False)
            if self._inbox:
                self._enter(None, None, False)
        _signal(self._clock_done)
        _signal(self._clock_signal)  # for another one, where a signal handler raised in our start

    # ------------------------------------------------------------ waiting

    def wait(self, watch: Watch, timeout_ns: int | None) -> bool:
        """Block until the watch is done; ``False`` where the time was up before."""
        if interrupts.pending:
            interrupts.raise_pending()
        signal = allocate_lock()
        signal.acquire()
        watch.wake = signal.release
        self._waiting.add(watch)
        if not (watch.done or watch.given_up) and self.refusal is None:
            try:
                if timeout_ns is None:
                    while self._keeps_no_time() and not signal.acquire(True, _TICK_SECONDS):
                        self._enter(TimeElapsed(), None, False)
                    if not watch.done:
                        signal.acquire()
                elif timeout_ns > 0:
                    signal.acquire(True, min(timeout_ns / 1e9, threading.TIMEOUT_MAX))
            finally:
                self._waiting.discard(watch)
        else:
            self._waiting.discard(watch)
        if self.refusal is not None:
            raise self.refusal
        return watch.done

    def _keeps_no_time(self) -> bool:
        """Whether there is a deadline, and no clock thread could be started for it."""
        return self._clock_thread is None and self.engine.core.wake_at_ns != _NEVER

    def sleep(self, job: Job, attempt: int, duration_ns: int) -> None:
        """Let the calling attempt sleep, at most until its token is set."""
        signal = allocate_lock()
        signal.acquire()
        wake = partial(_signal, signal)
        extra: Extra

        def begin() -> bool:
            nonlocal extra
            extra = job.more()  # here, not outside: the deciding thread makes it, too
            if extra.abandoned_through < attempt:
                extra.wakers.append(wake)
                return True
            return False

        def end() -> None:
            if wake in extra.wakers:
                extra.wakers.remove(wake)

        if self.held(begin):
            signal.acquire(True, min(duration_ns / 1e9, threading.TIMEOUT_MAX))
            self.held(end)

    # ------------------------------------------------------------ the end

    def close(self, timeout_ns: int | None) -> list[str]:
        """Let the workers go, and finish what observers are owed."""
        give_up_at = None if timeout_ns is None else self.now_ns() + timeout_ns

        def look() -> tuple[list[str], int]:
            stuck = [self.engine.task_id(n) for n in self.engine.core.abandoned_tasks()]
            return stuck, len(self._threads)

        while True:
            stuck, threads = self.held(look)
            if threads <= len(stuck):
                break
            left = -1.0 if give_up_at is None else max(0.0, (give_up_at - self.now_ns()) / 1e9)
            if not self._exit_signal.acquire(True, left):
                break
        _signal(self._exit_signal)  # others may be closing the pool at the same time
        self._join_relay(give_up_at)
        clock_thread = self._clock_thread
        if clock_thread is not None and clock_thread is not threading.current_thread():
            _signal(self._clock_signal)
            self._clock_done.acquire()  # first: one may not join a thread that is being started
            _signal(self._clock_done)
            clock_thread.join()
        processes.unregister(self)
        return stuck

    def _join_relay(self, give_up_at: int | None) -> None:
        """Wait for the observers: until an instant; without one, while they get on."""
        relay = self._relay
        if relay is None:
            return
        grace_ns = seconds_to_ns(self.engine.config.exit_grace_seconds)
        delivered = -1
        while delivered != relay.delivered:
            delivered = relay.delivered
            left_ns = grace_ns if give_up_at is None else max(0, give_up_at - self.now_ns())
            if relay.join(left_ns / 1e9):
                return
        _log.error(
            "pool %r: an observer or the journal's disk hangs; left behind with what it was not "
            "told yet",
            self.engine.config.name,
        )

    def let_go(self) -> None:
        """Nobody refers to the pool any more: finish what is there, then stop.

        The garbage collector calls this, in any thread and possibly under our own lock; so it
        takes none, nor one of ``threading``'s.
        """
        if self.refusal is None and not self._stopped:
            with suppress(RuntimeError):  # the interpreter exits, and leave() is called
                _thread.start_new_thread(self.decide, (DrainRequested(),))

    def refuse(self, error: Exception) -> None:
        """Take part in nothing more: this is a forked child, whose threads are in the parent."""
        self.refusal = error
        self._lock = processes.Refused(error)  # it may have been taken when we forked

    def leave(self, give_up_at: float) -> None:
        """The interpreter exits: give what runs until an instant, then leave it behind."""
        if self._stopped:
            self._join_relay(self.now_ns() + _until(give_up_at))  # the journal's last lines
            return
        if self.refusal is not None:
            return
        self.decide(DrainRequested())
        engine = self.engine
        watch = self.held(lambda: engine.watch(list(engine.jobs.values()), "ALL_COMPLETED"))
        if not self.wait(watch, _until(give_up_at)):
            names = [job.spec.name for job in watch.jobs if job.end is None]
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            _log.warning(
                "pool %r: the interpreter exits and leaves %d tasks behind: %s",
                self.engine.config.name,
                len(names),
                shown,
            )
            if self._relay is not None:
                self._relay.finish()
                self._join_relay(self.now_ns() + _until(give_up_at) + _LAST_LINES_NS)
            return
        self.close(_until(give_up_at))


def _until(instant: float) -> int:
    """The nanoseconds from now to an instant of ``time.monotonic``, 0 where it has passed."""
    return max(0, round((instant - time.monotonic()) * 1e9))


def _decide_nothing(now_ns: int, stimulus: Stimulus) -> list[Instruction]:
    """Stands in for a core that cannot be trusted any more."""
    return []


def _nothing() -> None:
    """Stands in for the function of a task that was cancelled on its way to a worker."""


_EMPTY: Final = Context()


def _signal(lock: LockType) -> None:
    """Release a lock that serves as a signal; it may be released already."""
    with suppress(RuntimeError):
        lock.release()
