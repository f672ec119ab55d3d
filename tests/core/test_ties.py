"""What happens first when several things happen at one instant.

Completion, timeout, cancel and abort, backoff elapsed, submission, dispatch; by task and attempt
within each. So it does not matter in which order a ``Simultaneous`` tells of them: each test tries
both.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from runtime.core import records as r
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState
from tests.core.helpers import failed, ok, together

Order = Callable[..., r.Simultaneous]
OWN = CoreSettings(
    max_workers=1,
    timeout_ns=10,
    max_retries=1,
    backoff_base_ns=5,
    backoff_max_ns=5,
    max_abandoned=2,
)


@pytest.fixture(params=["as told", "backwards"])
def at_once(request: pytest.FixtureRequest) -> Order:
    step = 1 if request.param == "as told" else -1
    return lambda *stimuli: together(*stimuli[::step])


def core_with(*tasks: r.TaskSubmitted, own: CoreSettings = OWN) -> Core:
    core = Core(own)
    for task in tasks:
        core.handle(0, task)
    return core


def brief(instructions: list[r.Instruction]) -> list[str]:
    """Instructions in a few words: kind, task, and what is told of an end."""
    words = []
    for told in instructions:
        match told:
            case r.StartAttempt():
                words.append(f"start {told.task}.{told.attempt}")
            case r.DelayTask():
                words.append(f"delay {told.task} until {told.until_ns}")
            case r.AbandonAttempt():
                words.append(f"abandon {told.task}.{told.attempt}")
            case r.FinishTask():
                words.append(f"finish {told.task}: {told.reason or told.outcome}")
            case r.DropResult():
                words.append(f"drop {told.task}.{told.attempt}")
            case r.StopWorkers():
                words.append("stop")
    return words


# ---------------------------------------------------------------- completion is first


def test_a_result_on_its_timeout_is_in_time() -> None:
    core = core_with(r.TaskSubmitted(1))
    assert brief(core.handle(10, ok(1, 1, 10))) == ["finish 1: ok"]


def test_a_failure_on_its_timeout_is_a_failure() -> None:
    core = core_with(r.TaskSubmitted(1))
    (delay,) = core.handle(10, failed(1, 1, 10))
    assert isinstance(delay, r.DelayTask)
    assert delay.reason == "error"


def test_a_result_a_nanosecond_later_is_late() -> None:
    core = core_with(r.TaskSubmitted(1))
    assert brief(core.handle(11, ok(1, 1, 11))) == ["abandon 1.1", "delay 1 until 16", "drop 1.1"]


def test_a_result_on_the_task_s_deadline_is_in_time() -> None:
    core = core_with(r.TaskSubmitted(1, deadline_at_ns=7))
    assert brief(core.handle(7, ok(1, 1, 7))) == ["finish 1: ok"]


def test_completion_before_cancel(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1))
    assert brief(core.handle(3, at_once(ok(1, 1, 3), r.CancelRequested(1)))) == ["finish 1: ok"]


def test_a_failure_before_cancel(at_once: Order) -> None:
    """The retry that the failure asks for is what the cancel stops."""
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(3, at_once(failed(1, 1, 3), r.CancelRequested(1)))
    assert brief(told) == ["delay 1 until 8", "finish 1: cancelled"]


def test_a_failure_before_abort(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(3, at_once(failed(1, 1, 3), r.AbortRequested()))
    assert brief(told) == ["delay 1 until 8", "finish 1: aborted"]


def test_completion_before_drain(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(3, at_once(ok(1, 1, 3), r.DrainRequested()))
    assert brief(told) == ["finish 1: ok", "stop"]


def test_completion_before_submission(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(3, at_once(ok(1, 1, 3), r.TaskSubmitted(2)))
    assert brief(told) == ["finish 1: ok", "start 2.1"]


def test_completion_before_backoff_elapsed() -> None:
    """The slot is free by the time the retry wants one."""
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2))
    core.handle(3, failed(1, 1, 3))  # task 2 takes the slot, task 1 is back at 8
    assert brief(core.handle(8, ok(2, 1, 8))) == ["finish 2: ok", "start 1.2"]


def test_completions_by_task(at_once: Order) -> None:
    own = CoreSettings(max_workers=2)
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2), own=own)
    told = core.handle(3, at_once(ok(1, 1, 3), ok(2, 1, 3)))
    assert brief(told) == ["finish 1: ok", "finish 2: ok"]


def test_completions_of_one_task_by_attempt(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1))
    core.handle(10, r.TimeElapsed())
    core.handle(15, r.TimeElapsed())
    told = core.handle(16, at_once(ok(1, 1, 16), ok(1, 2, 16)))
    assert brief(told) == ["drop 1.1", "finish 1: ok"]


# ---------------------------------------------------------------- then timeouts and deadlines


def test_timeout_before_cancel() -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(10, r.CancelRequested(1))
    assert brief(told) == ["abandon 1.1", "delay 1 until 15", "finish 1: cancelled"]
    assert isinstance(told[0], r.AbandonAttempt)
    assert told[0].outcome == "timeout"


def test_timeout_before_abort() -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(10, r.AbortRequested())
    assert brief(told) == ["abandon 1.1", "delay 1 until 15", "finish 1: aborted"]


def test_deadline_before_cancel() -> None:
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2, deadline_at_ns=7))
    assert brief(core.handle(7, r.CancelRequested(2))) == ["finish 2: deadline passed"]


def test_deadline_before_abort() -> None:
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2, deadline_at_ns=7))
    assert brief(core.handle(7, r.AbortRequested())) == ["finish 2: deadline passed"]


def test_deadline_before_dispatch() -> None:
    """The slot falls free on the deadline of the task that waits for it: it is not started."""
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2, deadline_at_ns=7))
    told = core.handle(7, ok(1, 1, 7))
    assert brief(told) == ["finish 1: ok", "finish 2: deadline passed"]


def test_timeout_before_the_same_task_s_deadline() -> None:
    core = core_with(r.TaskSubmitted(1, deadline_at_ns=10))
    told = core.handle(10, r.TimeElapsed())
    assert brief(told) == ["abandon 1.1", "finish 1: retry would pass the deadline"]


def test_timeout_before_backoff_elapsed() -> None:
    """The abandoned attempt's slot goes to the retry that is due."""
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2, timeout_ns=5))
    core.handle(3, failed(1, 1, 3))  # task 2 runs from 3 to 8, task 1 is back at 8
    told = core.handle(8, r.TimeElapsed())
    assert brief(told) == ["abandon 2.1", "delay 2 until 13", "start 1.2"]


def test_timeouts_by_due_instant_then_by_task() -> None:
    own = CoreSettings(max_workers=3)
    late = [r.TaskSubmitted(n, timeout_ns=limit) for n, limit in ((1, 6), (2, 5), (3, 6))]
    core = core_with(*reversed(late), own=own)
    told = brief(core.handle(9, r.TimeElapsed()))
    assert [word for word in told if word.startswith("abandon")] == [
        "abandon 2.1",
        "abandon 1.1",
        "abandon 3.1",
    ]


# ---------------------------------------------------------------- then cancel, abort, drain


@pytest.mark.parametrize(
    ("stop", "reason"), [(r.CancelRequested(1), "cancelled"), (r.AbortRequested(), "aborted")]
)
def test_cancel_and_abort_before_backoff_elapsed(stop: r.SimultaneousPart, reason: str) -> None:
    """The task ends in its backoff: it is not made ready first."""
    core = core_with(r.TaskSubmitted(1))
    core.handle(3, failed(1, 1, 3))
    core.record("all")
    (end,) = core.handle(8, stop)
    assert isinstance(end, r.FinishTask)
    assert (end.reason, end.delayed_ns, end.attempts) == (reason, 5, 1)
    (ended,) = core.take_transitions()
    assert ended.before == TaskState.DELAYED


def test_abort_before_submission(at_once: Order) -> None:
    """What is submitted with an abort is not what the abort is about."""
    core = core_with()
    told = core.handle(3, at_once(r.TaskSubmitted(1), r.AbortRequested()))
    assert brief(told) == ["start 1.1"]


def test_drain_before_submission(at_once: Order) -> None:
    core = core_with()
    told = core.handle(3, at_once(r.TaskSubmitted(1), r.DrainRequested()))
    assert brief(told) == ["finish 1: submitted while draining", "stop"]


def test_cancel_before_dispatch(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2))
    told = core.handle(3, at_once(ok(1, 1, 3), r.CancelRequested(2)))
    assert brief(told) == ["finish 1: ok", "finish 2: cancelled"]


def test_abort_before_cancel(at_once: Order) -> None:
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2))
    told = core.handle(3, at_once(r.AbortRequested(), r.CancelRequested(2)))
    assert brief(told) == ["finish 2: aborted"]


def test_cancels_by_task(at_once: Order) -> None:
    core = core_with(*(r.TaskSubmitted(n) for n in (1, 2, 3)))
    told = core.handle(3, at_once(r.CancelRequested(2), r.CancelRequested(3)))
    assert brief(told) == ["finish 2: cancelled", "finish 3: cancelled"]


def test_one_cancel_told_twice_is_one() -> None:
    core = core_with(r.TaskSubmitted(1))
    told = core.handle(3, together(r.CancelRequested(1), r.CancelRequested(1)))
    assert brief(told) == ["abandon 1.1", "finish 1: cancelled"]


# ---------------------------------------------------------------- then backoffs, submissions


def test_backoff_elapsed_before_submission() -> None:
    core = core_with(r.TaskSubmitted(1))
    core.handle(3, failed(1, 1, 3))
    assert brief(core.handle(8, r.TaskSubmitted(2))) == ["start 1.2"]


def test_backoffs_by_due_instant_then_by_task() -> None:
    own = CoreSettings(max_workers=3, max_retries=1, backoff_base_ns=5, backoff_max_ns=5)
    core = core_with(*(r.TaskSubmitted(n) for n in (1, 2, 3)), own=own)
    core.handle(3, failed(3, 1, 3))
    core.handle(4, failed(2, 1, 4))
    core.handle(4, failed(1, 1, 4))
    told = core.handle(20, r.TimeElapsed())
    assert brief(told) == ["start 3.2", "start 1.2", "start 2.2"]


def test_submissions_by_task(at_once: Order) -> None:
    core = core_with()
    told = core.handle(3, at_once(r.TaskSubmitted(1), r.TaskSubmitted(2)))
    assert brief(told) == ["start 1.1"]


def test_submission_before_dispatch(at_once: Order) -> None:
    """A better task that comes now starts before a worse one that has waited."""
    core = core_with(r.TaskSubmitted(1), r.TaskSubmitted(2, priority=5))
    told = core.handle(3, at_once(ok(1, 1, 3), r.TaskSubmitted(3, priority=1)))
    assert brief(told) == ["finish 1: ok", "start 3.1"]


def test_a_task_submitted_on_its_deadline_is_never_started() -> None:
    core = core_with()
    told = core.handle(3, r.TaskSubmitted(1, deadline_at_ns=3))
    assert brief(told) == ["finish 1: deadline passed"]


# ---------------------------------------------------------------- all of it


def test_one_instant_of_everything_in_every_order_of_arrival() -> None:
    """Completions, a timeout, a cancel, a backoff and a submission, in each of the 24 orders."""
    own = CoreSettings(
        max_workers=3,
        timeout_ns=8,
        max_retries=1,
        backoff_base_ns=5,
        backoff_max_ns=5,
        max_abandoned=2,
    )
    parts = (
        failed(4, 1, 8, retryable=False),
        ok(2, 1, 8),
        r.CancelRequested(5),
        r.TaskSubmitted(6, priority=-1),
    )
    for order in permutations(parts):
        core = core_with(*(r.TaskSubmitted(n) for n in (1, 2, 3, 4, 5)), own=own)
        core.handle(3, failed(1, 1, 3))  # task 4 takes its slot, task 1 is back at 8
        assert brief(core.handle(8, together(*order))) == [
            "finish 2: ok",
            "finish 4: not retryable",
            "abandon 3.1",
            "delay 3 until 13",
            "finish 5: cancelled",
            "start 6.1",
            "start 1.2",
        ]


def test_nothing_at_once_is_a_wake() -> None:
    core = core_with(r.TaskSubmitted(1))
    assert core.handle(3, together()) == []
    assert brief(core.handle(10, together())) == ["abandon 1.1", "delay 1 until 15"]
