"""The thread host's way to the core, in the orders of bytecodes that frontrun's DPOR comes to.

Two threads hand in stimuli at once. Whoever holds the core must take the other's along, however
they are interleaved: nothing may be left behind in the inbox, nothing decided twice, the lock free
in the end. Planted bugs show that the search would see it (docs/decisions/0015).
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import frontrun
import pytest

from runtime import WorkerPoolConfig, processes, threads
from runtime.core.records import TaskSubmitted
from runtime.engine import Engine, Job


class Meeting:
    """Two threads that hand a task each to one host, which starts no thread of its own."""

    def __init__(self, make_enter: Callable[[Any], Any]) -> None:
        handed_out: list[int] = []
        called: list[str] = []

        class Host(threads.ThreadHost):
            def _make_enter(self) -> Any:
                return make_enter(self)

            def _hand_out(self, job: Job, attempt: int, now: int) -> None:
                handed_out.append(job.spec.task)

            def _need_clock_thread(self) -> None:
                called.append("clock")

        self.handed_out = handed_out
        config = WorkerPoolConfig(max_workers=2, task_timeout_seconds=None)
        self.engine = Engine(config, "pool-0.", "0.")
        self.host = Host(self.engine)
        processes.unregister(self.host)  # its tasks never run, and nobody is to wait for them

    def submit(self, number: int) -> None:
        spec = TaskSubmitted(number, f"t{number}")
        self.engine.jobs[number] = Job(spec, abs, (-1,), None, None)  # type: ignore[arg-type]
        self.host.deliver(spec, None)

    def all_is_well(self) -> bool:
        host = self.host
        free = host._lock.acquire(False)
        if free:
            host._lock.release()
        return (
            free
            and not host._inbox
            and not host._busy
            and sorted(self.handed_out) == [1, 2]
            and sorted(self.engine.core.running()) == [1, 2]
        )


def mutated(old: str, new: str) -> Callable[[Any], Any]:
    """The way to the core with a bug in it."""
    source = textwrap.dedent(inspect.getsource(threads.ThreadHost._make_enter))
    assert source.count(old) == 1, "the planted bug has lost its place"
    scope: dict[str, Any] = vars(threads).copy()
    exec(compile(source.replace(old, new), threads.__file__, "exec"), scope)
    made: Callable[[Any], Any] = scope["_make_enter"]
    return made


def meet(make_enter: Callable[[Any], Any], executions: int) -> Any:
    return frontrun.explore(
        setup=lambda: Meeting(make_enter),
        workers=[lambda meeting: meeting.submit(1), lambda meeting: meeting.submit(2)],
        invariant=lambda meeting: meeting.all_is_well(),
        strategy="dpor",
        trace_packages=["runtime.*"],
        detect_io=False,
        max_executions=executions,
        reproduce_on_failure=0,
    )


PLANTED = {
    "who lets go does not look again": (
        "if not inbox:\n                    return mine\n                if taken",
        "if True:\n                    return mine\n                if taken",
    ),
    "who is turned away does not try again": (
        "if not acquire(False):\n                    return None  # whoever",
        "if True:\n                    return None  # whoever",
    ),
}


@pytest.fixture(autouse=True)
def _active(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here waits for a lock, so frontrun need not patch any; it wants that said."""
    monkeypatch.setenv("FRONTRUN_ACTIVE", "1")


def test_nothing_is_left_behind_however_two_threads_meet() -> None:
    found = meet(threads.ThreadHost._make_enter, 60)
    assert found.property_holds, found.explanation
    assert found.num_explored == 60


@pytest.mark.parametrize("bug", PLANTED)
def test_the_search_sees_a_planted_bug(bug: str) -> None:
    found = meet(mutated(*PLANTED[bug]), 100)
    assert not found.property_holds
