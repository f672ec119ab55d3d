"""Small worlds, searched to the end.

Bounds: 3 tasks, submitted together; 2 workers; 2 retries each, so 3 attempts; a timeout of 2, a
backoff of 1 and then 2 (or always 2); at most 0, 1 or 2 replaced attempts; in one world task 3 has
a deadline at 5. At each step every choice is tried:

* each running attempt succeeds, fails retryably, fails finally;
* the late result of each abandoned attempt comes in;
* time jumps to the next deadline;
* each task is cancelled (one cancel in a run), all are aborted (one abort in a run);
* in one world, with one retry, the pool is resized to 1 and to 3 workers (one resize in a run).

Two states are the same where nothing that decides the future tells them apart: instants count from
now, a slot is as good as another, and what a task has behind it is forgotten, but for its attempts.
The numbers of states and steps are pinned: a change that alters them alters what the core does.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from runtime.core import records as r
from runtime.core.invariants import check
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TABLE, Cause, Illegal, TaskState
from tests.core.helpers import failed, ok
from tests.core.test_states import NEVER_REACHED

TASKS: Final = (1, 2, 3)
RESIZES: Final = 1
LIMIT: Final = 60_000  # states; far from reached, so that a runaway ends
Cell = tuple[TaskState, Cause]


class World(NamedTuple):
    """What is searched, and how much of it there is."""

    max_abandoned: int
    backoff_base_ns: int
    deadline_at_ns: int | None
    states: int
    steps: int
    retries: int = 2
    resizes: tuple[int, ...] = ()


WORLDS: Final = [
    World(max_abandoned=0, backoff_base_ns=1, deadline_at_ns=None, states=8706, steps=49418),
    World(max_abandoned=1, backoff_base_ns=1, deadline_at_ns=None, states=25807, steps=159150),
    World(max_abandoned=2, backoff_base_ns=2, deadline_at_ns=5, states=22347, steps=134337),
    World(0, 1, None, states=13238, steps=79321, retries=1, resizes=(1, 3)),
]


class Used(NamedTuple):
    """What was used up on the way to a state."""

    cancels: bool = False
    aborts: bool = False
    resizes: int = 0

    def after(self, stimulus: r.Stimulus) -> Used:
        return Used(
            self.cancels or isinstance(stimulus, r.CancelRequested),
            self.aborts or isinstance(stimulus, r.AbortRequested),
            self.resizes + isinstance(stimulus, r.ResizeRequested),
        )


class Pickler(pickle.Pickler):
    """To find ``UNSET`` by its name, pickle looks through every module that is loaded, which takes
    ten times as long as all the rest of a core.
    """

    dispatch_table = copyreg.dispatch_table | {r.UnsetType: lambda _: (unset, ())}


def unset() -> r.UnsetType:
    return r.UNSET


def pickled(core: Core) -> bytes:
    out = io.BytesIO()
    Pickler(out, pickle.HIGHEST_PROTOCOL).dump(core)
    return out.getvalue()


class Node(NamedTuple):
    """A state of the search: a core, pickled, and what was used up on the way."""

    core: bytes
    used: Used


class Found(NamedTuple):
    states: int
    steps: int
    left: int  # states that were seen and not gone on from
    cells: set[Cell]


def canonical(core: Core) -> Any:
    """All that decides the future, with instants relative to now."""
    now = core._now
    tasks: list[Any] = []
    for number in TASKS:
        task = core.task(number)
        if task is None:
            tasks.append(core.state(number))
            continue
        deadline = task.spec.deadline_at_ns
        tasks.append(
            (
                task.state,
                task.attempt,
                task.retries_left,
                task.due_at_ns - now if task.state == TaskState.DELAYED else None,
                None if task.timeout_at_ns is None else task.timeout_at_ns - now,
                None if deadline is None else deadline - now,
            )
        )
    ready = [task.spec.task for task in core._ready]
    abandoned = sorted((number, slot < 0) for (number, _), slot in core._abandoned.items())
    return tuple(tasks), tuple(ready), tuple(abandoned), core.workers, core.busy + core.idle


def choices(core: Core, used: Used, world: World) -> Iterator[tuple[int, r.Stimulus]]:
    now = core._now
    for number in core.running():
        task = core.task(number)
        assert task is not None
        yield now, ok(number, task.attempt, now)
        yield now, failed(number, task.attempt, now)
        yield now, failed(number, task.attempt, now, retryable=False)
    for number, attempt in core._abandoned:
        yield now, ok(number, attempt, now)
    due = core.next_deadline_ns()
    if due is not None:
        yield due, r.TimeElapsed()
    if not used.cancels:
        for number in TASKS:
            yield now, r.CancelRequested(number)
    if not used.aborts:
        yield now, r.AbortRequested()
    if used.resizes < RESIZES:
        for workers in world.resizes:
            yield now, r.ResizeRequested(workers)


def ignored(core: Core, stimulus: r.Stimulus) -> Iterator[Cell]:
    """The cells that a cancel or an abort meets: where nothing changes, no transition tells."""
    if isinstance(stimulus, r.CancelRequested):
        state = core.state(stimulus.task)
        assert state is not None
        yield state, Cause.CANCEL_REQUESTED
    elif isinstance(stimulus, r.AbortRequested):
        for number in TASKS:
            state = core.state(number)
            assert state is not None
            yield state, Cause.ABORT_REQUESTED


def beginning(world: World) -> Core:
    own = CoreSettings(
        max_workers=2,
        timeout_ns=2,
        max_retries=world.retries,
        backoff_base_ns=world.backoff_base_ns,
        backoff_max_ns=2,
        max_abandoned=world.max_abandoned,
    )
    core = Core(own, record="all")
    for number in TASKS:
        deadline = world.deadline_at_ns if number == TASKS[-1] else None
        core.handle(0, r.TaskSubmitted(number, deadline_at_ns=deadline))
    core.take_transitions()
    return core


def search(world: World) -> Found:
    core = beginning(world)
    frontier = deque([Node(pickled(core), Used())])
    seen = {(canonical(core), Used())}
    cells: set[Cell] = set()
    steps = 0
    while frontier and len(seen) < LIMIT:
        node = frontier.popleft()
        before: Core = pickle.loads(node.core)
        for now, stimulus in choices(before, node.used, world):
            after: Core = pickle.loads(node.core)
            cells.update(ignored(after, stimulus))
            after.handle(now, stimulus)
            steps += 1
            for change in after.take_transitions():
                if change.before is not None and change.cause is not None:
                    cells.add((change.before, change.cause))
            used = node.used.after(stimulus)
            key = (canonical(after), used)
            if key not in seen:
                seen.add(key)
                sound(after, world)
                frontier.append(Node(pickled(after), used))
    return Found(len(seen), steps, len(frontier), cells)


def sound(core: Core, world: World) -> None:
    check(core)
    moves_on = core.running() or core.next_deadline_ns() is not None or core.abandoned
    assert moves_on or not core.live(), "tasks are left, and nothing will ever happen to them"


@pytest.mark.parametrize("world", WORLDS)
def test_a_small_world_is_searched_to_its_end(world: World) -> None:
    found = search(world)
    assert found.left == 0
    assert (found.states, found.steps) == (world.states, world.steps)
    assert found.cells == {
        (state, cause)
        for state, row in TABLE.items()
        for cause, cell in row.items()
        if not isinstance(cell, Illegal)
        and (state, cause) not in NEVER_REACHED
        and (cause != Cause.DEADLINE_PASSED or world.deadline_at_ns is not None)
    }, "every legal cell is met, and no other"
