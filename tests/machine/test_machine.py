"""Attempts on a machine, and the whole scheduler over it."""

from __future__ import annotations

import math

import pytest

from benchmarks.virtual import erlang_c_wait
from runtime import WorkerPoolConfig
from runtime.core.records import AbandonAttempt, AttemptFailed, AttemptSucceeded
from simulation.distributions import Exponential
from simulation.machine.backends import Backend, Outage, RateLimit
from simulation.machine.machine import Cpu, Machine, MachineRun
from simulation.machine.sharing import NEVER
from simulation.models import Behaviour, Fails, Modelled
from simulation.simulate import Run, simulate
from simulation.workload import Batch, SyntheticWorkload

SECOND = 1_000_000_000


def run(
    machine: Machine | None, *batches: Batch, seed: int = 3, log: bool = False, **fields: object
) -> Run:
    config = WorkerPoolConfig(**{"max_workers": 10, "backoff_base_seconds": 0.0, **fields})  # type: ignore[arg-type]
    workload = SyntheticWorkload(batches, machine)
    return simulate(workload, config.core_settings(), seed, log=log)


def ends(run: Run) -> list[float]:
    return [at / SECOND for at in run.ended_at_ns]


def failures(run: Run) -> list[tuple[float, str, int | None]]:
    found = []
    for at, stimulus, _ in run.steps:
        for part in getattr(stimulus, "stimuli", (stimulus,)):
            if isinstance(part, AttemptFailed):
                found.append((at / SECOND, part.error, part.retry_after_ns))
    return found


API = Backend("api", ("default",))


# ---------------------------------------------------------------- the CPU


def test_those_that_only_compute_take_turns_and_those_that_wait_do_not() -> None:
    computing = Batch(4, Modelled(1.0, cpu_share=1.0))
    assert ends(run(Machine(Cpu()), computing)) == [4.0] * 4
    assert ends(run(Machine(Cpu(cores=2)), computing)) == [2.0] * 4
    assert ends(run(Machine(Cpu()), Batch(4, Modelled(1.0)))) == [1.0] * 4
    assert ends(run(None, computing)) == [1.0] * 4


def test_one_alone_takes_its_duration() -> None:
    assert ends(run(Machine(Cpu()), Batch(1, Modelled(3.0, cpu_share=0.3)))) == [3.0]


def test_what_the_pool_computes_comes_on_top() -> None:
    pool = Machine(Cpu(attempt_ns=SECOND // 10))
    assert ends(run(pool, Batch(4, Modelled(1.0)))) == [1.4] * 4


def test_a_run_without_meeting_is_a_run_without_a_machine() -> None:
    """To the step: what attempts meet changes when they end, and nothing else."""
    batch = Batch(300, Modelled(Exponential(1.0), Fails(0.2)), rate_per_second=9.0)
    alone = run(None, batch, log=True, task_timeout_seconds=3.0)
    for machine in (Machine(), Machine(Cpu()), Machine(backends=(API,))):
        assert run(machine, batch, log=True, task_timeout_seconds=3.0).digest == alone.digest


def test_the_same_twice() -> None:
    machine = Machine(Cpu(), (Backend("api", ("default",), limit=3),))
    batch = Batch(200, Modelled(Exponential(1.0), Fails(0.2), cpu_share=0.3))
    first = run(machine, batch, log=True, max_retries=2)
    assert run(machine, batch, log=True, max_retries=2).digest == first.digest


def test_an_abandoned_attempt_goes_on_computing_in_the_way_of_the_rest() -> None:
    slow = Batch(1, Modelled(4.0, cpu_share=1.0), "slow")
    late = Batch(1, Modelled(1.0, cpu_share=1.0), "late", start_seconds=1.0)
    both = run(Machine(Cpu()), slow, late, task_timeout_seconds=1.0, max_retries=0, max_workers=1)
    # abandoned at 1 s with 3 s of its work to do, it halves what the other one gets
    assert [end.outcome for end in both.ends] == ["timeout", "timeout"]
    alone = run(
        Machine(Cpu(cores=2)), slow, late, task_timeout_seconds=1.0, max_retries=0, max_workers=1
    )
    assert [end.outcome for end in alone.ends] == ["timeout", "ok"]


def test_an_end_on_the_deadline_is_in_time() -> None:
    both = run(
        Machine(Cpu()), Batch(2, Modelled(1.0, cpu_share=1.0)), task_timeout_seconds=2.0, log=True
    )
    assert [end.outcome for end in both.ends] == ["ok", "ok"]
    assert not any(
        isinstance(i, AbandonAttempt) for _, _, instructions in both.steps for i in instructions
    )


def test_one_that_heeds_its_token_leaves_the_machine() -> None:
    seen: list[tuple[int, object]] = []
    machine = MachineRun(
        Machine(Cpu(), (Backend("api", ("calls",), limit=1),)),
        lambda at, key, failure: seen.append((at, key)),
    )
    machine.begin(0, "computes", "", Behaviour(100, cpu_ns=100))
    machine.begin(0, "stays", "", Behaviour(100, cpu_ns=100))
    machine.begin(0, "served", "calls", Behaviour(1000))
    machine.begin(0, "waits", "calls", Behaviour(1000))
    machine.begin(0, "next", "calls", Behaviour(1000))
    for key in ("computes", "waits", "served", "nobody"):
        machine.leave(0, key)
    while machine.next_at_ns != NEVER:
        machine.advance(machine.next_at_ns)
    assert seen == [(100, "stays"), (1000, "next")]


# ---------------------------------------------------------------- backends


def test_a_limit_lets_the_others_wait_inside() -> None:
    limited = Machine(backends=(Backend("api", ("default",), limit=2),))
    assert ends(run(limited, Batch(6, Modelled(1.0)))) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_a_limit_is_the_m_m_c_queue() -> None:
    """By Erlang's C formula, though the pool has workers enough for everybody."""
    batch = Batch(20_000, Modelled(Exponential(1.0)), rate_per_second=4.0)
    limited = Machine(backends=(Backend("api", ("default",), limit=5),))
    done = run(limited, batch, max_workers=10_000, task_timeout_seconds=None)
    mean = sum(end.running_ns for end in done.ends) / len(done.ends) / SECOND
    assert math.isclose(mean, 1.0 + erlang_c_wait(5, 4.0, 1.0), rel_tol=0.06)


def test_a_capacity_is_shared_as_in_the_m_g_1_ps_queue() -> None:
    """Its mean time depends on the mean service alone, here of a constant one."""
    batch = Batch(20_000, Modelled(1.0), rate_per_second=0.6)
    shared = Machine(backends=(Backend("api", ("default",), capacity=1.0),))
    done = run(shared, batch, max_workers=10_000, task_timeout_seconds=None)
    mean = sum(end.running_ns for end in done.ends) / len(done.ends) / SECOND
    assert math.isclose(mean, 1 / (1 - 0.6), rel_tol=0.06)


def test_a_slope_makes_each_call_longer_by_the_others() -> None:
    slower = Machine(backends=(Backend("api", ("default",), slope_seconds=0.5),))
    assert ends(run(slower, Batch(4, Modelled(1.0)))) == [1.0, 1.5, 2.0, 2.5]


def test_a_rate_limit_answers_with_an_error_that_says_how_long_to_wait() -> None:
    limited = Machine(
        backends=(Backend("api", ("default",), rate=RateLimit(2.0, 3, "Busy", "next")),)
    )
    done = run(limited, Batch(5, Modelled(0.1)), max_retries=1, log=True)
    # three at once; the next two would be let through after 0.5 s
    assert failures(done)[:2] == [(0.0, "Busy", SECOND // 2), (0.0, "Busy", SECOND // 2)]
    # both come back then: one is let through, the other one is out of retries
    assert failures(done)[2:] == [(0.5, "Busy", SECOND // 2)]
    assert sorted(ends(done)) == pytest.approx([0.1, 0.1, 0.1, 0.5, 0.6])


def test_a_rate_limit_lets_through_what_it_says_in_the_long_run() -> None:
    limited = Machine(backends=(Backend("api", ("default",), rate=RateLimit(5.0, 10)),))
    batch = Batch(4000, Modelled(0.01), rate_per_second=40.0)
    done = run(limited, batch, max_retries=0)
    through = sum(end.outcome == "ok" for end in done.ends)
    assert math.isclose(through, 5.0 * done.ended_at_ns[-1] / SECOND + 10, rel_tol=0.01)


def test_an_outage_fails_those_that_call_in_it() -> None:
    down = Machine(backends=(Backend("api", ("default",), outages=(Outage(1.0, 2.0),)),))
    batches = Batch(3, Modelled(1.5)), Batch(1, Modelled(1.0), "b", start_seconds=1.2)
    done = run(down, *batches, log=True, max_retries=0)
    assert failures(done) == [(1.2, "ConnectionError", None)]
    assert ends(done) == [1.2, 1.5, 1.5, 1.5]  # those under way are answered


def test_an_outage_may_hang_until_it_is_over() -> None:
    down = Machine(backends=(Backend("api", ("default",), outages=(Outage(0.0, 5.0, "hangs"),)),))
    assert ends(run(down, Batch(2, Modelled(1.0)))) == [6.0, 6.0]
    never = Machine(
        backends=(Backend("api", ("default",), outages=(Outage(0.0, math.inf, "hangs"),)),)
    )
    assert run(never, Batch(2, Modelled(1.0)), task_timeout_seconds=None).unfinished == 2


def test_only_the_groups_that_call_it_meet_a_backend() -> None:
    limited = Machine(backends=(Backend("api", ("calls",), limit=1),))
    done = run(
        limited, Batch(2, Modelled(1.0), group="calls"), Batch(2, Modelled(1.0), group="others")
    )
    assert ends(done) == [1.0, 1.0, 1.0, 2.0]


def test_a_call_computes_before_and_after() -> None:
    machine = Machine(Cpu(), (Backend("api", ("default",), limit=1),))
    # 1 s of CPU before, shared by two; 2 s of calls one after the other; 1 s after each
    assert ends(run(machine, Batch(2, Modelled(4.0, cpu_share=0.5)))) == [5.0, 7.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Backend("api", ()), "groups"),
        (lambda: Backend("api", ("g",), limit=0), "limit=0"),
        (lambda: Backend("api", ("g",), slope_seconds=-1.0), "slope_seconds=-1"),
        (lambda: Backend("api", ("g",), capacity=0.0), "capacity=0"),
        (lambda: Backend("api", ("g",), capacity=1.0, slope_seconds=1.0), "two laws"),
        (lambda: RateLimit(-2.0), "per_second=-2"),
        (lambda: RateLimit(2.0, retry_after_seconds="soon"), "next"),  # type: ignore[arg-type]
        (lambda: Outage(5.0, 5.0), "after from_seconds"),
        (lambda: Outage(1.0, 5.0, "explodes"), "fails, hangs"),  # type: ignore[arg-type]
        (lambda: Machine(backends=(API, API)), "declared twice"),
        (lambda: Machine(backends=(API, Backend("b", ("default",)))), "calls two backends"),
        (lambda: Modelled(1.0, cpu_share=1.5), "cpu_share=1.5"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_stimuli_of_attempts_that_meet_are_like_any_others() -> None:
    done = run(Machine(Cpu()), Batch(1, Modelled(1.0, cpu_share=0.5)), log=True)
    (end,) = [s for _, s, _ in done.steps if isinstance(s, AttemptSucceeded)]
    assert end == AttemptSucceeded(1, 1, 0, 0, SECOND)
