"""What happens in a pool, told to those who watch, off the hot path.

A deciding thread only appends facts to a deque. One thread, started with the first fact, takes them
off in batches, about 50 times a second, and hands them to the journal and to each observer. In
virtual time there is no such thread: the host calls ``flush`` itself.

Observers observe; they never decide. One that raises is logged once, counted and detached. Where
facts come faster than observers take them, and more than ``_BACKLOG`` wait, each further decision
takes a millisecond longer: the pool slows down rather than eat the memory. (It cannot deliver them
itself: an observer may ask the pool something, and would wait for the very decision it is told of.)
"""

from __future__ import annotations

import logging
import threading
import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar, runtime_checkable

from runtime import interrupts
from runtime.core.records import Instruction, Stimulus, Transition

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.view import PoolView

__all__ = [
    "ContextObserver",
    "Deliver",
    "Detail",
    "InContext",
    "Observer",
    "Relay",
    "Step",
    "StepSink",
]

_log = logging.getLogger("twinclock")

_TICK_SECONDS: Final = 0.02
_BACKLOG: Final = 100_000
_BRAKE_SECONDS: Final = 0.001
#: Transitions that an observer is told in one call, at most.
_AT_ONCE: Final = 1000

_T = TypeVar("_T")

#: Hands in a stimulus with its payload.
Deliver = Callable[[Stimulus, Any], None]

#: One step of the core: the instant, what went in, what came out.
Step = tuple[int, Stimulus, list[Instruction]]

#: Which transitions an observer needs: none at present; all but submissions, starts and successes;
#: or all.
Detail = Literal["none", "notable", "all"]
_DETAILS: Final[tuple[Detail, ...]] = ("none", "notable", "all")


class Observer(Protocol):
    """Is told what changed, in order, each transition once.

    The CPU time of each attempt is measured for an observer, unless it has an attribute
    ``needs_cpu_time`` that is false: that costs 1 us an attempt.
    """

    def attach(self, view: PoolView) -> None:
        """Get to know the pool; called once, before anything else."""

    def detail(self) -> Detail:
        """Which transitions it needs at present, besides those of the tasks that it has marked
        (``PoolView.mark``); asked again now and then.
        """

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Take what changed. It may also get transitions that it did not ask for."""

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Take the exception of an abandoned attempt."""

    def close(self) -> None:
        """Nothing more will come."""


@runtime_checkable
class ContextObserver(Protocol):
    """An observer that also has to be where users' code is: in the submitter's context, and in the
    attempt's. What it raises there is logged once, and it is asked no more.
    """

    def submitted(self, number: int) -> None:
        """A task is being handed in, by the calling thread in its present context. The task has a
        copy of that already (``PoolView.call_in``).
        """

    def begin(self, number: int, attempt: int) -> None:
        """An attempt's function is about to run, in this thread and this context, the attempt's
        own copy of the task's.
        """


class InContext:
    """Calls the observers that have to be where users' code is.

    Args:
        observers: which.
    """

    def __init__(self, observers: Sequence[ContextObserver]) -> None:
        self._observers = tuple(observers)

    def submitting(self, deliver: Deliver) -> Deliver:
        """How a task is handed in: its observers are told first, in its submitter's context.

        Args:
            deliver: hands it to the host.

        Returns:
            What does both.
        """

        @interrupts.shielded
        def tell_and_deliver(stimulus: Any, payload: Any) -> None:
            for observer in self._observers:
                try:
                    observer.submitted(stimulus.task)
                except Exception:
                    self._leave_out(observer)
            deliver(stimulus, payload)

        return tell_and_deliver

    def begin(self, number: int, attempt: int) -> None:
        """See ``ContextObserver``."""
        for observer in self._observers:
            try:
                observer.begin(number, attempt)
            except Exception:
                self._leave_out(observer)

    def _leave_out(self, observer: ContextObserver) -> None:
        self._observers = tuple(other for other in self._observers if other is not observer)
        _log.exception("observer %r raised in a task's context and is asked no more", observer)


def check_observer(observer: object) -> None:
    """Raise unless something can be told of transitions.

    Args:
        observer: what was given.

    Raises:
        TypeError: a method is missing.
    """
    missing = [
        name
        for name in ("attach", "detail", "transitions", "late_exception", "close")
        if not callable(getattr(observer, name, None))
    ]
    if missing:
        raise TypeError(f"observers: {observer!r} is no Observer: it has no {', '.join(missing)}")


class StepSink(Protocol):
    """Is told what went into the core and what came out: the journal. It must not raise."""

    def write(self, steps: Sequence[Step]) -> None:
        """Take some steps, in order."""

    def close(self) -> None:
        """Nothing more will come."""


class Relay:
    """Carries facts from the deciding threads to those who watch.

    Args:
        engine: whose facts; its core is told which transitions to keep.
        observers: who is told of transitions.
        sinks: who is told of steps: the journal, a digest.
        threaded: whether a thread of its own delivers; otherwise ``flush`` does.

    Attributes:
        observer_errors: observers that raised.
        delivered: batches delivered so far.
    """

    def __init__(
        self,
        engine: Engine,
        observers: Sequence[Observer],
        sinks: Sequence[StepSink],
        *,
        threaded: bool,
    ) -> None:
        self._engine = engine
        self._observers = list(observers)
        self._detached: list[Observer] = []  # those that raised; they are closed with the others
        self._sinks = list(sinks)
        self._threaded = threaded
        # in a thread of ours nobody but us would hear of a SystemExit
        self._caught: type[BaseException] = BaseException if threaded else Exception
        self._steps: deque[Step] = deque()
        self._transitions: deque[Transition] = deque()
        self._late: deque[tuple[str, int, BaseException]] = deque()
        self._flushing = allocate_lock()  # guards the observers and the journal
        self._deliverer: int | None = None  # the thread that has it
        self.delivered = 0
        self._thread: threading.Thread | None = None
        self._idle = threaded  # and its thread is started by the first fact
        self._signal = allocate_lock()
        self._signal.acquire()
        self._finishing = False
        self._over = False  # the last decision that anybody is told of has been made
        self._closed = False
        self._held: Callable[[Callable[[], object]], object] = lambda look: look()
        self._done = allocate_lock()  # released when everything is delivered and closed
        self._done.acquire()
        self.observer_errors = 0
        engine.feed = self

    def attach(self, view: PoolView) -> None:
        """Let every observer get to know the pool; from then on they are told."""
        self._held = view.held
        for observer in list(self._observers):
            try:
                observer.attach(view)
            except self._caught:
                self._detach(observer)
                self._detached.remove(observer)  # it knows nothing that it could close
        self._ask_detail()

    def attached(self) -> list[Observer]:
        """Those who are told."""
        return list(self._observers)

    # ------------------------------------------------------------ the deciding thread's side

    def step(self, now_ns: int, stimulus: Stimulus, instructions: list[Instruction]) -> None:
        """Take what went into the core and what came out."""
        self._steps.append((now_ns, stimulus, instructions))
        if self._idle or len(self._steps) > _BACKLOG:
            self._wake()

    def transitions(self, batch: list[Transition]) -> None:
        """Take what changed."""
        self._transitions.extend(batch)
        if self._idle or len(self._transitions) > _BACKLOG:
            self._wake()

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Take the exception of an abandoned attempt."""
        self._late.append((task_id, attempt, error))
        if self._idle:
            self._wake()

    def _wake(self) -> None:
        if not self._threaded:
            return
        if self._thread is None:
            thread = threading.Thread(
                target=self._run,
                name=f"{self._engine.config.name}-observers",
                daemon=True,
            )
            self._idle = False
            try:
                thread.start()
            except RuntimeError:  # the system is out of threads: the next fact tries again
                self._idle = True
            else:
                self._thread = thread
        elif self._idle:
            self._idle = False
            with suppress(RuntimeError):
                self._signal.release()
        else:
            time.sleep(_BRAKE_SECONDS)

    # ------------------------------------------------------------ the delivering side

    def _run(self) -> None:
        signal = self._signal
        while not self._finishing:
            signal.acquire(True, _TICK_SECONDS)  # let a batch gather
            if self.flush() or self._finishing:
                continue
            self._idle = True
            if not (self._steps or self._transitions or self._late or self._finishing):
                signal.acquire()
            self._idle = False
        self._close()
        with suppress(RuntimeError):
            signal.release()  # for another one, where a signal handler raised in our start

    def flush(self) -> bool:
        """Deliver what is there.

        Returns:
            Whether there was anything; ``False``, too, for an observer that asks while it is told.
        """
        if self._deliverer == threading.get_ident():
            return False
        with self._delivering():
            steps = _take(self._steps)
            transitions = _take(self._transitions)
            late = _take(self._late)
            if steps:
                for sink in self._sinks:
                    sink.write(steps)
            # some at a time, each a sign of life to whoever waits for the rest (``delivered``)
            for begin in range(0, len(transitions), _AT_ONCE):
                some = transitions[begin : begin + _AT_ONCE]
                for observer in list(self._observers):
                    try:
                        observer.transitions(some)
                    except self._caught:
                        self._detach(observer)
                self.delivered += 1
            for observer in list(self._observers) if late else ():
                try:
                    for task_id, attempt, error in late:
                        observer.late_exception(task_id, attempt, error)
                except self._caught:
                    self._detach(observer)
            self._ask_detail()
            self.delivered += 1
            return bool(steps or transitions or late)

    @contextmanager
    def _delivering(self) -> Iterator[None]:
        with self._flushing:
            self._deliverer = threading.get_ident()
            try:
                yield
            finally:
                self._deliverer = None

    def finish(self) -> None:
        """Nothing more will come: deliver the rest and close, in the delivering thread."""
        self._finishing = True
        if self._thread is not None:
            with suppress(RuntimeError):
                self._signal.release()
        elif not self._threaded:
            self._close()

    def join(self, seconds: float) -> bool:
        """Wait until everything is delivered and closed; ``finish`` was called before.

        Args:
            seconds: how long to wait at most.

        Returns:
            Whether it is.
        """
        thread = self._thread
        if thread is None:
            self._close()
        elif thread is not threading.current_thread():
            # not Thread.join, which takes a thread for stopped when it is interrupted
            if not self._done.acquire(True, min(seconds, threading.TIMEOUT_MAX)):
                return False
            self._done.release()  # for the next who joins
        return True

    def _hang_up(self) -> None:
        self._over = True
        self._engine.hang_up()

    def _close(self) -> None:
        try:
            self._held(self._hang_up)  # the journal and the counts end with the same decision
        except Exception:  # nobody can be held off any more: this is a forked child, or the like
            self._hang_up()
        while self.flush():
            pass
        with self._delivering():
            if self._closed:
                return
            self._closed = True
            for sink in self._sinks:
                sink.close()
            for observer in list(self._observers):
                try:
                    observer.close()
                except self._caught:
                    self._detach(observer)
            for observer in self._detached:
                with suppress(self._caught):  # it has been told of once
                    observer.close()
            self._observers = []
            self._detached = []
            self._sinks = []
            self._done.release()

    def _detach(self, observer: Observer) -> None:
        self.observer_errors += 1
        self._observers.remove(observer)
        self._detached.append(observer)
        _log.exception("observer %r raised and is told nothing more", observer)

    def _ask_detail(self) -> None:
        if self._over:
            return
        detail: Detail = "none"
        for observer in list(self._observers):
            try:
                detail = max(detail, observer.detail(), key=_DETAILS.index)
            except self._caught:
                self._detach(observer)
        self._engine.core.record(detail)
        self._engine.tap_into(self if self._sinks else None)


def _take(queue: deque[_T]) -> list[_T]:
    return [queue.popleft() for _ in range(len(queue))]
