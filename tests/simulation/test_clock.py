"""Virtual time: the pool on it, its digest, what it shares between runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import WorkerPoolConfig, current_attempt
from runtime.core import Core, CoreSettings
from runtime.core.records import AttemptSucceeded, CancelRequested, Simultaneous
from runtime.core.states import TaskState
from runtime.journal import read_journal
from simulation import Exponential, Fails, LogNormal, Modelled, SimulatedWorkerPool, Uniform
from simulation.clock import VirtualClock
from simulation.host import NothingLeftError
from simulation.replay import replay

ROOT = Path(__file__).resolve().parent.parent.parent

MIXED = """
from runtime import WorkerPoolConfig, current_attempt
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool
config = WorkerPoolConfig(
    max_workers=5, task_timeout_seconds=3, backoff_base_seconds=0.5, jitter="full",
    enable_instrumentation=False, ageing_seconds=2,
)
with SimulatedWorkerPool(config, seed=11) as pool:
    for n in range(100):
        model = Modelled(Exponential(1.5), Fails(0.25, retryable=n % 9 != 0))
        pool.submit_task(f"m{n}", model, priority=n % 3)
    def code(n):
        current_attempt().sleep(n)
        if current_attempt().number == 1:
            raise ValueError(n)
    for n in range(5):
        pool.submit_task(f"c{n}", code, (n,), deadline=40.0)
    pool.advance(4)
    pool.abort_pending_tasks()
    pool.submit_task("last", Modelled(1.0))
    pool.wait_for_all()
print(pool.digest, len(pool.transitions), pool.now)
"""


def run_mixed(python: str, hash_seed: str) -> str:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [python, "-c", MIXED], env=environment, check=True, capture_output=True, text=True
    ).stdout


def other_pythons() -> list[str]:
    return [str(python) for python in sorted(ROOT.glob(".venvs/*/bin/python"))]


@pytest.mark.parametrize("python", [sys.executable, *other_pythons()])
def test_one_seed_gives_one_digest_under_any_hash_seed_and_python(python: str) -> None:
    expected = run_mixed(sys.executable, "0")
    assert run_mixed(python, "1") == expected
    assert run_mixed(python, "4711") == expected


def test_another_seed_gives_another_run() -> None:
    def run(seed: int) -> str:
        with SimulatedWorkerPool(seed=seed) as pool:
            pool.submit_task("t", Modelled(Exponential(1.0)))
            pool.wait_for_all()
            return pool.digest

    assert run(1) == run(1) != run(2)


def test_time_jumps_to_what_happens_next() -> None:
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=10)) as pool:
        pool.submit_task("year", Modelled(365 * 86_400.0), timeout=None)
        assert pool.wait_for_all()[0].success
        assert pool.now == 365 * 86_400.0


def test_advance_stops_at_its_instant() -> None:
    with SimulatedWorkerPool() as pool:
        task = pool.submit_task("t", Modelled(10.0, value="x"))
        pool.advance(9.5)
        assert (pool.now, pool.get_metrics()[task].status.name) == (9.5, "RUNNING")
        pool.advance(0.5)
        assert pool.now == 10.0
        assert pool.get_task_result(task).result == "x"
        with pytest.raises(ValueError, match="seconds"):
            pool.advance(-1)


def test_durations_and_outcomes_by_attempt() -> None:
    model = Modelled(duration=[1.0, 2.0], outcome=[Fails(error="E1"), Fails(error="E2"), None])
    with SimulatedWorkerPool(WorkerPoolConfig(backoff_base_seconds=1.0)) as pool:
        result = pool.get_task_result(pool.submit_task("t", model))
        assert result.metrics.execution_time_ms == 1000 + 2000 + 2000
        assert result.metrics.backoff_time_ms == 1000 + 2000
        assert result.metrics.retries_used == 2


def test_a_failure_may_carry_a_retry_after() -> None:
    model = Modelled(0.0, [Fails(retry_after_seconds=100.0), None])
    with SimulatedWorkerPool() as pool:
        assert pool.get_task_result(pool.submit_task("t", model)).success
        assert pool.now == 100.0


def test_what_is_called_back_at_one_instant_keeps_the_order_in_which_it_was_asked() -> None:
    core, called = Core(CoreSettings(max_workers=1)), list[str]()
    clock = VirtualClock(core, core.handle, lambda *_: None)

    def tell(event: Any) -> None:
        called.append(event.value)
        if event.value == "first":
            clock.at(0, tell, "now, asked for last")
            clock.at(3, tell, "later")

    clock.at(0, tell, "at once")
    for what in ("first", "second", "third"):
        clock.at(5, tell, what)
    clock.run(None)
    assert called == ["at once", "first", "second", "third", "now, asked for last", "later"]
    assert clock.now == 8


@pytest.mark.parametrize("law", [Exponential(1.5), Uniform(1, 3), 2.0, LogNormal(1, 0.5)])
def test_a_model_draws_the_same_one_by_one_and_in_a_block(law: Any) -> None:
    model = Modelled(law)
    many = model.sampler(5)
    one_by_one = [model.sampler(5)(task, 1) for task in range(600)]
    assert [many(task, 1) for task in range(600)] == one_by_one
    assert [many(task, 1) for task in reversed(range(600))] == one_by_one[::-1]


def test_a_model_draws_what_it_is_asked_for() -> None:
    drawn: list[float] = []

    class Noted:
        def at(self, u: float) -> float:
            drawn.append(u)
            return u

    sample = Modelled(Noted()).sampler(5)
    sample(3, 1)
    assert len(drawn) == 1
    for task in range(256):
        sample(task, 1)
    assert len(drawn) < 270, "then a block at once"


def test_a_pool_takes_each_tasks_own_model() -> None:
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=1)) as pool:
        models = [Modelled(3.0), Modelled(5.0), Modelled(3.0)]
        ids = [pool.submit_task("t", model) for model in [*models, models[1]]]
        assert [pool.get_task_result(task).success for task in ids] == [True] * 4
        assert pool.now == 16.0


def test_what_happens_at_one_instant_is_told_at_once() -> None:
    """A result that arrives exactly on its limit is in time."""
    with SimulatedWorkerPool(WorkerPoolConfig(task_timeout_seconds=5.0, max_retries=0)) as pool:
        on_time = pool.submit_task("on time", Modelled(5.0))
        late = pool.submit_task("late", Modelled(5.000000001))
        pool.wait_for_all()
        assert pool.get_task_result(on_time).success
        assert not pool.get_task_result(late).success


def test_the_journal_of_a_simulated_run_replays(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=2), seed=5, journal=path) as pool:
        tasks = [pool.submit_task(f"t{n}", Modelled(2.0, Fails(0.3))) for n in range(20)]
        pool.advance(6.0)
        pool.cancel(tasks[-1])
        pool.wait_for_all()
    journal = read_journal(path)
    assert journal.complete
    assert journal.header.clock == "virtual"
    assert journal.digest == pool.digest
    assert replay(journal).divergence is None
    together = [r.stimulus for r in journal.records if isinstance(r.stimulus, Simultaneous)]
    assert together, "two workers with equal durations end at one instant"
    assert all(
        isinstance(part, AttemptSucceeded) or hasattr(part, "error")
        for s in together
        for part in s.stimuli
    )
    assert any(isinstance(r.stimulus, CancelRequested) for r in journal.records)


def test_transitions_tell_the_whole_story() -> None:
    with SimulatedWorkerPool(WorkerPoolConfig(backoff_base_seconds=1.0)) as pool:
        pool.submit_task("t", Modelled(2.0, [Fails(), None]))
        pool.wait_for_all()
        story = [(t.at_ns // 10**9, t.after) for t in pool.transitions]
    assert story == [
        (0, TaskState.READY),
        (0, TaskState.RUNNING),
        (2, TaskState.DELAYED),
        (3, TaskState.READY),
        (3, TaskState.RUNNING),
        (5, TaskState.SUCCEEDED),
    ]


def test_what_can_never_end_is_said() -> None:
    pool = SimulatedWorkerPool(WorkerPoolConfig(task_timeout_seconds=None))
    task = pool.submit_task("forever", Modelled(float("inf")))
    with pytest.raises(NothingLeftError, match="forever can never end"):
        pool.get_task_result(task)
    pool.cancel(task)
    pool.shutdown()


def test_real_functions_take_turns_in_the_order_of_the_clock() -> None:
    order: list[tuple[str, float]] = []

    def talk(name: str, pause: float) -> None:
        for _ in range(3):
            current_attempt().sleep(pause)
            order.append((name, pool.now))

    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=2)) as pool:
        pool.submit_task("a", talk, ("a", 2.0))
        pool.submit_task("b", talk, ("b", 3.0))
        pool.wait_for_all()
    assert order == [("a", 2.0), ("b", 3.0), ("a", 4.0), ("b", 6.0), ("a", 6.0), ("b", 9.0)]


def test_no_thread_is_left_behind() -> None:
    import threading

    before = threading.active_count()
    with SimulatedWorkerPool(WorkerPoolConfig(task_timeout_seconds=1.0, max_retries=0)) as pool:
        for n in range(20):
            pool.submit_task(f"t{n}", lambda: current_attempt().sleep(1e6))
        pool.advance(0.5)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Modelled(-1.0), "0 or more"),
        (lambda: Modelled(float("nan")), "must be a number"),
        (lambda: Modelled([]), "at least one"),
        (lambda: Modelled("x"), "seconds or a distribution"),
        (lambda: Modelled(1.0, "error"), "None or Fails"),
        (lambda: Modelled(1.0, []), "at least one"),
        (lambda: Fails(1.5), "0 to 1"),
        (lambda: Exponential(0), "more than 0"),
        (lambda: LogNormal(-1, 1), "more than 0"),
        (lambda: SimulatedWorkerPool(seed=-1), "seed"),
    ],
)
def test_bad_models_are_refused(make: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()  # type: ignore[operator]


def test_a_model_cannot_run_on_real_threads() -> None:
    from runtime import TaskFailedError, WorkerPool

    with WorkerPool(WorkerPoolConfig(max_retries=0, enable_instrumentation=False)) as pool:
        result = pool.get_task_result(pool.submit_task("t", Modelled(1.0)))
    assert isinstance(result.error, TaskFailedError)
    assert "SimulatedWorkerPool" in str(result.error.__cause__)


def test_time_may_pass_after_a_shutdown_with_a_cancelled_sleeper() -> None:
    pool = SimulatedWorkerPool(WorkerPoolConfig(max_workers=2))
    task = pool.submit_task("sleeps", lambda: current_attempt().sleep(50))
    pool.advance(1)
    pool.cancel(task)
    pool.shutdown()
    pool.advance(100)
    assert pool.now == 101.0


def test_time_is_let_pass_from_outside_and_not_past_its_end() -> None:
    pool = SimulatedWorkerPool(WorkerPoolConfig(max_workers=1, max_retries=0))
    task = pool.submit_task("t", lambda: pool.advance(1))
    error = pool.get_task_result(task).error
    assert error is not None
    assert "called by a task" in str(error)
    for _ in range(4):
        pool.advance(1e9)
    with pytest.raises(ValueError, match="virtual time ends"):
        pool.advance(1e9)
