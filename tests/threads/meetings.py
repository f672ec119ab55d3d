"""Where threads of the thread host meet, set up for frontrun: no thread runs, no lock blocks.

A signal that a thread would wait for (``runtime.threads.allocate_lock``) is a stand-in that says
whether it was there, and notes who would still be waiting. Such a thread goes on as if its time
were up. A wake-up is lost where somebody would wait, is owed one, and was given none in the end.
"""

from __future__ import annotations

import _thread
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import frontrun
import pytest
from frontrun._cooperative import CooperativeRLock

from runtime import WorkerPoolConfig, processes, threads
from runtime.core.records import TaskSubmitted
from runtime.engine import Engine, Job

HostClass = type[threads.ThreadHost]


class Signal:
    """Stands in for a lock that is a one-shot signal: it never blocks."""

    all: list[Signal] = []  # noqa: RUF012  # emptied for each execution
    asked: Callable[[], bool] | None = None

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()  # taking and letting go are one step each
        self.uses = 0  # frontrun sees attributes, and so that these two meet here
        self.waited = False  # somebody would wait for it, or does
        self.owed = True  # and is to be woken, as it was then
        self.all.append(self)

    @property
    def there(self) -> bool:
        return not self._lock.locked()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.uses += 1
        taken = self._lock.acquire(False)
        if blocking and not taken:
            self.waited = True
            if self.asked is not None:
                self.owed = self.asked()
        return taken

    def release(self) -> None:
        self.uses += 1
        self._lock.release()


class CoreLock(CooperativeRLock):
    """Stands in for the core's lock: who waits for it lets the others run."""

    def _is_owned(self) -> bool:
        return bool(self._owner == _thread.get_ident())


class NoThread:
    """Stands in for ``threading.Thread``: it is counted, and never runs."""

    made: list[NoThread] = []  # noqa: RUF012  # emptied for each execution

    def __init__(self, **given: Any) -> None:
        self.name = given.get("name", "")
        self.ident: int | None = None

    def start(self) -> None:
        self.ident = 1
        self.made.append(self)

    def join(self, timeout: float | None = None) -> None:
        """It has ended."""


class Meeting:
    """A host that nobody else uses, with tasks handed in beforehand.

    Args:
        kind: the class of the host, the true one or one with a bug.
        tasks: how many are handed in.
        fields: of the configuration.
    """

    def __init__(self, kind: HostClass, tasks: int = 0, **fields: Any) -> None:
        Signal.all.clear()
        Signal.asked = None
        NoThread.made.clear()
        own = {"max_workers": 2, "task_timeout_seconds": None, **fields}
        self.engine = Engine(WorkerPoolConfig(**own), "pool-0.", "0.")
        self.host: Any = kind(self.engine)
        processes.unregister(self.host)  # its tasks never run, and nobody is to wait for them
        for number in range(1, tasks + 1):
            self.submit(number)

    def submit(self, number: int, **own: Any) -> None:
        spec = TaskSubmitted(number, f"t{number}", **own)
        self.engine.jobs[number] = Job(spec, abs, (-1,), None, None)
        self.host.deliver(spec, None)

    def lock_is_free(self) -> bool:
        free = self.host._lock.acquire(False)
        if free:
            self.host._lock.release()
        return bool(free) and not self.host._inbox and not self.host._busy


class _Threading:
    """``runtime.threads.threading``, with threads that do not run."""

    Thread = NoThread
    TIMEOUT_MAX = 1e6

    @staticmethod
    def current_thread() -> None:
        """Nobody's."""


@contextmanager
def nobody_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the host signals that do not block, and threads that do not run."""
    with monkeypatch.context() as patched:
        patched.setenv("FRONTRUN_ACTIVE", "1")  # no lock here need be patched
        patched.setattr(threads, "allocate_lock", Signal)
        patched.setattr(threads, "RLock", CoreLock)
        patched.setattr(threads, "threading", _Threading)
        yield


def mutated(method: str, old: str, new: str) -> HostClass:
    """The host with a bug in one method."""
    function = inspect.unwrap(getattr(threads.ThreadHost, method))
    source = textwrap.dedent(inspect.getsource(function))
    source = "\n".join(line for line in source.splitlines() if not line.startswith("@"))
    assert source.count(old) == 1, "the planted bug has lost its place"
    scope: dict[str, Any] = vars(threads).copy()
    exec(compile(source.replace(old, new), threads.__file__, "exec"), vars(threads), scope)
    return type("Planted", (threads.ThreadHost,), {method: scope[method]})


def meet(
    setup: Callable[[], Any],
    workers: list[Callable[[Any], Any]],
    invariant: Callable[[Any], bool],
    executions: int,
) -> Any:
    """Let two threads meet in as many orders of bytecodes, half with the one ahead at first.

    DPOR does not turn around who takes a lock first: it sees all that follows as ordered by it.
    """
    found = None
    for order in (workers, workers[::-1]):
        found = frontrun.explore(
            setup=setup,
            workers=order,
            invariant=invariant,
            strategy="dpor",
            trace_packages=["runtime.*"],
            detect_io=False,
            max_executions=executions // 2,
            reproduce_on_failure=0,
            timeout_per_run=60.0,  # on a busy machine, too
        )
        if not found.property_holds:
            break
    return found
