"""More and fewer workers while a pool runs: what a resize brings, and what it leaves alone."""

from __future__ import annotations

import pytest

from runtime.core import Core, CoreSettings
from runtime.core import records as r
from runtime.core.errors import InvalidTransition
from runtime.core.invariants import Auditor, check
from runtime.core.states import TaskState
from tests.core.helpers import failed, ok, snapshot, together

RETRY_LATER = {"max_retries": 1, "backoff_base_ns": 50, "backoff_max_ns": 50}


class Audited(Core):
    """A core whose every step is verified."""

    def __init__(self, settings: CoreSettings) -> None:
        super().__init__(settings, record="all")
        self.auditor = Auditor(settings)

    def handle(self, now_ns: int, stimulus: r.Stimulus) -> list[r.Instruction]:
        out = super().handle(now_ns, stimulus)
        self.auditor.step(now_ns, stimulus, out, self.take_transitions())
        check(self)
        return out


def core_with(tasks: int, **own: int) -> Audited:
    core = Audited(CoreSettings(**own))
    for number in range(1, tasks + 1):
        core.handle(0, r.TaskSubmitted(number))
    return core


def starts(out: list[r.Instruction]) -> list[tuple[int, int]]:
    """Tasks that were started, with their slots."""
    return [(told.task, told.slot) for told in out if isinstance(told, r.StartAttempt)]


def retired(out: list[r.Instruction]) -> list[int]:
    return [told.slot for told in out if isinstance(told, r.RetireSlot)]


def test_more_workers_take_on_at_once_what_waits() -> None:
    core = core_with(5, max_workers=1)
    assert starts(core.handle(3, r.ResizeRequested(4))) == [(2, 1), (3, 2), (4, 3)]
    assert (core.workers, core.busy, core.idle, core.outstanding) == (4, 4, 0, 4)


def test_idle_workers_go_at_once_the_last_first() -> None:
    core = core_with(1, max_workers=4)
    assert core.handle(3, r.ResizeRequested(2)) == [r.RetireSlot(3), r.RetireSlot(2)]
    assert (core.workers, core.busy, core.idle) == (2, 1, 1)


def test_what_runs_is_left_to_finish_and_nothing_starts_until_fewer_run() -> None:
    core = core_with(6, max_workers=4)
    assert core.handle(3, r.ResizeRequested(2)) == []
    assert core.running() == [1, 2, 3, 4]
    for number, slot in ((2, 1), (4, 3)):
        out = core.handle(4, ok(number, 1, 4))
        assert (retired(out), starts(out)) == ([slot], [])
    assert starts(core.handle(5, ok(1, 1, 5))) == [(5, 0)]
    assert starts(core.handle(5, ok(3, 1, 5))) == [(6, 2)]


def test_a_task_that_runs_on_a_slot_too_many_still_times_out_and_is_retried() -> None:
    core = core_with(3, max_workers=3, timeout_ns=10, max_abandoned=3, **RETRY_LATER)
    core.handle(3, r.ResizeRequested(1))
    out = core.handle(10, r.TimeElapsed())
    assert [told.task for told in out if isinstance(told, r.DelayTask)] == [1, 2, 3]
    assert retired(out) == [2, 1]
    assert (core.busy, core.idle, core.outstanding) == (0, 1, 3)
    assert starts(core.handle(60, r.TimeElapsed())) == [(1, 0)]


def test_a_slot_that_an_abandoned_attempt_holds_goes_when_it_comes_home() -> None:
    core = core_with(3, max_workers=2, timeout_ns=10)
    core.handle(10, r.TimeElapsed())
    assert (core.running(), core.abandoned) == ([], 2)
    assert core.handle(11, r.ResizeRequested(1)) == []
    out = core.handle(12, ok(2, 1, 12))
    assert (retired(out), starts(out)) == ([1], [])
    assert starts(core.handle(13, ok(1, 1, 13))) == [(3, 0)]


def test_more_again_before_they_have_gone_brings_nobody_new() -> None:
    core = core_with(4, max_workers=4)
    core.handle(1, r.ResizeRequested(1))
    assert core.handle(2, r.ResizeRequested(4)) == []
    assert core.running() == [1, 2, 3, 4]
    assert retired(core.handle(3, ok(1, 1, 3))) == []


def test_slots_come_back_the_first_of_those_that_went_first() -> None:
    core = core_with(4, max_workers=4)
    core.handle(1, r.ResizeRequested(1))
    for number in (1, 2, 3):
        core.handle(2, ok(number, 1, 2))
    assert core.running() == [4]  # on slot 3, the last: slots 0 to 2 are out of service
    for number in range(5, 9):
        core.handle(3, r.TaskSubmitted(number))
    assert starts(core.handle(4, r.ResizeRequested(5))) == [(5, 0), (6, 1), (7, 2), (8, 4)]


def test_a_pool_that_was_large_for_a_while_looks_at_no_more_slots_than_it_has() -> None:
    """Timers look at every slot, so those at the end that are out of service are forgotten."""
    core = core_with(1, max_workers=1)
    core.handle(1, r.ResizeRequested(50_000))
    assert len(core.handle(2, r.ResizeRequested(1))) == 49_999
    assert (len(core._slots), core._retired) == (1, [])


def test_as_many_as_there_are_is_nothing() -> None:
    core = core_with(3, max_workers=2)
    before = snapshot(core)
    assert core.handle(0, r.ResizeRequested(2)) == []
    assert core.resizes == []
    assert snapshot(core) == before


def test_of_two_at_one_instant_the_last_one_told_holds() -> None:
    core = core_with(9, max_workers=1)
    assert len(starts(core.handle(3, together(r.ResizeRequested(7), r.ResizeRequested(2))))) == 1
    assert core.workers == 2
    # a slot that came and went in one instant was free all the time
    assert core.idle == 0


def test_a_result_of_the_same_instant_comes_before_it() -> None:
    core = core_with(3, max_workers=2)
    out = core.handle(3, together(r.ResizeRequested(1), ok(1, 1, 3)))
    assert (retired(out), starts(out)) == ([0], [])
    assert core.running() == [2]


def test_what_is_submitted_at_the_same_instant_comes_after_it() -> None:
    core = core_with(1, max_workers=1)
    out = core.handle(3, together(r.TaskSubmitted(2), r.ResizeRequested(2)))
    assert starts(out) == [(2, 1)]


def test_a_pool_that_is_drained_can_be_given_more() -> None:
    core = core_with(3, max_workers=1)
    core.handle(1, r.DrainRequested())
    assert starts(core.handle(2, r.ResizeRequested(3))) == [(2, 1), (3, 2)]
    for number in (1, 2, 3):
        out = core.handle(3, ok(number, 1, 3))
    assert out[-1] == r.StopWorkers()
    assert core.handle(4, r.ResizeRequested(9)) == []


@pytest.mark.parametrize("workers", [0, -1])
@pytest.mark.parametrize("due", [False, True])
def test_no_workers_are_refused_without_a_trace(workers: int, due: bool) -> None:
    core = core_with(2, max_workers=1, timeout_ns=10)
    before = snapshot(core)
    with pytest.raises(InvalidTransition, match="at least 1 worker"):
        core.handle(10 if due else 5, r.ResizeRequested(workers))
    assert snapshot(core) == before


def test_it_moves_no_task_in_any_state() -> None:
    core = core_with(6, max_workers=2, timeout_ns=10, **RETRY_LATER)
    core.handle(1, failed(1, 1, 1))
    core.handle(1, ok(2, 1, 1))
    core.handle(1, r.CancelRequested(6))
    states = [core.state(number) for number in range(1, 7)]
    assert states == [
        TaskState.DELAYED,
        TaskState.SUCCEEDED,
        TaskState.RUNNING,
        TaskState.RUNNING,
        TaskState.READY,
        TaskState.CANCELLED,
    ]
    core.handle(2, r.ResizeRequested(1))
    assert [core.state(number) for number in range(1, 7)] == states
