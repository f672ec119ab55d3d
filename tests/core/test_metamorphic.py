"""What must not matter, and what must carry over."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState
from tests.core.helpers import Listening, Work, plain_settings, play, works

replace = msgspec.structs.replace
LIVE = (TaskState.READY, TaskState.RUNNING, TaskState.DELAYED)
quick = settings(max_examples=150, derandomize=True, deadline=None)


def scaled(value: Any, by: int) -> Any:
    """A record with every instant and duration in it multiplied."""
    changes = {}
    for name in value.__struct_fields__:
        number = getattr(value, name)
        if name.endswith("_ns") and isinstance(number, int):
            changes[name] = number * by
    return replace(value, **changes)


def renamed(spec: r.TaskSubmitted) -> r.TaskSubmitted:
    return replace(spec, name=f"other name of {spec.task}", group=f"other than {spec.group}")


def transitions(own: CoreSettings, arrivals: list[tuple[int, r.TaskSubmitted]]) -> list[Any]:
    core = Core(own, record="all")
    for at, spec in arrivals:
        core.handle(at, spec)
    while (due := core.next_deadline_ns()) is not None:
        core.handle(due, r.TimeElapsed())
    return core.take_transitions()


@quick
@given(own=plain_settings, work=works())
def test_renaming_changes_no_instruction(own: CoreSettings, work: Work) -> None:
    other = Work(
        [(at, renamed(spec)) for at, spec in work.arrivals],
        work.lasts_ns,
        work.ends,
        work.cancels,
    )
    assert play(own, other) == play(own, work)


@quick
@given(own=plain_settings, work=works())
def test_renaming_renames_the_log_and_nothing_else(own: CoreSettings, work: Work) -> None:
    log = transitions(own, work.arrivals)
    log_of_others = transitions(own, [(at, renamed(spec)) for at, spec in work.arrivals])
    assert log_of_others == [
        replace(entry, detail=renamed(entry.detail)) if entry.cause is None else entry
        for entry in log
    ]


@quick
@given(own=plain_settings, work=works(), by=st.integers(2, 5), plus=st.integers(0, 300))
def test_other_numbers_in_the_same_order_renumber_the_log(
    own: CoreSettings, work: Work, by: int, plus: int
) -> None:
    other = Work(
        [(at, replace(spec, task=spec.task * by + plus)) for at, spec in work.arrivals],
        work.lasts_ns,
        work.ends,
        work.cancels,
    )
    assert play(own, other) == [
        (at, replace(told, task=told.task * by + plus))  # no play ends by StopWorkers
        for at, told in play(own, work)
    ]


@quick
@given(own=plain_settings, work=works(), by=st.sampled_from([2, 3, 1_000, 10**9]))
def test_scaling_every_duration_scales_every_instant(
    own: CoreSettings, work: Work, by: int
) -> None:
    slower = Work(
        [(at * by, scaled(spec, by)) for at, spec in work.arrivals],
        [lasts * by for lasts in work.lasts_ns],
        work.ends,
        [(after * by, index) for after, index in work.cancels],
    )
    expected = [(at * by, scaled(told, by)) for at, told in play(own, work)]
    assert play(scaled(own, by), slower) == expected


# ---------------------------------------------------------------- what any queue must obey

durations = st.lists(st.integers(1, 50), min_size=1, max_size=30)
endings = st.lists(st.sampled_from(["ok", "retryable", "retryable", "final"]), min_size=1)


def batch(lasts_ns: list[int], ends: list[str]) -> Work:
    """Tasks that come at once, as many as there are durations."""
    return Work([(0, r.TaskSubmitted(n + 1)) for n in range(len(lasts_ns))], lasts_ns, ends, [])


@quick
@given(workers=st.integers(1, 6), lasts=durations)
def test_graham_s_bounds_hold(workers: int, lasts: list[int]) -> None:
    """Invariant 26, in whole numbers: R. L. Graham, 1966."""
    log = play(CoreSettings(max_workers=workers), batch(lasts, ["ok"]))
    ran = [told.running_ns for _, told in log if isinstance(told, r.FinishTask)]
    makespan = max(at for at, _ in log)
    assert sorted(ran) == sorted(lasts)
    assert max(sum(ran), workers * max(ran)) <= workers * makespan
    assert workers * makespan <= sum(ran) + (workers - 1) * max(ran)


@quick
@given(own=plain_settings, lasts=durations, ends=endings)
def test_without_retries_there_are_as_many_attempts_as_tasks(
    own: CoreSettings, lasts: list[int], ends: list[str]
) -> None:
    log = play(replace(own, max_retries=0), batch(lasts, ends))
    started = [told.task for _, told in log if isinstance(told, r.StartAttempt)]
    assert sorted(started) == list(range(1, len(lasts) + 1))
    assert not any(isinstance(told, r.DelayTask) for _, told in log)


@quick
@given(own=plain_settings, lasts=durations, ends=endings)
def test_without_a_timeout_there_are_no_timeouts(
    own: CoreSettings, lasts: list[int], ends: list[str]
) -> None:
    log = play(replace(own, timeout_ns=None), batch(lasts, ends))
    assert not any(isinstance(told, r.AbandonAttempt | r.DropResult) for _, told in log)
    outcomes = [told.outcome for _, told in log if isinstance(told, r.FinishTask)]
    assert len(outcomes) == len(lasts)
    assert "timeout" not in outcomes


@quick
@given(own=plain_settings, work=works())
def test_little_s_law_holds_exactly(own: CoreSettings, work: Work) -> None:
    """Invariant 28: L = lambda * W, in all and for each state, over a closed log.

    Both sides times the length of the log: the area under the number of tasks in a state is the sum
    of the times that tasks spent there.
    """
    core = Listening(own)
    log = play(own, work, core=core)
    area = dict.fromkeys(TaskState, 0)
    for before, after in pairwise(core.steps):
        for state, count in before[4].items():
            area[state] += count * (after[0] - before[0])
    ends = [(at, told) for at, told in log if isinstance(told, r.FinishTask)]
    assert len(ends) == len(work.arrivals)
    assert area[TaskState.READY] == sum(told.queued_ns for _, told in ends)
    assert area[TaskState.RUNNING] == sum(told.running_ns for _, told in ends)
    assert area[TaskState.DELAYED] == sum(told.delayed_ns for _, told in ends)
    stayed = sum(at - told.submitted_at_ns for at, told in ends)
    assert stayed == sum(area[state] for state in LIVE)
