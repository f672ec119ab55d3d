"""Bugs in users' own code, each of which one fault shows, and the kin of that fault that do, too.

A scenario asserts only what its bug breaks, so that whatever else strikes leaves it alone.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from runtime import TaskFailedError, WaitTimeoutError, WorkerPoolConfig
from runtime.core.states import Cause
from simulation import Modelled, World
from simulation.pool import SimulatedWorkerPool

Scenario = Callable[[World], None]

#: The scenario of each fault, and the other faults that show its bug as well.
BUGS: Final[dict[str, tuple[Scenario, tuple[str, ...]]]] = {}


def of(fault: str, *kin: str) -> Callable[[Scenario], Scenario]:
    def note(scenario: Scenario) -> Scenario:
        BUGS[fault] = scenario, kin
        return scenario

    return note


def make(world: World, **fields: Any) -> SimulatedWorkerPool:
    own = {"max_workers": 2, "max_retries": 1, "task_timeout_seconds": None, **fields}
    return world.pool(WorkerPoolConfig(**own))


def at(pool: SimulatedWorkerPool, cause: Cause) -> list[float]:
    return [t.at_ns / 1e9 for t in pool.transitions if t.cause == cause]


@of("order")
def the_first_to_be_submitted_is_the_first_to_begin(world: World) -> None:
    begun: list[tuple[float, int]] = []
    with make(world) as pool:
        for n in range(2):
            pool.submit_task("t", lambda n=n: begun.append((pool.now, n)))
        pool.wait_for_all()
    assert begun != [(0.0, 1), (0.0, 0)], "the second began first"


@of("late")
def two_sleeps_of_one_length_end_together(world: World) -> None:
    took = []

    def nap() -> None:
        before = time.monotonic_ns()
        time.sleep(1)
        took.append(time.monotonic_ns() - before - 1_000_000_000)

    with make(world) as pool:
        pool.submit_task("t", nap)
        pool.wait_for_all()
    assert not any(0 < more < 1_000 for more in took), "a nanosecond late"


@of("slow")
def a_sleep_takes_as_long_as_it_says(world: World) -> None:
    took = []

    def nap() -> None:
        before = time.monotonic()
        time.sleep(64)
        took.append(time.monotonic() - before)

    with make(world) as pool:
        pool.submit_task("t", nap)
        pool.wait_for_all()
    assert 128.0 not in took, "twice as long"


@of("slow_start")
def a_task_begins_when_it_is_submitted(world: World) -> None:
    begun: list[float] = []
    with make(world, max_retries=0) as pool:
        pool.submit_task("t", lambda: begun.append(pool.now))
        pool.wait_for_all()
    assert begun != [1.0], "its worker began late"


def _timed_out_or_not(world: World) -> SimulatedWorkerPool:
    with make(world, task_timeout_seconds=7.25, max_retries=0) as pool:
        pool.submit_task("t", time.sleep, (0.5,))
        pool.wait_for_all()
        pool.advance(1)
    return pool


@of("at_timeout")
def what_is_done_by_its_deadline_was_done_before(world: World) -> None:
    pool = _timed_out_or_not(world)
    assert at(pool, Cause.SUCCEEDED) != [7.25], "it succeeded in the instant of its timeout"


@of("after_timeout")
def what_is_timed_out_has_done_nothing(world: World) -> None:
    pool = _timed_out_or_not(world)
    assert at(pool, Cause.LATE_COMPLETION) != [7.250000001], "it was done, a nanosecond too late"


@of("hang")
def nobody_waits_for_long(world: World) -> None:
    with make(world, max_workers=1) as pool:
        tasks = [pool.submit_task("t", time.sleep, (1,)) for _ in range(2)]
        try:
            pool.get_task_result(tasks[1], timeout=1_000)
        except WaitTimeoutError:
            raise AssertionError("nothing comes") from None


@of("die")
def what_fails_has_been_called(world: World) -> None:
    called: list[int] = []
    with make(world, max_retries=0) as pool:
        result = pool.get_task_result(pool.submit_task("t", called.append, (1,)))
    assert called or not isinstance(result.error, TaskFailedError), "it failed and was not called"


@of("fail", "die", "burst", "retry_after")
def a_card_is_charged_once(world: World) -> None:
    charged: list[int] = []
    with make(world) as pool:
        pool.submit_task("t", charged.append, (1,))
        pool.wait_for_all()
    assert len(charged) < 2, "charged twice: the answer was lost, and the task is not idempotent"


@of("base_exception")
def what_cannot_be_done_is_undone(world: World) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def book() -> None:
        begun.append(1)
        try:
            time.sleep(1)
        except Exception:
            ended.append(1)  # undone
            raise
        ended.append(1)

    with make(world) as pool:
        pool.submit_task("t", book)
        pool.wait_for_all()
    assert begun == ended, "neither done nor undone"


@of("retry_after")
def a_retry_comes_within_seconds(world: World) -> None:
    with make(world, backoff_base_seconds=1) as pool:
        pool.submit_task("t", int)
        pool.wait_for_all()
    assert at(pool, Cause.BACKOFF_ELAPSED) != [7.0], "it took seven seconds"


@of("instant", "hang")
def a_call_takes_its_time(world: World) -> None:
    with make(world) as pool:
        task = pool.submit_task("t", Modelled(duration=5, value="there"))
        result = pool.get_task_result(task)
    assert not result.success or at(pool, Cause.SUCCEEDED) != [0.0], "it took no time"


@of("late_timer")
def a_timeout_is_told_when_it_is_over(world: World) -> None:
    with make(world, task_timeout_seconds=5, max_retries=0) as pool:
        pool.submit_task("t", time.sleep, (99,))
        pool.wait_for_all()
    assert at(pool, Cause.TIMED_OUT_FINALLY) != [5.000000001], "a nanosecond later"


@of("lost_timer")
def a_timeout_is_told_whatever_else_happens(world: World) -> None:
    with make(world, max_retries=0) as pool:
        pool.submit_task("t", time.sleep, (99,), timeout=5)
        pool.submit_task("u", time.sleep, (9.5,))
        pool.wait_for_all()
    assert at(pool, Cause.TIMED_OUT_FINALLY) != [9.5], "told with the other task's end"


def _two_that_run_and_two_that_wait(world: World) -> list[str]:
    with make(world) as pool:
        for _ in range(4):
            pool.submit_task("t", time.sleep, (1,))
        results = pool.wait_for_all()
    return [result.error.reason for result in results if result.error is not None]


@of("abort")
def nobody_aborts(world: World) -> None:
    assert "aborted" not in _two_that_run_and_two_that_wait(world), "somebody aborted"


@of("cancel")
def nobody_cancels(world: World) -> None:
    assert "cancelled" not in _two_that_run_and_two_that_wait(world), "somebody cancelled"


@of("drain")
def a_task_may_submit_more(world: World) -> None:
    more: list[str] = []

    def first() -> None:
        time.sleep(1)
        more.append(pool.submit_task("more", int))

    with make(world) as pool:
        pool.submit_task("first", first)
        pool.submit_task("other", time.sleep, (0.5,))
        pool.wait_for_all()
        errors = [pool.get_task_result(task).error for task in more]
    refused = [error for error in errors if error and error.reason == "submitted while draining"]
    assert not refused, "somebody drained"


@of("resize", "hang")
def two_run_at_any_moment(world: World) -> None:
    with make(world, max_retries=0) as pool:
        for _ in range(6):
            pool.submit_task("t", time.sleep, (1,))
        pool.wait_for_all()
    assert at(pool, Cause.STARTED) != [0.0, 0.0, 1.0, 2.0, 3.0, 4.0], "one after the other"


@of("pause")
def a_lease_is_renewed_in_time(world: World) -> None:
    renewed: list[float] = []

    def beat() -> None:
        for _ in range(4):
            renewed.append(time.monotonic())
            time.sleep(0.5)

    with make(world, max_retries=0) as pool:
        pool.submit_task("beat", beat)
        pool.submit_task("other", time.sleep, (1.25,))
        pool.wait_for_all()
    gaps = [b - a for a, b in itertools.pairwise(renewed)]
    assert not any(gap >= 1.75 for gap in gaps), "the lease was lost"


@of("burst", "fail", "die", "retry_after")
def three_failures_in_a_row_are_an_outage(world: World) -> None:
    with make(world, max_workers=1) as pool:
        for _ in range(5):
            pool.submit_task("t", int)
        pool.wait_for_all()
    ends = [
        t.cause == Cause.FAILED_RETRYABLE
        for t in pool.transitions
        if t.cause in {Cause.SUCCEEDED, Cause.FAILED_RETRYABLE, Cause.FAILED_FINALLY}
    ]
    assert (True, True, True) not in zip(ends, ends[1:], ends[2:], strict=False), "an outage"


@of("late_lock")
def what_was_seen_is_still_so(world: World) -> None:
    lock = threading.Lock()
    waited: list[float] = []

    def look_and_act() -> None:
        with lock:
            seen = time.monotonic()
        with lock:
            waited.append(time.monotonic() - seen)

    with make(world) as pool:
        pool.submit_task("t", look_and_act)
        pool.wait_for_all()
    assert 1.0 not in waited, "what was seen is a second old"


@of("raise", "base_exception")
def what_is_opened_is_closed(world: World) -> None:
    opened: list[int] = []

    def use() -> None:
        opened.append(1)
        time.sleep(1)
        opened.pop()

    with make(world) as pool:
        pool.submit_task("t", use)
        pool.wait_for_all()
    assert not opened, "left open"


@of("observer")
def every_observer_sees_all(world: World) -> None:
    with make(world) as pool:
        pool.submit_task("t", int)
        pool.wait_for_all()
    assert not pool.get_summary_metrics()["observer_errors"], "an observer was detached"
