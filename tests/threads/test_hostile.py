"""What attackers found: users' code that raises, blocks or asks back where it hurts."""

from __future__ import annotations

import gc
import logging
import math
import os
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from runtime import (
    TaskCancelledError,
    WorkerPool,
    WorkerPoolConfig,
    WouldDeadlockError,
    current_attempt,
)
from runtime.core.records import Transition
from runtime.journal import read_journal
from telemetry import Telemetry
from tests.threads.conftest import MakePool
from tests.threads.helpers import DEADLINE, in_threads, run_script, until

# ---------------------------------------------------------------- waits inside tasks


def test_a_wait_that_came_true_holds_nobody_up(make_pool: MakePool) -> None:
    for _ in range(60):
        pool = make_pool(max_workers=2, max_retries=0)
        submitted, queued = threading.Event(), threading.Event()

        def first(
            pool: WorkerPool = pool,
            submitted: threading.Event = submitted,
            queued: threading.Event = queued,
        ) -> Any:
            child = pool.submit_task("a child", queued.wait)
            submitted.set()
            return pool.get_task_result(child, DEADLINE).result

        def second(pool: WorkerPool = pool) -> Any:
            return pool.get_task_result(pool.submit_task("a child", int), DEADLINE).result

        a = pool.submit_task("first", first)
        submitted.wait()
        b = pool.submit_task("second", second)  # starts only when the first's child has ended
        queued.set()
        for task in (a, b):
            result = pool.get_task_result(task, DEADLINE)
            assert result.success, result.error


def test_a_true_deadlock_is_still_told(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0)
    together = threading.Barrier(2)

    def waits() -> None:
        together.wait(DEADLINE)
        pool.get_task_result(pool.submit_task("never starts", int))

    ids = [pool.submit_task("waits", waits) for _ in range(2)]
    errors = [pool.get_task_result(task, DEADLINE).error for task in ids]
    assert any(e is not None and isinstance(e.__cause__, WouldDeadlockError) for e in errors)


def test_an_abandoned_attempt_waits_for_its_pool_no_longer(make_pool: MakePool) -> None:
    pool = make_pool(
        max_workers=1, max_retries=0, max_abandoned_threads=0, task_timeout_seconds=None
    )
    ids: dict[str, str] = {}
    ready = threading.Event()
    told: list[BaseException] = []

    def waits() -> None:
        ready.wait()
        current = current_attempt()
        try:
            pool.get_task_result(ids["held up"])
        except WouldDeadlockError:  # one worker: so let us be abandoned first, and then wait
            ids["told"] = "yes"
        while not current.cancelled:
            pass
        try:
            pool.get_task_result(ids["held up"])
        except TaskCancelledError as error:
            told.append(error)
            raise

    pool.submit_task("waits", waits, timeout=0.05)
    ids["held up"] = pool.submit_task("held up", int)
    ready.set()
    assert pool.get_task_result(ids["held up"], DEADLINE).success
    assert ids["told"] == "yes"
    assert "abandoned" in str(told[0])


def test_a_wait_ends_when_its_attempt_is_abandoned(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2, max_retries=0, max_abandoned_threads=0)
    gate, waiting, told = threading.Event(), threading.Event(), threading.Event()
    other = pool.submit_task("other", gate.wait)

    def waits() -> None:
        waiting.set()
        try:
            pool.get_task_result(other)
        except TaskCancelledError:
            told.set()
            raise

    task = pool.submit_task("waits", waits)
    waiting.wait(DEADLINE)
    pool.cancel(task)
    assert told.wait(DEADLINE)
    gate.set()
    assert pool.get_task_result(pool.submit_task("after", int), DEADLINE).success


# ---------------------------------------------------------------- exceptions that bite


def no(*args: object) -> Any:
    raise RuntimeError("no")


# made when needed: whoever collects tests would be bitten
BITES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "isinstance": lambda: (
        type("Meta", (type,), {"__instancecheck__": no})("Bites", (Exception,), {}),
        ValueError,
    ),
    "module": lambda: (
        Exception,
        type("Meta", (type,), {"__module__": property(no)})("Bites", (Exception,), {}),
    ),
    "attributes": lambda: (Exception, type("Bites", (Exception,), {"__getattribute__": no})),
    "traceback": lambda: (Exception, type("Bites", (Exception,), {"__traceback__": property(no)})),
    "comparison": lambda: (
        Exception,
        type(
            "Bites",
            (Exception,),
            {"retry_after_seconds": type("F", (float,), {"__le__": no, "__ge__": no})(1)},
        ),
    ),
    "retry_on": lambda: (no, ValueError),
}


@pytest.mark.parametrize("what", BITES)
@pytest.mark.parametrize("logs", [False, True])
def test_an_exception_that_bites_ends_its_task(
    make_pool: MakePool, what: str, logs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not logs:
        monkeypatch.setattr(logging.getLogger("twinclock"), "disabled", True)
    retry_on, error = BITES[what]()
    pool = make_pool(max_workers=1, retry_on=retry_on, max_retries=1, task_timeout_seconds=None)

    def raises() -> None:
        raise error()

    result = pool.get_task_result(pool.submit_task("t", raises), DEADLINE)
    assert not result.success
    assert pool.get_task_result(pool.submit_task("after", int), DEADLINE).success


# ---------------------------------------------------------------- observers that block or ask back


class Observing:
    """An observer that does nothing; others do."""

    def attach(self, view: Any) -> None: ...
    def detail(self) -> str:
        return "all"

    def transitions(self, batch: Sequence[Transition]) -> None: ...
    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("where", ["transitions", "close"])
def test_an_observer_may_scrape(where: str) -> None:
    registry = CollectorRegistry()
    scraped: list[bytes] = []

    class Scrapes(Observing):
        pass

    setattr(Scrapes, where, lambda *_: scraped.append(generate_latest(registry)))
    pool = WorkerPool(observers=[Telemetry(registry=registry), Scrapes()])  # type: ignore[list-item]
    pool.get_task_result(pool.submit_task("t", int), DEADLINE)
    pool.shutdown()
    assert b"workerpool_tasks_finished_total" in scraped[-1]
    assert pool.get_summary_metrics()["observer_errors"] == 0


def test_an_observer_that_exits_is_detached() -> None:
    class Exits(Observing):
        def transitions(self, batch: Sequence[Transition]) -> None:
            raise SystemExit

    with WorkerPool(observers=[Exits()]) as pool:  # type: ignore[list-item]
        pool.get_task_result(pool.submit_task("t", int), DEADLINE)
    assert pool.get_summary_metrics()["observer_errors"] == 1


def test_a_shutdown_leaves_an_observer_that_blocks_behind(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    gate = threading.Event()

    class Blocks(Observing):
        def transitions(self, batch: Sequence[Transition]) -> None:
            gate.wait()

    config = WorkerPoolConfig(exit_grace_seconds=0.1)
    pool = WorkerPool(config, observers=[Blocks()], journal=tmp_path / "j")  # type: ignore[list-item]
    assert pool.get_task_result(pool.submit_task("t", int), DEADLINE).success
    with caplog.at_level(logging.ERROR, "twinclock"):
        pool.shutdown()
    assert "an observer or the journal's disk hangs" in caplog.text
    gate.set()


@pytest.mark.parametrize("how", ["", "raise KeyboardInterrupt"])
def test_a_process_ends_although_an_observer_blocks(how: str) -> None:
    code = f"""
import threading
import time
from runtime import *
class Blocks:
    def attach(self, view): ...
    def detail(self): return "all"
    def transitions(self, batch): threading.Event().wait()
    def late_exception(self, *_): ...
    def close(self): ...
pool = WorkerPool(WorkerPoolConfig(exit_grace_seconds=0.2), observers=[Blocks()])
try:
    if {how!r}:
        with pool:
            pool.get_task_result(pool.submit_task("t", int))
            {how or "pass"}
except KeyboardInterrupt:
    pass
pool2 = WorkerPool(WorkerPoolConfig(exit_grace_seconds=0.2), observers=[Blocks()])
pool2.get_task_result(pool2.submit_task("t", int))
print("fine")
"""
    assert run_script(code).stdout.splitlines() == ["fine"]


def test_what_is_no_observer_is_refused() -> None:
    with pytest.raises(TypeError, match="no attach, detail"):
        WorkerPool(observers=[object()])  # type: ignore[list-item]


# ---------------------------------------------------------------- a fork at a bad moment


def test_a_child_forked_while_a_wait_is_hung_up_makes_pools_of_its_own() -> None:
    code = """
import os, threading
from runtime import *
from runtime import engine
held, release = threading.Event(), threading.Event()
def hold():
    with engine._hanging:
        held.set()
        release.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    with WorkerPool(WorkerPoolConfig(max_workers=1)) as pool:
        pool.submit_task("t", int)
        assert pool.wait_for_all(10)[0].success
    os._exit(7)
release.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    run_script(code)


# ---------------------------------------------------------------- values that bite later


class Text(str):
    """A ``str`` that no encoder knows."""


class Number(int):
    """An ``int`` that no encoder knows."""


def test_subclasses_are_taken_as_what_they_are(tmp_path: Path) -> None:
    config = WorkerPoolConfig(
        max_workers=Number(1),
        max_retries=Number(0),
        jitter=Text("full"),
        name=Text("pool"),  # type: ignore[arg-type]
    )
    with WorkerPool(config, journal=tmp_path / "j") as pool:
        pool.submit_task(Text("t"), int, priority=Number(1), group=Text("g"), max_retries=Number(1))
    assert pool.get_summary_metrics()["journal_errors"] == 0
    assert read_journal(tmp_path / "j").complete


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"task_name": "\ud800"}, r"task_name='\\ud800': must not have a lone surrogate"),
        ({"group": "\ud800"}, r"group='\\ud800': must not have a lone surrogate"),
        ({"priority": 10**30}, "priority=1000"),
        ({"priority": -(10**10)}, "priority=-1000"),
        ({"deadline": 1e300}, "deadline=1e\\+300: must be in epoch seconds"),
        ({"deadline": math.nan}, "deadline=nan"),
        ({"deadline": 10**400}, "deadline=1000"),
        ({"max_retries": 1 << 31}, "max_retries="),
    ],
)
def test_values_out_of_range_are_told_at_the_call(
    make_pool: MakePool, arguments: dict[str, Any], told: str
) -> None:
    pool = make_pool()
    with pytest.raises(ValueError, match=told):
        pool.submit_task(**{"task_name": "t", "task_fn": int, **arguments})
    assert pool.get_task_result(pool.submit_task("after", int), DEADLINE).success


@pytest.mark.parametrize("timeout", ["x", -1, math.nan, True])
def test_a_wait_is_checked_also_where_nothing_is_waited_for(
    make_pool: MakePool, timeout: Any
) -> None:
    pool = make_pool()
    task = pool.submit_task("t", int)
    pool.get_task_result(task, DEADLINE)
    with pytest.raises((TypeError, ValueError), match="timeout="):
        pool.get_task_result(task, timeout)


def test_sleeping_for_ever_is_until_cancelled(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=2)
    began = threading.Event()

    def sleeps() -> None:
        began.set()
        current_attempt().sleep(math.inf)

    task = pool.submit_task("sleeps", sleeps)
    began.wait(DEADLINE)
    assert pool.cancel(task)
    bad = pool.submit_task("t", lambda: current_attempt().sleep("x"), max_retries=0)  # type: ignore[arg-type]
    error = pool.get_task_result(bad, DEADLINE).error
    assert error is not None
    assert "seconds='x': must be a number" in str(error)


def test_a_journal_that_no_file_can_be_stops_no_work(tmp_path: Path) -> None:
    with WorkerPool(journal=os.path.join(tmp_path, "a\0b")) as pool:
        assert pool.get_task_result(pool.submit_task("t", int), DEADLINE).success
    assert pool.get_summary_metrics()["journal_errors"] == 1


# ---------------------------------------------------------------- forks, threads, journals


def test_a_child_that_a_task_forked_ends_when_it_comes_back() -> None:
    code = """
import os, sys
from runtime import *
def forks(code):
    child = os.fork()
    if child == 0:
        if code is None:
            return "in the child"
        sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
with WorkerPool(WorkerPoolConfig(max_workers=1)) as pool:
    ids = [pool.submit_task("forks", forks, (code,)) for code in (None, 0, 3, "a message")]
    print([pool.get_task_result(task, 20).result for task in ids])
"""
    assert run_script(code).stdout.splitlines() == ["[1, 0, 3, 1]"]


def test_where_no_thread_can_be_started_the_attempt_fails(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(max_workers=2, max_retries=1, backoff_base_seconds=0.001)
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if "-thread-" in thread.name and len(refused) < 3:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    lost = pool.get_task_result(pool.submit_task("t", int), DEADLINE)  # twice refused
    assert "out of threads" in str(lost.error)
    saved = pool.get_task_result(pool.submit_task("t", int), DEADLINE)
    assert saved.success
    assert saved.metrics.retries_used == 1


def test_the_token_and_its_wakers_are_not_lost_to_a_race(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=4, max_retries=0, max_abandoned_threads=1000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        began = time.monotonic()
        for _ in range(800):
            pool.submit_task("t", lambda: current_attempt().sleep(100), timeout=0.001)
        pool.wait_for_all(DEADLINE)
        pool.shutdown()
    finally:
        sys.setswitchinterval(before)
    assert time.monotonic() - began < 90, "an abandoned attempt slept on"


def test_journals_that_meet_at_one_path_all_stay(tmp_path: Path) -> None:
    def write(me: int) -> None:
        for _ in range(15):
            with WorkerPool(WorkerPoolConfig(max_workers=1), journal=tmp_path / "j") as pool:
                pool.submit_task(f"by {me}", int)
            assert pool.get_summary_metrics()["journal_errors"] == 0

    in_threads(6, write)
    kept = list(tmp_path.iterdir())
    assert len(kept) == 90
    assert all(read_journal(path).complete for path in kept)


def test_pools_that_are_forgotten_give_control_c_back() -> None:
    code = """
import gc, signal
from runtime import *
for n in range(20):
    WorkerPool(WorkerPoolConfig(max_workers=1)).submit_task("t", int)
gc.collect()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    run_script(code)


def test_a_timed_wait_is_no_deadlock(make_pool: MakePool) -> None:
    pool = make_pool(max_workers=1, max_retries=0)

    def waits() -> str:
        try:
            pool.get_task_result(pool.submit_task("behind", int), 0.01)
        except TimeoutError as error:
            return str(error)
        return "no error"

    result = pool.get_task_result(pool.submit_task("waits", waits), DEADLINE)
    assert "had not ended after 0.01 s" in str(result.result)


def test_what_is_pickled_keeps_its_cause(make_pool: MakePool) -> None:
    pool = make_pool(max_retries=0)
    error = pool.get_task_result(pool.submit_task("t", int, ("x",)), DEADLINE).error
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy.__cause__) is ValueError
    assert str(copy) == str(error)


# ---------------------------------------------------------------- late, or not at all


def test_a_late_exception_is_told_also_after_the_shutdown(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    pool = WorkerPool(WorkerPoolConfig(max_retries=0, task_timeout_seconds=0.05))

    def fails_late() -> None:
        gate.wait()
        raise LookupError("the late one")

    pool.submit_task("t", fails_late)
    pool.shutdown()
    with caplog.at_level(logging.WARNING, "twinclock"):
        gate.set()
        until(lambda: "the late one" in caplog.text)


def test_who_joins_after_an_interrupted_join_waits_too() -> None:
    gate, closed = threading.Event(), threading.Event()

    class Slow(Observing):
        def close(self) -> None:
            gate.wait()
            closed.set()

    config = WorkerPoolConfig(exit_grace_seconds=DEADLINE)
    pool = WorkerPool(config, observers=[Slow()])  # type: ignore[list-item]
    pool.get_task_result(pool.submit_task("t", int), DEADLINE)
    first = threading.Thread(target=pool.shutdown)
    first.start()
    relay = pool._relay
    assert relay is not None
    assert not relay.join(0.01)  # as one that was interrupted
    gate.set()
    pool.shutdown()
    assert closed.is_set()
    first.join(DEADLINE)


def test_one_bad_pool_at_exit_does_not_keep_the_others_from_being_left(tmp_path: Path) -> None:
    code = """
import sys
from runtime import *
pools = [WorkerPool(journal=f"{sys.argv[1]}/{n}") for n in range(3)]
for pool in pools:
    pool.submit_task("t", int)
def bad(*_):
    raise ZeroDivisionError
pools[1]._host.leave = bad
"""
    run_script(code, str(tmp_path))
    assert [read_journal(tmp_path / str(n)).complete for n in (0, 2)] == [True, True]


def test_one_telemetry_watches_one_pool(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry(registry=CollectorRegistry())
    with WorkerPool(observers=[telemetry]), WorkerPool(observers=[telemetry]) as second:
        assert second.get_summary_metrics()["observer_errors"] == 1
    assert "give each pool one of its own" in caplog.text


def test_closed_pools_are_added_up_and_let_go_of() -> None:
    registry = CollectorRegistry()
    pools: list[weakref.ref[Telemetry]] = []
    for _ in range(5):
        telemetry = Telemetry(registry=registry)
        pools.append(weakref.ref(telemetry))
        with WorkerPool(observers=[telemetry]) as pool:
            pool.submit_task("t", int)
        del telemetry, pool
    gc.collect()
    labels = {"pool": "pool", "group": "default", "outcome": "ok"}
    assert registry.get_sample_value("workerpool_tasks_finished_total", labels) == 5
    assert registry.get_sample_value("workerpool_task_duration_seconds_count", labels) == 5
    assert [pool() for pool in pools] == [None] * 5
