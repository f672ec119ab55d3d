"""The ready order: lower priority first, then first ready; and how long ageing lets one wait."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.ready import ReadyOrder
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState
from runtime.core.task import Task
from tests.core.helpers import ok, together

CANCELLED, RUNNING = int(TaskState.CANCELLED), int(TaskState.RUNNING)


def waiting(number: int, priority: int = 0, ready_at_ns: int = 0) -> Task:
    spec = r.TaskSubmitted(number, priority=priority)
    return Task(spec, None, 0, ready_at_ns, ready_at_ns)


def order_of(tasks: list[Task], ageing_ns: int | None = None) -> list[int]:
    ready = ReadyOrder(ageing_ns)
    for task in tasks:
        ready.push(task)
    return [ready.pop().spec.task for _ in range(len(ready))]


def test_lower_priority_number_first_then_first_ready() -> None:
    tasks = [waiting(1, 5), waiting(2, -1), waiting(3, 5), waiting(4, 0), waiting(5, -1)]
    assert order_of(tasks) == [2, 5, 4, 1, 3]


def test_without_ageing_waiting_is_worth_nothing() -> None:
    assert order_of([waiting(1, 1, 0), waiting(2, 0, 10**15)]) == [2, 1]


@pytest.mark.parametrize(("younger_by", "first"), [(9, 2), (10, 2), (11, 1)])
def test_with_ageing_one_step_of_priority_is_worth_its_waiting(younger_by: int, first: int) -> None:
    """Two that are even go by their priority."""
    assert order_of([waiting(1, 1, 0), waiting(2, 0, younger_by)], ageing_ns=10)[0] == first


def test_with_ageing_and_one_priority_it_is_first_in_first_out() -> None:
    assert order_of([waiting(n, 3, n // 2) for n in range(1, 20)], ageing_ns=7) == [*range(1, 20)]


def test_nobody_waits() -> None:
    ready = ReadyOrder(None)
    assert len(ready) == 0
    with pytest.raises(IndexError):
        ready.pop()


def test_more_priorities_than_are_kept_for_reuse() -> None:
    tasks = [waiting(n, priority=-n) for n in range(1, 200)]
    assert order_of(tasks) == list(range(199, 0, -1))
    assert order_of(tasks, ageing_ns=1) == list(range(199, 0, -1))


@pytest.mark.parametrize("ageing_ns", [None, 3])
def test_who_ends_while_waiting_is_passed_over(ageing_ns: int | None) -> None:
    """Enough of them that they are swept out, and some that are not."""
    ready = ReadyOrder(ageing_ns)
    tasks = [waiting(n, priority=n % 5, ready_at_ns=n) for n in range(1, 401)]
    for task in tasks:
        ready.push(task)
    for task in tasks:
        if task.spec.task % 7:
            task.state = CANCELLED
            ready.discard_one()
    kept = [task for task in tasks if task.spec.task % 7 == 0]
    assert len(ready) == len(kept)
    assert sorted(task.spec.task for task in ready) == [task.spec.task for task in kept]
    expected = sorted(kept, key=lambda task: (*ready.key(task), task.spec.task))
    assert [ready.pop() for _ in kept] == expected
    assert len(ready) == 0


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    ageing_ns=st.none() | st.integers(0, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["push", "push", "pop", "end"]), st.integers(-2, 2)),
        max_size=120,
    ),
)
def test_it_is_the_smallest_written_key_that_starts(
    ageing_ns: int | None, steps: list[tuple[str, int]]
) -> None:
    ready = ReadyOrder(ageing_ns)
    line: list[Task] = []
    for number, (step, value) in enumerate(steps, 1):
        if step == "push":
            line.append(waiting(number, priority=value, ready_at_ns=number // 3))
            ready.push(line[-1])
        elif line and step == "pop":
            first = min(line, key=ready.key)  # of equals the first in line
            assert ready.pop() is first
            first.state = RUNNING
            line.remove(first)
        elif line:
            ended = line.pop(value % len(line))
            ended.state = CANCELLED
            ready.discard_one()
        assert len(ready) == len(line)


# ---------------------------------------------------------------- the ageing bound (invariant 23)


def starts_under_a_flood(ageing_ns: int | None, until_ns: int) -> dict[int, int]:
    """One slot, tasks of 10, a better task every 10, and task 2 with priority 4 from 0 on."""
    core = Core(CoreSettings(max_workers=1, ageing_ns=ageing_ns))
    starts: dict[int, int] = {}
    out = core.handle(0, together(r.TaskSubmitted(1), r.TaskSubmitted(2, priority=4)))
    number = 2
    for now in range(0, until_ns, 10):
        if now:
            number += 1
            (runs,) = core.running()
            out = core.handle(now, together(ok(runs, 1, now), r.TaskSubmitted(number)))
        starts.update({told.task: now for told in out if isinstance(told, r.StartAttempt)})
    return starts


def test_without_ageing_a_flood_starves() -> None:
    assert 2 not in starts_under_a_flood(None, 2_000)


@pytest.mark.parametrize("ageing_ns", [1, 5, 10, 15, 20, 40])
def test_with_ageing_a_flood_does_not_starve(ageing_ns: int) -> None:
    """Only what is ready within 4 steps of ageing can overtake; then the slot is its own."""
    started = starts_under_a_flood(ageing_ns, 2_000)[2]
    assert 4 * ageing_ns <= started <= 4 * ageing_ns + 10


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    ageing_ns=st.integers(1, 20),
    arrivals=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(1, 9)), min_size=2, max_size=25
    ),
)
def test_nobody_is_overtaken_by_who_comes_later_than_the_bound(
    ageing_ns: int, arrivals: list[tuple[int, int, int]]
) -> None:
    """B starts before A only if it is ready before (A's priority - B's) * ageing after A."""
    core = Core(CoreSettings(max_workers=1, ageing_ns=ageing_ns))
    ready_at: dict[int, tuple[int, int]] = {}
    lasts: dict[int, int] = {}
    order: list[int] = []
    to_come: list[tuple[int, r.SimultaneousPart]] = []
    now = 0
    for number, (gap, priority, duration) in enumerate(arrivals, 1):
        now += gap
        to_come.append((now, r.TaskSubmitted(number, priority=priority)))
        ready_at[number] = now, priority
        lasts[number] = duration
    while to_come:
        now = min(at for at, _ in to_come)
        told = [part for at, part in to_come if at == now]
        to_come = [(at, part) for at, part in to_come if at > now]
        for out in core.handle(now, together(*told)):
            if isinstance(out, r.StartAttempt):
                order.append(out.task)
                until = now + lasts[out.task]
                to_come.append((until, ok(out.task, 1, until)))
    assert sorted(order) == list(ready_at)
    for place, overtaken in enumerate(order):
        at, priority = ready_at[overtaken]
        for before in order[:place]:
            its, better = ready_at[before]
            assert its <= at + max(0, priority - better) * ageing_ns
