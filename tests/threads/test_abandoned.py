"""Functions that do not return: the pool replaces what it may, finishes what it can, and tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import SupportsIndex

import pytest

from runtime import TaskCancelledError, TaskTimeoutError, WaitTimeoutError, current_attempt
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads, threads_of, until

SHORT = 0.02

Stuck = Callable[[], bool]


def test_slots_are_replaced_up_to_the_limit_and_come_back(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=3, max_abandoned_threads=2, max_retries=0)
    tasks = [pool.submit_task(f"stuck {n}", stuck, timeout=SHORT) for n in range(3)]
    for task in tasks:
        error = pool.get_task_result(task, DEADLINE).error
        assert isinstance(error, TaskTimeoutError)
    summary = pool.get_summary_metrics()
    assert summary["abandoned_threads"] == 3
    assert summary["busy_workers"] == 1  # the third holds its slot
    assert summary["timeouts"] == 3
    together = threading.Barrier(2)
    pairs = [pool.submit_task(f"t{n}", together.wait, (DEADLINE,)) for n in range(20)]
    results = [pool.get_task_result(task, DEADLINE) for task in pairs]
    assert all(result.success for result in results)
    assert len({result.metrics.worker_id for result in results}) == 2
    gate.set()
    until(lambda: pool.get_summary_metrics()["abandoned_threads"] == 0)
    summary = pool.get_summary_metrics()
    assert summary["busy_workers"] == 0
    assert summary["late_results"] == 3
    together = threading.Barrier(3)
    trio = [pool.submit_task(f"t{n}", together.wait, (DEADLINE,)) for n in range(3)]
    assert all(pool.get_task_result(task, DEADLINE).success for task in trio)
    for task in tasks:
        assert isinstance(pool.get_task_result(task).error, TaskTimeoutError)
        assert pool.get_task_result(task).result is None


def test_threads_are_as_many_as_before_once_all_have_returned(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=4, max_abandoned_threads=24, max_retries=0)
    for n in range(24):
        pool.submit_task(f"stuck {n}", stuck, timeout=SHORT)
    pool.wait_for_all(DEADLINE)
    until(lambda: pool.get_summary_metrics()["abandoned_threads"] == 24)
    together = threading.Barrier(4)
    for n in range(4):
        pool.submit_task(f"t{n}", together.wait, (DEADLINE,))
    pool.wait_for_all(DEADLINE)
    assert len(threads_of(pool, "thread-")) == 28

    def all_return() -> None:  # before any of them is looked at
        gate.set()
        until(lambda: len(pool._host._inbox) == 24)

    pool._host.held(all_return)
    until(lambda: len(threads_of(pool, "thread-")) == 4, "the extra threads left")
    assert pool.get_summary_metrics()["late_results"] == 24
    together.reset()
    again = [pool.submit_task(f"t{n}", together.wait, (DEADLINE,)) for n in range(4)]
    assert all(pool.get_task_result(task, DEADLINE).success for task in again)


def test_where_every_slot_is_taken_the_rest_waits_and_shutdown_does_not(
    make_pool: MakePool,
    gate: threading.Event,
    stuck: Stuck,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = make_pool(max_workers=2, max_abandoned_threads=0, max_retries=0)
    tasks = [pool.submit_task(f"stuck {n}", stuck, timeout=SHORT) for n in range(2)]
    for task in tasks:
        assert isinstance(pool.get_task_result(task, DEADLINE).error, TaskTimeoutError)
    waiting = pool.submit_task("waits", lambda: 1)
    hurried = pool.submit_task("hurried", lambda: 1, deadline=pool.now + SHORT)
    assert pool.get_task_result(hurried, DEADLINE).error.reason == "deadline passed"
    with pytest.raises(WaitTimeoutError) as caught:
        pool.wait_for_all(timeout=SHORT)
    assert caught.value.open_ids == [waiting]
    assert len(caught.value.results) == 3
    assert pool.get_summary_metrics()["pending"] == 1
    assert pool.get_summary_metrics()["busy_workers"] == 2
    in_threads(1, lambda _: pool.shutdown(cancel_futures=True))
    assert isinstance(pool.get_task_result(waiting).error, TaskCancelledError)
    (line,) = [r.getMessage() for r in caplog.records if "abandoned attempts still" in r.msg]
    assert all(task in line for task in tasks)
    assert threads_of(pool, "clock") == []
    gate.set()
    until(lambda: not threads_of(pool), "all threads left")


def test_a_slot_that_was_held_serves_again(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=1, max_abandoned_threads=0, max_retries=1)
    task = pool.submit_task("stuck once", lambda: current_attempt().number > 1 or stuck())
    pool.cancel(task)
    timed = pool.submit_task("timed", lambda: 1, timeout=DEADLINE)
    with pytest.raises(WaitTimeoutError):
        pool.get_task_result(timed, timeout=SHORT)
    gate.set()
    assert pool.get_task_result(timed, DEADLINE).result == 1
    assert isinstance(pool.get_task_result(task).error, TaskCancelledError)


def test_a_retry_runs_beside_its_abandoned_attempt_and_its_result_counts(
    make_pool: MakePool, gate: threading.Event, stuck: Stuck
) -> None:
    pool = make_pool(max_workers=1, max_retries=2, max_abandoned_threads=5)

    def slow_at_first() -> int:
        number = current_attempt().number
        if number < 3:
            stuck()
        return number

    task = pool.submit_task("slow", slow_at_first, timeout=0.1)
    result = pool.get_task_result(task, DEADLINE)
    assert result.result == 3
    assert result.metrics.retries_used == 2
    gate.set()
    until(lambda: pool.get_summary_metrics()["late_results"] == 2)
    assert pool.get_task_result(task).result == 3


def test_late_exceptions_are_logged_with_their_traceback(
    make_pool: MakePool,
    gate: threading.Event,
    stuck: Stuck,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="twinclock")
    pool = make_pool(max_workers=2, max_retries=0)

    def late() -> None:
        stuck()
        raise LookupError("too late")

    def heeds() -> None:
        stuck()
        current_attempt().raise_if_cancelled()

    ids = [pool.submit_task("t", function, timeout=SHORT) for function in (late, heeds)]
    pool.wait_for_all(DEADLINE)
    gate.set()
    until(lambda: pool.get_summary_metrics()["late_results"] == 2)
    pool.shutdown()
    lines = {r.task_id: r for r in caplog.records if "had been abandoned and raised" in r.msg}
    assert set(lines) == set(ids)
    assert lines[ids[0]].levelno == logging.WARNING
    assert "LookupError('too late')" in lines[ids[0]].getMessage()
    assert lines[ids[0]].exc_info
    assert lines[ids[0]].attempt == 1
    assert lines[ids[0]].pool == pool.config.name
    assert lines[ids[1]].levelno == logging.DEBUG  # it did what it was asked to
    dropped = [r for r in caplog.records if "late result" in r.getMessage()]
    assert {r.levelno for r in dropped} == {logging.WARNING}
    assert len(dropped) == 2


def test_a_sleeping_attempt_wakes_when_it_is_abandoned(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0)
    woken: list[str] = []

    def sleeps(seconds: float) -> None:
        try:
            current_attempt().sleep(seconds)
        except TaskCancelledError:
            woken.append(f"{current_attempt().cancelled}")
            raise

    pool.submit_task("times out", sleeps, (1000,), timeout=SHORT)
    cancelled = pool.submit_task("cancelled", sleeps, (1e9,))
    until(lambda: pool.get_summary_metrics()["timeouts"] == 1)
    pool.cancel(cancelled)
    until(lambda: len(woken) == 2, "both woke")
    assert woken == ["True", "True"]
    until(lambda: pool.get_summary_metrics()["late_results"] == 2)


def test_a_system_without_threads_goes_on_with_those_there_are(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(max_workers=8)
    assert pool.get_task_result(pool.submit_task("first", lambda: 1), DEADLINE).success
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if "-thread-" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ids = [pool.submit_task(f"t{n}", lambda n=n: n) for n in range(30)]
    assert [pool.get_task_result(task, DEADLINE).result for task in ids] == list(range(30))
    monkeypatch.undo()
    assert pool.get_task_result(pool.submit_task("after", lambda: 1), DEADLINE).success
    pool.shutdown()
    assert not threads_of(pool)


def test_a_system_without_any_thread_says_so_and_hangs_nowhere(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = make_pool(max_retries=2, backoff_base_seconds=0.01)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool.submit_task("t", lambda: 1)
    (result,) = pool.wait_for_all()  # whoever waits keeps the time
    assert "out of threads" in str(result.error)
    assert result.metrics.retries_used == 2
    monkeypatch.undo()
    assert pool.get_task_result(pool.submit_task("after", lambda: 1), DEADLINE).success


@pytest.mark.parametrize("kind", ["clock", "observers"])
def test_without_a_helper_thread_no_task_is_lost(
    make_pool: MakePool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
) -> None:
    pool = make_pool(journal=tmp_path_factory.mktemp("journal") / "j", max_workers=2)
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith(kind) and len(refused) < 3:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ids = [pool.submit_task(f"t{n}", lambda n=n: n, timeout=DEADLINE) for n in range(30)]
    assert [pool.get_task_result(task, DEADLINE).result for task in ids] == list(range(30))
    assert refused


def test_workers_that_tell_of_late_exceptions_at_the_same_time_do_not_kill_each_other(
    make_pool: MakePool,
) -> None:
    class TakenByAnother(list[object]):
        """Has one, until it is asked for it."""

        def pop(self, index: SupportsIndex = -1) -> object:
            self.clear()
            return super().pop(index)

    pool = make_pool()
    pool._engine.unheard = TakenByAnother([("t", 1, ValueError())])
    pool._host._tell_unheard()
