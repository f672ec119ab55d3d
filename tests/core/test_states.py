"""Every cell of the transition table, on a real core.

Task 1 has always lost its first attempt to its timeout, so that a late result can come in every
state. Its times: started at 0, timed out at 10, backoff until 15, second attempt until 25.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from runtime.core import records as r
from runtime.core.errors import InvalidTransition
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import ILLEGAL, NEXT, TABLE, TERMINAL, Cause, Ignored, Illegal, TaskState
from tests.core.helpers import failed, ok, snapshot

S, C = TaskState, Cause
CELLS: Final = [(state, cause) for state in TaskState for cause in Cause]
#: Causes that come from a stimulus; the others are the core's own timers and rules.
STIMULI: Final[dict[Cause, Callable[[int], r.Stimulus]]] = {
    C.SUCCEEDED: lambda at: ok(1, 2, at),
    C.FAILED_RETRYABLE: lambda at: failed(1, 2, at),
    C.FAILED_FINALLY: lambda at: failed(1, 2, at, retryable=False),
    C.CANCEL_REQUESTED: lambda _: r.CancelRequested(1),
    C.ABORT_REQUESTED: lambda _: r.AbortRequested(),
    C.LATE_COMPLETION: lambda at: ok(1, 1, at),
}
#: Legal cells that nothing leads to.
NEVER_REACHED: Final = {
    (S.DELAYED, C.DEADLINE_PASSED): "a retry that would pass the deadline is never delayed, so "
    "the backoff of a delayed task elapses before its deadline passes",
}


def driven(state: TaskState, *, retries: int = 2, deadline_at_ns: int | None = None) -> Core:
    """A core with task 1 in a state."""
    own = CoreSettings(
        max_workers=1, timeout_ns=10, backoff_base_ns=5, backoff_max_ns=5, max_abandoned=1
    )
    core = Core(own, record="all")
    if state == S.TIMED_OUT:
        deadline_at_ns = 16
    core.handle(0, r.TaskSubmitted(1, max_retries=retries, deadline_at_ns=deadline_at_ns))
    core.handle(10, r.TimeElapsed())
    if state in (S.READY, S.TIMED_OUT):
        core.handle(11, r.TaskSubmitted(2, timeout_ns=None))  # takes the only slot
    if state == S.CANCELLED:
        core.handle(11, r.CancelRequested(1))
    elif state != S.DELAYED:
        core.handle(15, r.TimeElapsed())
    if state == S.SUCCEEDED:
        core.handle(16, ok(1, 2, 16))
    elif state == S.FAILED:
        core.handle(16, failed(1, 2, 16, retryable=False))
    elif state == S.TIMED_OUT:
        core.handle(16, r.TimeElapsed())
    core.take_transitions()
    assert core.state(1) == state
    return core


def moves_of_task_1(core: Core) -> list[tuple[TaskState | None, Cause | None, TaskState]]:
    return [(t.before, t.cause, t.after) for t in core.take_transitions() if t.task == 1]


@pytest.mark.parametrize(
    ("state", "cause"),
    [cell for cell in CELLS if cell not in NEVER_REACHED],
    ids=lambda value: value.name,
)
def test_a_cell(state: TaskState, cause: Cause) -> None:
    cell = TABLE[state][cause]
    if isinstance(cell, Illegal):
        assert NEXT[state][cause] == ILLEGAL
        if cause in STIMULI:
            _the_core_refuses(state, cause)
        elif state in TERMINAL:
            _nothing_moves_any_more(state)
        else:
            _only_a_bug_leads_there(state, cause)
    elif isinstance(cell, Ignored):
        assert NEXT[state][cause] == state
        _nothing_changes(state, cause)
    else:
        assert NEXT[state][cause] == cell
        _it_moves(state, cause, cell)


def _the_core_refuses(state: TaskState, cause: Cause) -> None:
    core = driven(state)
    before = snapshot(core)
    with pytest.raises(InvalidTransition, match=f"task 1 is {state.name}"):
        core.handle(20, STIMULI[cause](20))
    assert snapshot(core) == before


def _nothing_moves_any_more(state: TaskState) -> None:
    """The task's timers died with it, and no free slot is for it."""
    core = driven(state)
    now = 20
    while (due := core.next_deadline_ns()) is not None:
        now = max(now, due)
        core.handle(now, r.TimeElapsed())
    if core.running():
        core.handle(now, ok(2, 1, now))
    assert core.busy == 0
    core.handle(now + 1_000, r.TimeElapsed())
    assert moves_of_task_1(core) == []
    assert core.state(1) == state


def _only_a_bug_leads_there(state: TaskState, cause: Cause) -> None:
    """No stimulus can say it; were the core to think so, it would stop."""
    core = driven(state)
    before = snapshot(core)
    task = core.task(1)
    assert task is not None
    with pytest.raises(AssertionError, match=f"{state.name} x {cause.name} has no next state"):
        core._move(task, cause)
    assert snapshot(core) == before


def _nothing_changes(state: TaskState, cause: Cause) -> None:
    core = driven(state)
    before = snapshot(core)
    task = core.task(1)
    told = None if task is None else (task.attempt, task.slot, task.ready_at_ns, task.due_at_ns)
    now = core._now
    out = core.handle(now, STIMULI[cause](now))
    assert core.state(1) == state
    task = core.task(1)
    assert told == (
        None if task is None else (task.attempt, task.slot, task.ready_at_ns, task.due_at_ns)
    )
    if cause == C.LATE_COMPLETION:
        assert out == [r.DropResult(1, 1)]
        assert moves_of_task_1(core) == [(state, cause, state)]
        assert core.abandoned == 0
        return
    assert out == []
    if state in TERMINAL:
        assert snapshot(core) == before
    assert moves_of_task_1(core) == []


def _it_moves(state: TaskState, cause: Cause, after: TaskState) -> None:
    finally_ = cause == C.TIMED_OUT_FINALLY
    deadline = 20 if cause == C.DEADLINE_PASSED else None
    core = driven(state, retries=1 if finally_ else 2, deadline_at_ns=deadline)
    if cause in STIMULI:
        now = core._now
        core.handle(now, STIMULI[cause](now))
    elif cause == C.STARTED:
        core.handle(20, ok(2, 1, 20))
    elif cause == C.BACKOFF_ELAPSED:
        # stops at READY only where the slot is taken
        core.handle(14, r.TaskSubmitted(2, timeout_ns=None))
        core.handle(15, r.TimeElapsed())
    else:
        core.handle({C.DEADLINE_PASSED: 20}.get(cause, 25), r.TimeElapsed())
    assert moves_of_task_1(core) == [(state, cause, after)]
    assert core.state(1) == after


def test_a_running_task_that_was_aborted_is_not_retried() -> None:
    core = driven(S.RUNNING)
    core.handle(20, r.AbortRequested())
    (end,) = core.handle(21, failed(1, 2, 21))
    assert isinstance(end, r.FinishTask)
    assert (end.outcome, end.reason) == ("error", "retries exhausted")


@pytest.mark.parametrize("woken_at", [19, 20, 21, 1_000])
def test_a_delayed_task_never_meets_its_deadline(woken_at: int) -> None:
    """However late the wake, the backoff elapses first; the deadline then ends a ready task."""
    core = driven(S.DELAYED, deadline_at_ns=20)
    core.handle(woken_at, r.TimeElapsed())
    assert moves_of_task_1(core)[0] == (S.DELAYED, C.BACKOFF_ELAPSED, S.READY)
    assert (S.DELAYED, C.DEADLINE_PASSED) in NEVER_REACHED


@pytest.mark.parametrize("deadline", [11, 14, 15])
def test_a_retry_that_would_reach_its_deadline_is_no_retry(deadline: int) -> None:
    core = Core(CoreSettings(max_workers=1, timeout_ns=10, backoff_base_ns=5, backoff_max_ns=5))
    core.handle(0, r.TaskSubmitted(1, max_retries=2, deadline_at_ns=deadline))
    _, end = core.handle(10, r.TimeElapsed())
    assert isinstance(end, r.FinishTask)
    assert (end.outcome, end.reason) == ("timeout", "retry would pass the deadline")


def test_the_table_is_total() -> None:
    assert [(state, cause) for state in TABLE for cause in TABLE[state]] == CELLS
    for state in TERMINAL:
        assert not any(isinstance(cell, TaskState) for cell in TABLE[state].values())
