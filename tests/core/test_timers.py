"""Time is pulled: early, late and repeated wakes change nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.invariants import check
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState
from tests.core.helpers import Work, failed, ok, plain_settings, play, snapshot, works

OWN = CoreSettings(
    max_workers=1,
    timeout_ns=10,
    max_retries=1,
    backoff_base_ns=5,
    backoff_max_ns=5,
    max_abandoned=1,
)


def started() -> Core:
    core = Core(OWN)
    core.handle(0, r.TaskSubmitted(1))
    return core


def but_for_time(core: Core) -> object:
    """All of a core but the instant of its last call and when it wants to be woken."""
    core._now = core.wake_at_ns = 0
    return snapshot(core)


@pytest.mark.parametrize("at_ns", [0, 1, 5, 9])
def test_an_early_wake_changes_nothing(at_ns: int) -> None:
    core, woken = started(), started()
    assert woken.handle(at_ns, r.TimeElapsed()) == []
    assert woken.next_deadline_ns() == core.next_deadline_ns() == 10
    assert woken.timers_fired == 0
    assert but_for_time(woken) == but_for_time(core)


def test_a_repeated_wake_changes_nothing() -> None:
    core = started()
    assert len(core.handle(10, r.TimeElapsed())) == 2
    before = snapshot(core)
    for _ in range(3):
        assert core.handle(10, r.TimeElapsed()) == []
        assert snapshot(core) == before


def test_a_late_wake_does_what_was_due_and_says_when() -> None:
    core = started()
    abandon, delay = core.handle(13, r.TimeElapsed())
    assert isinstance(abandon, r.AbandonAttempt)
    assert isinstance(delay, r.DelayTask)
    assert delay.until_ns == 18, "the backoff begins when the attempt is abandoned"
    assert core.next_deadline_ns() == 18


def test_what_was_due_earlier_happens_before_a_late_stimulus() -> None:
    core = started()
    core.handle(3, failed(1, 1, 3))
    (start,) = core.handle(30, r.TaskSubmitted(2))
    assert isinstance(start, r.StartAttempt)
    assert (start.task, start.attempt, start.timeout_at_ns) == (1, 2, 40)


def test_an_idle_core_waits_for_nothing() -> None:
    core = Core(OWN)
    assert core.next_deadline_ns() is None
    assert core.handle(1 << 62, r.TimeElapsed()) == []
    assert core.next_deadline_ns() is None


def test_a_wake_that_finds_nothing_due_is_not_asked_for_again() -> None:
    core = started()
    core.handle(5, ok(1, 1, 5))
    assert core.next_deadline_ns() == 10, "a bound from before the task ended"
    assert core.handle(10, r.TimeElapsed()) == []
    assert core.next_deadline_ns() is None
    assert core.timers_fired == 0


@pytest.mark.parametrize("at_ns", [10, 11, 1_000])
def test_the_timer_of_an_attempt_dies_with_it(at_ns: int) -> None:
    core = started()
    core.handle(5, ok(1, 1, 5))
    assert core.handle(at_ns, r.TimeElapsed()) == []
    assert core.state(1) == TaskState.SUCCEEDED


def test_a_retry_has_a_timer_of_its_own() -> None:
    core = started()
    core.handle(3, failed(1, 1, 3))
    (start,) = core.handle(8, r.TimeElapsed())
    assert isinstance(start, r.StartAttempt)
    assert start.timeout_at_ns == 18
    assert core.handle(10, r.TimeElapsed()) == []
    assert len(core.handle(18, r.TimeElapsed())) == 2


@settings(max_examples=250, derandomize=True, deadline=None)
@given(own=plain_settings, work=works(), wakes=st.lists(st.integers(0, 60), max_size=12))
def test_extra_wakes_change_no_instruction(own: CoreSettings, work: Work, wakes: list[int]) -> None:
    assert play(own, work, wakes) == play(own, work)


@pytest.mark.parametrize("kind", ["deadline", "backoff"])
def test_timers_of_ended_tasks_do_not_pile_up(kind: str) -> None:
    """Every tenth task is left; its timer fires as if the others had never been."""
    own = CoreSettings(max_workers=1, max_retries=1, backoff_base_ns=5_000, backoff_max_ns=5_000)
    core = Core(own)
    for number in range(1, 1_001):
        deadline = 10_000 + number if kind == "deadline" else None
        core.handle(number, r.TaskSubmitted(number, deadline_at_ns=deadline))
        if kind == "backoff":
            core.handle(number, failed(number, 1, number))
    for number in range(1, 1_001):
        if number % 10:
            core.handle(1_000, r.CancelRequested(number))
    check(core)
    assert len(core._deadlines) + len(core._backoffs) < 300
    fired_at = []
    while core.live():
        due = core.next_deadline_ns()
        assert due is not None
        for told in core.handle(due, r.TimeElapsed()):
            fired_at.append(due)
            if isinstance(told, r.StartAttempt):
                core.handle(due, ok(told.task, told.attempt, due))
    after = 10_000 if kind == "deadline" else 5_000
    assert fired_at == [after + number for number in range(10, 1_001, 10)]


def test_lines_of_ended_tasks_are_swept_out_whole() -> None:
    core = Core(CoreSettings(max_workers=1))
    for number in range(1, 202):
        core.handle(0, r.TaskSubmitted(number, priority=number % 2))
    for number in range(2, 202, 2):  # all of priority 0
        core.handle(0, r.CancelRequested(number))
    check(core)
    (_, start) = core.handle(1, ok(1, 1, 1))
    assert isinstance(start, r.StartAttempt)
    assert start.task == 3
