"""The other places where the thread host's threads meet, in the orders that DPOR comes to.

Each with the true code, and with a bug that only an unlucky order of bytecodes shows
(docs/decisions/0014). The way to the core itself is in ``test_interleavings``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime import threads
from runtime.core.records import AttemptSucceeded, CancelRequested
from tests.threads.meetings import (
    HostClass,
    Meeting,
    NoThread,
    Signal,
    meet,
    mutated,
    nobody_blocks,
)

TRUE: HostClass = threads.ThreadHost


@pytest.fixture(autouse=True)
def _nobody_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with nobody_blocks(monkeypatch):
        yield


def lost() -> bool:
    """Whether somebody would wait for a signal that is owed and never comes."""
    return any(signal.waited and signal.owed and not signal.there for signal in Signal.all)


# ---------------------------------------------------------------- one sleeps, one abandons


class Sleeper(Meeting):
    """An attempt that begins to sleep while its task is cancelled."""

    def __init__(self, kind: HostClass) -> None:
        super().__init__(kind, tasks=1)
        Signal.asked = self.abandoned  # who goes to sleep before that may sleep its time out

    def abandoned(self) -> bool:
        extra = self.engine.jobs[1].extra
        return extra is not None and extra.abandoned_through >= 1

    def sleep(self) -> None:
        self.host.sleep(self.engine.jobs[1], 1, 1_000_000_000)

    def cancel(self) -> None:
        self.host.decide(CancelRequested(1))


def sleeps_and_abandons(kind: HostClass, executions: int) -> Any:
    def well(met: Sleeper) -> bool:
        extra = met.engine.jobs[1].extra
        assert extra is not None
        return met.abandoned() and not extra.wakers and not lost() and met.lock_is_free()

    return meet(
        lambda: Sleeper(kind), [lambda met: met.sleep(), lambda met: met.cancel()], well, executions
    )


# ---------------------------------------------------------------- one waits, one finishes


class Waiter(Meeting):
    """Somebody waits for a task that ends."""

    def __init__(self, kind: HostClass) -> None:
        super().__init__(kind, tasks=1)
        self.watch = self.engine.watch(list(self.engine.jobs.values()), "ALL_COMPLETED")

    def wait(self) -> None:
        self.host.wait(self.watch, 1_000_000_000)

    def finish(self) -> None:
        self.host.deliver(AttemptSucceeded(1, 1, 0, 0, 0), 1)


def waits_and_finishes(kind: HostClass, executions: int) -> Any:
    return meet(
        lambda: Waiter(kind),
        [lambda met: met.wait(), lambda met: met.finish()],
        lambda met: met.watch.done and not lost() and met.lock_is_free(),
        executions,
    )


# ---------------------------------------------------------------- two need the clock thread


def two_need_the_clock(kind: HostClass, executions: int) -> Any:
    """One within the core's lock, one that has just let go of it."""

    def within(met: Meeting) -> None:
        met.host.held(met.host._need_clock_thread)

    return meet(
        lambda: Meeting(kind),
        [within, lambda met: met.host._need_clock_thread()],
        lambda met: len(NoThread.made) == 1 and met.lock_is_free(),
        executions,
    )


# ---------------------------------------------------------------- the last leaves, one closes


class Closer(Meeting):
    """A pool that has been drained: its one worker leaves while somebody closes it."""

    def __init__(self, kind: HostClass) -> None:
        super().__init__(kind)
        self.host._threads[1] = NoThread()
        self.host._queue.put(None)  # what _stop_workers gave it
        self.happened: list[str] = []
        self.host._exit_signal = signal = ExitSignal()
        signal.acquire()
        signal.happened = self.happened

    def leave(self) -> None:
        self.host._work(1, None)

    def close(self) -> None:
        self.host.close(None)

    def never_told(self) -> bool:
        """Whether it waited for a worker to leave, and none said so after that."""
        happened = self.happened
        return "waits" in happened and "left" not in happened[happened.index("waits") :]


class ExitSignal(Signal):
    """Tells a worker that says that it leaves from a closer that passes the word on."""

    happened: list[str]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken = super().acquire(blocking, timeout)
        if blocking and not taken and hasattr(self, "happened"):
            self.happened.append("waits")
        return taken

    def release(self) -> None:
        by = sys._getframe(2).f_code.co_name
        self.happened.append("left" if by == "_work" else by)
        super().release()


def leaves_and_closes(kind: HostClass, executions: int) -> Any:
    return meet(
        lambda: Closer(kind),
        [lambda met: met.leave(), lambda met: met.close()],
        lambda met: not met.host._threads and not met.never_told() and met.lock_is_free(),
        executions,
    )


# ---------------------------------------------------------------- the clock thread, and a deadline


class Timed(Meeting):
    """The clock thread is about to tell of a deadline while one comes that is nearer."""

    def __init__(self, kind: HostClass) -> None:
        class OneRound(kind):  # type: ignore[misc,valid-type]
            """Its clock thread goes once around."""

            rounds = 1

            @property
            def _stopped(self) -> bool:
                self.rounds -= 1
                return self.rounds < 0

            @_stopped.setter
            def _stopped(self, stopped: bool) -> None:
                """It is never stopped."""

        super().__init__(OneRound, tasks=1, task_timeout_seconds=1_000, max_workers=4)
        self.host._clock_thread = NoThread()
        self.host._wake_at = 0  # a deadline that has passed
        self.host.rounds = 1

    def nearer(self) -> None:
        self.submit(2, timeout_ns=100_000_000_000)


def tells_and_comes_nearer(kind: HostClass, executions: int) -> Any:
    return meet(
        lambda: Timed(kind),
        [lambda met: met.host._keep_time(), lambda met: met.nearer()],
        lambda met: met.host._wake_at <= met.engine.core.wake_at_ns and met.lock_is_free(),
        executions,
    )


# ---------------------------------------------------------------- a thread too few or too many


class Counted(Meeting):
    """An abandoned attempt comes home while a task is handed in."""

    def __init__(self, kind: HostClass) -> None:
        super().__init__(kind, tasks=1, max_workers=1)
        self.host.decide(CancelRequested(1))  # its thread runs on, and another takes its place
        self.submit(2)

    def come_home(self) -> None:
        self.host._enter(AttemptSucceeded(1, 1, 0, 0, 0), 1, True)

    def go_on(self) -> None:
        self.host._enter(AttemptSucceeded(2, 1, 0, 0, 0), 1, True)
        self.submit(3)


def comes_home_and_goes_on(kind: HostClass, executions: int) -> Any:
    def well(met: Counted) -> bool:
        queue = met.host._queue
        left = [queue.get_nowait() for _ in range(queue.qsize())]
        threads_left = len(NoThread.made) - left.count(None)
        return (
            threads_left == met.host._alive == 1  # one worker, and nobody abandoned
            and [item[0].spec.task for item in left if item is not None] in ([], [3])
            and met.lock_is_free()
        )

    return meet(
        lambda: Counted(kind),
        [lambda met: met.come_home(), lambda met: met.go_on()],
        well,
        executions,
    )


Meet = Callable[[HostClass, int], Any]

MEETINGS: dict[str, Meet] = {
    "one sleeps, one abandons": sleeps_and_abandons,
    "one waits, one finishes": waits_and_finishes,
    "two need the clock thread": two_need_the_clock,
    "the last worker leaves, one closes": leaves_and_closes,
    "the clock tells, a deadline comes nearer": tells_and_comes_nearer,
    "one comes home, one goes on": comes_home_and_goes_on,
}

#: What is done, the method, what stands there, and what is there instead.
PLANTED: dict[str, tuple[Meet, str, str, str]] = {
    "who sleeps does not look whether it was abandoned": (
        sleeps_and_abandons, "sleep", "if extra.abandoned_through < attempt:", "if True:",
    ),
    "who sleeps says so without the core's lock": (
        sleeps_and_abandons, "sleep", "if self.held(begin):", "if begin():",
    ),
    "who waits looks before it can be woken": (
        waits_and_finishes, "wait",
        "    watch.wake = signal.release\n    self._waiting.add(watch)\n    if not (watch.done or",
        "    over = watch.done\n    watch.wake = signal.release\n    if not (over or",
    ),
    "each who sees no clock thread starts one": (
        two_need_the_clock, "_need_clock_thread", " and self._clock_start.acquire(False)", "",
    ),
    "a worker says that it has left before it has": (
        leaves_and_closes, "_work",
        "    self.held(partial(self._threads.pop, me, None))\n    _signal(self._exit_signal)",
        "    _signal(self._exit_signal)\n    self.held(partial(self._threads.pop, me, None))",
    ),
    "the clock forgets its deadline after it told of it": (
        tells_and_comes_nearer, "_keep_time",
        "self._enter(TimeElapsed(), None, False)",
        "self._enter(TimeElapsed(), None, False); self._wake_at = _NEVER",
    ),
    "a thread is started although there is one": (
        comes_home_and_goes_on, "_hand_out", "outstanding > self", "outstanding >= self",
    ),
}  # fmt: skip


@pytest.mark.parametrize("meeting", MEETINGS)
def test_all_is_well_however_they_meet(meeting: str) -> None:
    found = MEETINGS[meeting](TRUE, 30)
    assert found.property_holds, found.explanation


@pytest.mark.parametrize("bug", PLANTED)
def test_the_search_sees_a_planted_bug(bug: str) -> None:
    search, method, old, new = PLANTED[bug]
    found = search(mutated(method, old, new), 300)
    assert found.property_holds is False, found.inconclusive_reason
