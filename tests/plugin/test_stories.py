"""Stories: what is told of a task, and assertions on it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from runtime.core.records import Transition
from runtime.core.states import TABLE, Cause, TaskState
from runtime.core.stories import ended, in_seconds, tell
from simulation import Modelled, SimulatedWorkerPool, assert_story

_CONFIG = WorkerPoolConfig(
    max_workers=1,
    max_retries=2,
    task_timeout_seconds=60,
    backoff_base_seconds=2,
    enable_instrumentation=False,
)


class BusyError(Exception):
    pass


def flaky(fail_until: int) -> None:
    time.sleep(1)
    if current_attempt().number < fail_until:
        raise BusyError


@pytest.fixture
def pool() -> Any:
    with SimulatedWorkerPool(_CONFIG) as made:
        yield made


def test_a_retry_reads_as_it_happened(pool: SimulatedWorkerPool) -> None:
    task = pool.submit_task("flaky", flaky, (3,))
    pool.wait_for_all()
    assert_story(
        task,
        "submitted",
        "started",
        "failed with BusyError",
        "ready again",
        "retried after 2 s",
        "failed",
        "retried after 4 s",
        "succeeded",
        pool=pool,
    )
    assert_story(task, "started", "failed", "retried after 2 s", ..., pool=pool)
    assert_story(task, ..., "succeeded", pool=pool)
    assert_story(task, ..., "retried after 4 s", ..., pool=pool)
    assert_story(pool.get_task_result(task), ..., pool=pool)


def test_every_end_has_its_words(pool: SimulatedWorkerPool) -> None:
    def later(seconds: float, what: Any) -> None:
        pool.advance(seconds)
        what()

    failing = pool.submit_task("fails", flaky, (9,))
    pool.wait_for_all()
    assert_story(failing, ..., "failed with BusyError: retries exhausted", pool=pool)
    hanging = pool.submit_task("hangs", time.sleep, (1e6,), max_retries=0)
    pool.wait_for_all()
    assert_story(hanging, "started", "timed out: retries exhausted", pool=pool)
    cancelled = pool.submit_task("cancelled", time.sleep, (10,))
    later(1, lambda: pool.cancel(cancelled))
    assert_story(cancelled, "started", "cancelled", pool=pool)
    held = pool.submit_task("holds", time.sleep, (10,))
    aborted = pool.submit_task("aborted", int)
    late = pool.submit_task("late", time.sleep, (50,), deadline=3)
    later(5, pool.abort_pending_tasks)
    pool.wait_for_all()
    assert_story(aborted, "aborted", pool=pool)
    assert_story(late, "deadline passed", pool=pool)
    assert_story(held, "started", "succeeded", pool=pool)


def test_a_difference_is_readable(pool: SimulatedWorkerPool) -> None:
    task = pool.submit_task("flaky", flaky, (2,))
    pool.wait_for_all()
    with pytest.raises(AssertionError) as caught:
        assert_story(
            task, "started", "failed with Busy", "retried after 3 s", "succeeded", pool=pool
        )
    assert str(caught.value).splitlines() == [
        f"the story of {task} is another one:",
        "          0 s  submitted",
        "          0 s  started",
        "-              failed with Busy",
        "+         1 s  failed with BusyError",
        "          3 s  ready again",
        "-              retried after 3 s",
        "+         3 s  retried after 2 s",
        "          4 s  succeeded",
        "(- expected, + what happened)",
    ]


@pytest.mark.parametrize(
    "sentences",
    [
        ("started",),  # it went on
        ("started", "succeeded", "succeeded"),
        ("succeeded",),
        ("succeeded", "started"),
        (..., "failed", ...),
        ("start", "succeeded"),  # whole words only
    ],
)
def test_another_story_is_not_this_one(
    pool: SimulatedWorkerPool, sentences: tuple[Any, ...]
) -> None:
    task = pool.submit_task("t", int)
    pool.wait_for_all()
    with pytest.raises(AssertionError, match="is another one"):
        assert_story(task, *sentences, pool=pool)


def test_misuse_is_named(pool: SimulatedWorkerPool) -> None:
    task = pool.submit_task("t", Modelled(duration=1))
    with pytest.raises(TypeError, match="say what happened"):
        assert_story(task, pool=pool)
    with pytest.raises(TypeError, match="None is no sentence"):
        assert_story(task, None, pool=pool)  # type: ignore[arg-type]
    with pytest.raises(LookupError, match=r"pool 'pool' has no task 'pool-0\.99'"):
        assert_story("pool-0.99", "started", pool=pool)
    with pytest.raises(LookupError, match="of a pool that no fixture made, say pool="):
        assert_story(task, "started")
    with (
        WorkerPool(_CONFIG) as real,
        pytest.raises(LookupError, match="make it with the fixture worker_pool"),
    ):
        assert_story("t", "started", pool=real)


def test_the_fixtures_pools_are_found(simulated_pool: Any) -> None:
    one = simulated_pool(_CONFIG)
    task = one.submit_task("t", int)
    one.wait_for_all()
    assert_story(task, "started", "succeeded")
    other = simulated_pool(_CONFIG)
    other.submit_task("t", int)
    with pytest.raises(LookupError, match="2 pools of this test have a task"):
        assert_story(task, "started", "succeeded")
    assert_story(task, "started", "succeeded", pool=one)


def test_both_clocks_tell_the_same_story(worker_pool: Any) -> None:
    pool = worker_pool(max_workers=2, max_retries=1, backoff_base_seconds=0.001)

    def fails_once() -> None:
        if current_attempt().number == 1:
            raise BusyError

    task = pool.submit_task("t", fails_once)
    pool.wait_for_all()
    assert_story(task, "started", "failed with BusyError", "retried after 0.001 s", "succeeded")


def test_every_cause_has_words_and_every_transition_is_told() -> None:
    for cause in Cause:
        assert ended(cause), cause
    for before, row in TABLE.items():
        for cause, after in row.items():
            if isinstance(after, TaskState):
                (sentence,) = tell([Transition(5, 1, before, after, cause, 1)])
                assert sentence.text
                assert sentence.aside == (cause == Cause.BACKOFF_ELAPSED)


@pytest.mark.parametrize(
    ("ns", "told"),
    [
        (0, "0 s"),
        (1, "0.000000001 s"),
        (10**9, "1 s"),
        (600 * 10**9, "600 s"),
        (10**8, "0.1 s"),
        (12_345_000_000_000, "12345 s"),
    ],
)
def test_seconds_are_exact(ns: int, told: str) -> None:
    assert in_seconds(ns) == told
