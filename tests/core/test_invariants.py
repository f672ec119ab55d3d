"""What verifies the core is verified itself: it lets right runs pass, and finds what is wrong.

``check`` is shown a core with one of its private fields put wrong, ``Auditor`` a run of which one
instruction or transition was left out, told twice or told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.invariants import Auditor, InvariantBroken, check
from runtime.core.ready import ReadyOrder
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import Cause, TaskState
from runtime.core.task import Task
from tests.core.helpers import (
    Listening,
    Work,
    failed,
    ok,
    plain_settings,
    play,
    snapshot,
    together,
    works,
)

replace = msgspec.structs.replace
Step = tuple[int, r.Stimulus, list[r.Instruction], list[r.Transition]]
OWN = CoreSettings(
    max_workers=2,
    timeout_ns=10,
    max_retries=2,
    backoff_base_ns=5,
    backoff_max_ns=20,
    max_abandoned=1,
)


def rich() -> Core:
    """A core with something of everything, at 12.

    Task 1 is in backoff after a timeout, its first attempt abandoned and replaced; task 2 is in
    backoff after a failure; 3 and 4 run, 5 to 7 wait, 8 has been cancelled and is stale, 9 is done.
    """
    core = Core(OWN)
    core.handle(0, r.TaskSubmitted(1))
    core.handle(1, r.TaskSubmitted(9))
    core.handle(2, ok(9, 1, 2))
    core.handle(3, r.TaskSubmitted(2))
    core.handle(9, failed(2, 1, 9, retry_after_ns=20))
    core.handle(9, r.TaskSubmitted(3))
    core.handle(9, together(*(r.TaskSubmitted(n) for n in (4, 5, 6, 8))))
    core.handle(9, r.TaskSubmitted(7, priority=3, deadline_at_ns=90))
    core.handle(9, r.CancelRequested(8))
    core.handle(12, r.TimeElapsed())
    assert [core.state(n) for n in (1, 2, 3, 4, 5, 9)] == [
        TaskState.DELAYED,
        TaskState.DELAYED,
        TaskState.RUNNING,
        TaskState.RUNNING,
        TaskState.READY,
        TaskState.SUCCEEDED,
    ]
    return core


def a_task(core: Core, number: int) -> Any:
    return core._tasks[number]


def put(number: int, **fields: Any) -> Callable[[Core], None]:
    def wrong(core: Core) -> None:
        for name, value in fields.items():
            setattr(a_task(core, number), name, value)

    return wrong


def let(name: str, value: Any) -> Callable[[Core], None]:
    """The core's own field, put to what a function makes of it."""
    return lambda core: setattr(core, name, value(getattr(core, name)))


def swap(line: Any) -> None:
    line[0], line[1] = line[1], line[0]


WRONG: dict[str, tuple[int, Callable[[Core], None]]] = {
    "a task is lost": (5, lambda core: core._tasks.pop(3)),
    "a waiting task is lost": (19, lambda core: core._tasks.pop(5)),
    "a fate says ended": (1, lambda core: core._fate.__setitem__(5, 5)),
    "a fate says live": (1, lambda core: core._fate.__setitem__(9, 1)),
    "a fate says nobody": (1, lambda core: core._fate.__setitem__(5, 0)),
    "a fate is none": (1, lambda core: core._fate.__setitem__(9, 99)),
    "task 0 is somebody": (1, lambda core: core._fate.__setitem__(0, 5)),
    "a live task has ended": (1, put(1, state=int(TaskState.FAILED))),
    "it is filed under another number": (19, put(1, spec=r.TaskSubmitted(2))),
    "a slot too many": (4, let("_slots", lambda slots: [*slots, None])),
    "a slot too many in service": (4, let("_in_service", lambda n: n + 1)),
    "more workers than slots": (4, let("workers", lambda n: n + 1)),
    "no workers": (4, let("workers", lambda _: 0)),
    "a slot is retired and taken": (
        5,
        lambda core: (core._retired.append(0), core._slots.append(None)),
    ),
    "a slot is free and taken": (5, let("_free", lambda free: [*free, 0])),
    "a slot is gone": (5, lambda core: core._slots.__setitem__(0, None)),
    "a task on two slots": (5, lambda core: core._slots.__setitem__(0, core._slots[1])),
    "a task on another's slot": (5, lambda core: swap(core._slots)),
    "it runs, and knows it not": (5, put(3, state=int(TaskState.READY))),
    "it thinks it runs": (5, put(5, state=int(TaskState.RUNNING), attempt=1, slot=0)),
    "more replaced than allowed": (
        4,
        lambda core: (core._abandoned.update({(2, 1): -1}), setattr(core, "_replaced", 2)),
    ),
    "replaced are miscounted": (19, let("_replaced", lambda n: n - 1)),
    "the live attempt is abandoned": (
        6,
        lambda core: (core._abandoned.clear(), core._abandoned.update({(3, 1): -1})),
    ),
    "nobody's attempt is abandoned": (
        6,
        lambda core: (core._abandoned.clear(), core._abandoned.update({(77, 1): -1})),
    ),
    "attempts beyond what is allowed": (7, put(3, attempt=4)),
    "a retry too many is left": (7, put(3, retries_left=3)),
    "fewer than no retries are left": (7, put(3, retries_left=-1)),
    "a retry was taken from one that waits": (7, put(1, retries_left=0)),
    "it runs no attempt": (7, put(3, attempt=0, retries_left=3)),
    "a limit from nowhere": (10, put(5, timeout_ns=99)),
    "a timeout not at start and limit": (10, put(3, timeout_at_ns=23)),
    "a running attempt without its timeout": (10, put(3, timeout_at_ns=None)),
    "a timeout of a task that waits": (10, put(5, timeout_at_ns=99)),
    "ready in the future": (16, put(7, ready_at_ns=13)),
    "started before it was submitted": (16, put(3, started_at_ns=1)),
    "a start that never was": (19, put(5, started_at_ns=9)),
    "negative time in the queue": (19, put(5, queued_ns=-1)),
    "a waiting task is in no line": (
        19,
        lambda core: (core._ready._fifos[0].remove(a_task(core, 5)),),
    ),
    "the ready are miscounted": (19, lambda core: setattr(core._ready, "live", 2)),
    "stale entries are miscounted": (19, lambda core: setattr(core._ready, "_stale", 0)),
    "a line out of order": (
        14,
        lambda core: (setattr(a_task(core, 5), "ready_at_ns", 10),),
    ),
    "a stranger in a line": (
        14,
        lambda core: core._ready._fifos[0].append(core._ready._fifos[3].pop()),
    ),
    "a head is missing": (19, lambda core: core._ready._heads.pop()),
    "the worse head first": (19, lambda core: swap(core._ready._heads)),
    "a backoff is not kept": (16, lambda core: core._backoffs.clear()),
    "a deadline is not kept": (16, lambda core: core._deadlines.clear()),
    "a deadline is kept twice": (16, lambda core: core._deadlines.append((90, 7))),
    "the backoffs are no heap": (19, lambda core: swap(core._backoffs)),
    "stale backoffs are miscounted": (19, let("_stale_backoffs", lambda n: n + 1)),
    "stale deadlines are miscounted": (19, let("_stale_deadlines", lambda n: n + 1)),
    "a wake too late": (16, let("wake_at_ns", lambda at: at + 1)),
    "no wake": (16, let("wake_at_ns", lambda _: 1 << 63)),
    "something was due": (16, let("_now", lambda _: 18)),
    "stopped with work left": (22, let("_stopped", lambda _: True)),
}


def test_a_rich_core_is_sound_and_check_leaves_it_so() -> None:
    core = rich()
    before = snapshot(core)
    check(core)
    assert snapshot(core) == before


@pytest.mark.parametrize("what", WRONG)
def test_check_finds(what: str) -> None:
    core = rich()
    number, make_wrong = WRONG[what]
    make_wrong(core)
    with pytest.raises(InvariantBroken) as broken:
        check(core)
    assert broken.value.number == number, str(broken.value)


def test_check_finds_an_order_that_gives_out_the_last_first() -> None:
    class LastFirst(ReadyOrder):
        __slots__ = ()

        def pop(self) -> Task:
            task = self._fifos[self._heads[0][1]].pop()
            self.live -= 1
            return task

    core = rich()
    core._ready.__class__ = LastFirst
    with pytest.raises(InvariantBroken, match="invariant 14: expected the order in which they st"):
        check(core)


def test_check_finds_a_free_slot_while_some_wait() -> None:
    core = rich()
    core.handle(13, r.TimeElapsed())
    slot = a_task(core, 4).slot
    core._slots[slot] = None
    core._free.append(slot)
    del core._tasks[4]
    core._fate[4] = 5
    with pytest.raises(InvariantBroken, match="invariant 15"):
        check(core)


def test_check_finds_a_drain_that_stopped_nobody() -> None:
    core = Core(OWN)
    core.handle(0, r.DrainRequested())
    core._stopped = False
    with pytest.raises(InvariantBroken, match="invariant 22"):
        check(core)


def test_what_is_broken_is_told_with_the_story() -> None:
    core = rich()
    a_task(core, 3).timeout_at_ns = 23
    with pytest.raises(InvariantBroken) as broken:
        check(core)
    told = str(broken.value)
    assert told.startswith("invariant 10: expected its timeout to be 19; found 23")
    assert "task 3 is RUNNING" in told
    assert broken.value.story == core.story(3)


# ---------------------------------------------------------------- runs


def steps_of(own: CoreSettings, told: list[tuple[int, r.Stimulus]]) -> list[Step]:
    core = Core(own, record="all")
    return [(at, what, core.handle(at, what), core.take_transitions()) for at, what in told]


def audit(own: CoreSettings, steps: list[Step], *, with_transitions: bool = False) -> None:
    auditor = Auditor(own)
    for at, what, out, changes in steps:
        auditor.step(at, what, out, changes if with_transitions else None)


def played(own: CoreSettings, work: Work) -> list[Step]:
    core = Listening(own)
    play(own, work, core=core)
    return [step[:4] for step in core.steps]


#: A run with every kind of instruction in it.
FULL: list[tuple[int, r.Stimulus]] = [
    (0, r.TaskSubmitted(1)),
    (0, r.TaskSubmitted(2, priority=1)),
    (0, r.TaskSubmitted(3, priority=2)),
    (0, r.TaskSubmitted(4, priority=1, deadline_at_ns=30)),
    (4, failed(2, 1, 4)),
    (9, r.TimeElapsed()),
    (10, r.TimeElapsed()),
    (12, ok(1, 1, 12)),
    (12, r.CancelRequested(4)),
    (15, r.TimeElapsed()),
    (16, together(r.AbortRequested(), r.TaskSubmitted(5))),
    (17, failed(3, 1, 17, retryable=False)),
    (18, r.CancelRequested(3)),
    (19, r.TimeElapsed()),
    (19, r.ResizeRequested(1)),
    (20, r.DrainRequested()),
    (21, r.TaskSubmitted(6)),
]


def test_a_full_run_passes_and_has_every_kind_of_instruction() -> None:
    core = Core(OWN, record="all")
    auditor = Auditor(OWN)
    kinds: list[type] = []
    for at, what in FULL:
        out = core.handle(at, what)
        auditor.step(at, what, out, core.take_transitions())
        check(core)
        kinds += [type(told) for told in out]
    now = 22
    while core.live() or core.abandoned:
        busy = [(n, core._tasks[n].attempt) for n in core.running()] + list(core._abandoned)
        due = core.next_deadline_ns()
        what = ok(*busy[-1], now) if busy else r.TimeElapsed()
        now = now if busy or due is None else max(now, due)
        out = core.handle(now, what)
        auditor.step(now, what, out, core.take_transitions())
        kinds += [type(told) for told in out]
    assert sorted({kind.__name__ for kind in kinds}) == [
        "AbandonAttempt",
        "DelayTask",
        "DropResult",
        "FinishTask",
        "RetireSlot",
        "StartAttempt",
        "StopWorkers",
    ]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(own=plain_settings, work=works())
def test_right_runs_pass(own: CoreSettings, work: Work) -> None:
    audit(own, played(own, work), with_transitions=True)


def otherwise(told: Any, name: str) -> Any:
    """A record with one field changed to what it is not."""
    value = getattr(told, name)
    if isinstance(value, bool):
        return replace(told, **{name: not value})
    if value is None or isinstance(value, int):
        return replace(told, **{name: 1 if value is None else value + 1})
    other = {
        "outcome": ["ok", "error", "timeout", "cancelled"],
        "reason": ["error", "timeout", "not retryable", "deadline passed", "cancelled", "aborted"],
    }[name]
    return replace(told, **{name: next(word for word in other if word != value)})


@settings(max_examples=300, derandomize=True, deadline=None)
@given(own=plain_settings, work=works(), data=st.data())
def test_an_instruction_left_out_told_twice_or_otherwise_is_found(
    own: CoreSettings, work: Work, data: st.DataObject
) -> None:
    steps = played(own, work)
    places = [(i, j) for i, (_, _, out, _) in enumerate(steps) for j in range(len(out))]
    assume(places)
    i, j = data.draw(st.sampled_from(places))
    at, what, out, changes = steps[i]
    told: Any = out[j]
    fields = [*told.__struct_fields__]
    if isinstance(told, r.StartAttempt):
        fields.remove("slot")  # which of the free slots it is, nobody promises
    how = data.draw(st.sampled_from(["left out", "twice", *fields]))
    instead = (
        {"left out": [], "twice": [told, told]}.get(how)
        if how in ("left out", "twice")
        else [otherwise(told, how)]
    )
    assert instead is not None
    steps[i] = at, what, [*out[:j], *instead, *out[j + 1 :]], changes
    with pytest.raises(InvariantBroken):
        audit(own, steps)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(own=plain_settings, work=works(), data=st.data())
def test_a_transition_left_out_told_twice_or_otherwise_is_found(
    own: CoreSettings, work: Work, data: st.DataObject
) -> None:
    steps = played(own, work)
    places = [(i, j) for i, step in enumerate(steps) for j in range(len(step[3]))]
    i, j = data.draw(st.sampled_from(places))
    at, what, out, changes = steps[i]
    told = changes[j]
    how = data.draw(st.sampled_from(["left out", "twice", "at_ns", "task", "before", "after"]))
    states = list(TaskState)
    instead: list[Any]
    if how == "left out":
        instead = []
    elif how == "twice":
        instead = [told, told]
    elif how in ("at_ns", "task"):
        instead = [replace(told, **{how: getattr(told, how) + 50})]
    else:
        state = getattr(told, how)
        instead = [replace(told, **{how: states[0 if state is None else (state + 1) % 7]})]
    steps[i] = at, what, out, [*changes[:j], *instead, *changes[j + 1 :]]
    with pytest.raises(InvariantBroken):
        audit(own, steps, with_transitions=True)


# ---------------------------------------------------------------- lies, one by one

S, Start, End = r.TaskSubmitted, r.StartAttempt, r.FinishTask
ONE = CoreSettings(max_workers=1, max_retries=1, backoff_base_ns=5, backoff_max_ns=5)
LIMITED = replace(ONE, timeout_ns=10)
FIRST = (0, S(1), [Start(1, 1, 0)])
FIRST_OF_LIMITED = (0, S(1), [Start(1, 1, 0, 10)])
LATE = r.AbandonAttempt(1, 1, 0, False, "timeout")
RETRY = r.DelayTask(1, 1, 15, "timeout")


def end(outcome: r.Outcome, attempts: int, reason: r.Reason = "", **fields: Any) -> r.FinishTask:
    ran = {"slot": 0, "started_at_ns": 0} if attempts else {}
    return End(1, outcome, attempts, reason, **{**ran, **fields})


LIES: dict[str, tuple[int, CoreSettings, list[tuple[int, r.Stimulus, list[r.Instruction]]]]] = {
    "time goes back": (16, ONE, [(5, r.TimeElapsed(), []), (4, r.TimeElapsed(), [])]),
    "a number is used twice": (1, ONE, [FIRST, (1, S(1), [])]),
    "a task from nowhere starts": (2, ONE, [(0, r.TimeElapsed(), [Start(7, 1, 0)])]),
    "an unknown task is cancelled": (13, ONE, [(0, r.CancelRequested(7), [])]),
    "it starts while it runs": (
        2,
        replace(ONE, max_workers=2),
        [(0, S(1), [Start(1, 1, 0), Start(1, 2, 1)])],
    ),
    "it starts at 2": (7, ONE, [(0, S(1), [Start(1, 2, 0)])]),
    "a slot that is none": (4, ONE, [(0, S(1), [Start(1, 1, 1)])]),
    "a slot that is taken": (5, replace(ONE, max_workers=2), [FIRST, (0, S(2), [Start(2, 1, 0)])]),
    "a slot that is held": (
        5,
        LIMITED,
        [FIRST_OF_LIMITED, (10, S(2), [LATE, RETRY, Start(2, 1, 0, 20)])],
    ),
    "a slot retired that is needed": (4, ONE, [(0, r.TimeElapsed(), [r.RetireSlot(0)])]),
    "a slot retired that is taken": (
        5,
        replace(ONE, max_workers=2),
        [FIRST, (3, r.ResizeRequested(1), [r.RetireSlot(0)])],
    ),
    "the wrong slot retired": (
        5,
        replace(ONE, max_workers=3),
        [FIRST, (3, r.ResizeRequested(2), [r.RetireSlot(1)])],
    ),
    "a free slot too many left": (
        4,
        replace(ONE, max_workers=2),
        [FIRST, (3, r.ResizeRequested(1), [])],
    ),
    "a start on more slots than there are to be": (
        4,
        replace(ONE, max_workers=3),
        [FIRST, (3, together(r.ResizeRequested(1), S(2)), [Start(2, 1, 1)])],
    ),
    "a start on a slot that was retired": (
        4,
        replace(ONE, max_workers=2),
        [FIRST, (3, r.ResizeRequested(1), [r.RetireSlot(1)]), (3, S(2), [Start(2, 1, 1)])],
    ),
    "more workers, and nobody starts": (
        15,
        ONE,
        [FIRST, (0, S(2), []), (3, r.ResizeRequested(2), [])],
    ),
    "work is left lying": (15, ONE, [(0, S(1), [])]),
    "the worse one first": (
        14,
        ONE,
        [(0, together(S(1, priority=2), S(2, priority=1)), [Start(1, 1, 0)])],
    ),
    "the later one first": (14, ONE, [(0, together(S(1), S(2)), [Start(2, 1, 0)])]),
    "something after a start": (
        14,
        replace(ONE, max_workers=2),
        [FIRST, (3, together(ok(1, 1, 3), S(2)), [Start(2, 1, 1), end("ok", 1)])],
    ),
    "a timeout too early": (10, LIMITED, [FIRST_OF_LIMITED, (9, r.TimeElapsed(), [LATE])]),
    "a timeout in spite of a result in time": (
        10,
        LIMITED,
        [FIRST_OF_LIMITED, (10, ok(1, 1, 10), [LATE, RETRY, r.DropResult(1, 1)])],
    ),
    "a timeout that does not come": (16, LIMITED, [FIRST_OF_LIMITED, (10, r.TimeElapsed(), [])]),
    "a timeout of its own": (10, LIMITED, [(0, S(1), [Start(1, 1, 0, 11)])]),
    "a loss without a cause": (
        13,
        ONE,
        [FIRST, (3, r.TimeElapsed(), [r.AbandonAttempt(1, 1, 0, False, "cancelled")])],
    ),
    "a loss and no more": (17, LIMITED, [FIRST_OF_LIMITED, (10, r.TimeElapsed(), [LATE])]),
    "a replacement too many": (
        4,
        LIMITED,
        [FIRST_OF_LIMITED, (10, r.TimeElapsed(), [replace(LATE, freed=True)])],
    ),
    "a retry of a success": (
        8,
        ONE,
        [FIRST, (3, ok(1, 1, 3), [r.DelayTask(1, 1, 8, "error")])],
    ),
    "a retry of what is not retryable": (
        8,
        ONE,
        [FIRST, (3, failed(1, 1, 3, retryable=False), [r.DelayTask(1, 1, 8, "error")])],
    ),
    "a retry that nobody asked for": (
        18,
        ONE,
        [FIRST, (3, r.TimeElapsed(), [r.DelayTask(1, 1, 8, "error")])],
    ),
    "a retry that is not left": (
        8,
        replace(ONE, max_retries=0),
        [FIRST, (3, failed(1, 1, 3), [r.DelayTask(1, 1, 8, "error")])],
    ),
    "a retry after an abort": (
        8,
        ONE,
        [FIRST, (2, r.AbortRequested(), []), (3, failed(1, 1, 3), [r.DelayTask(1, 1, 8, "error")])],
    ),
    "a retry past the deadline": (
        8,
        ONE,
        [
            (0, S(1, deadline_at_ns=8), [Start(1, 1, 0)]),
            (3, failed(1, 1, 3), [r.DelayTask(1, 1, 8, "error")]),
        ],
    ),
    "a backoff too short": (
        9,
        ONE,
        [FIRST, (3, failed(1, 1, 3), [r.DelayTask(1, 1, 7, "error")])],
    ),
    "a backoff too long": (
        9,
        ONE,
        [FIRST, (3, failed(1, 1, 3), [r.DelayTask(1, 1, 9, "error")])],
    ),
    "a backoff below its floor": (
        9,
        ONE,
        [FIRST, (3, failed(1, 1, 3, retry_after_ns=7), [r.DelayTask(1, 1, 9, "error")])],
    ),
    "a start before its backoff is over": (
        9,
        ONE,
        [
            FIRST,
            (3, failed(1, 1, 3), [r.DelayTask(1, 1, 8, "error")]),
            (7, r.TimeElapsed(), [Start(1, 2, 0)]),
        ],
    ),
    "no retry although one is left": (
        8,
        ONE,
        [FIRST, (3, failed(1, 1, 3), [end("error", 1, "retries exhausted")])],
    ),
    "a deadline that is none": (
        8,
        ONE,
        [FIRST, (3, failed(1, 1, 3), [end("error", 1, "retry would pass the deadline")])],
    ),
    "an end before the deadline": (
        18,
        ONE,
        [
            (0, S(2, deadline_at_ns=9), [Start(2, 1, 0)]),
            (1, S(1, deadline_at_ns=9), []),
            (8, r.TimeElapsed(), [end("timeout", 0, "deadline passed")]),
        ],
    ),
    "no end at the deadline": (
        8,
        ONE,
        [(0, S(2), [Start(2, 1, 0)]), (0, S(1, deadline_at_ns=9), []), (9, r.TimeElapsed(), [])],
    ),
    "a success that was a failure": (18, ONE, [FIRST, (3, failed(1, 1, 3), [end("ok", 1)])]),
    "a failure that was a success": (
        18,
        replace(ONE, max_retries=0),
        [FIRST, (3, ok(1, 1, 3), [end("error", 1, "retries exhausted")])],
    ),
    "a retry that would be too late of what never ran": (
        18,
        ONE,
        [
            (0, S(2), [Start(2, 1, 0)]),
            (0, S(1, deadline_at_ns=9), []),
            (3, r.TimeElapsed(), [end("error", 0, "retry would pass the deadline")]),
        ],
    ),
    "a success of nothing": (18, ONE, [FIRST, (3, r.TimeElapsed(), [end("ok", 1)])]),
    "an end of another attempt": (7, ONE, [FIRST, (3, ok(1, 1, 3), [end("ok", 2)])]),
    "a second end": (
        3,
        ONE,
        [FIRST, (3, ok(1, 1, 3), [end("ok", 1)]), (4, r.CancelRequested(1), [end("cancelled", 1)])],
    ),
    "a start after the end": (
        2,
        ONE,
        [FIRST, (3, ok(1, 1, 3), [end("ok", 1)]), (4, r.TimeElapsed(), [Start(1, 2, 0)])],
    ),
    "a result without an answer": (17, ONE, [FIRST, (3, ok(1, 1, 3), [])]),
    "a late result that was none": (11, ONE, [FIRST, (3, ok(1, 1, 3), [r.DropResult(1, 1)])]),
    "a late result that has not come": (
        17,
        LIMITED,
        [FIRST_OF_LIMITED, (10, r.TimeElapsed(), [LATE, RETRY, r.DropResult(1, 1)])],
    ),
    "a late result that counts": (
        18,
        replace(LIMITED, max_retries=0),
        [
            FIRST_OF_LIMITED,
            (11, ok(1, 1, 11), [LATE, end("ok", 1, running_ns=11)]),
        ],
    ),
    "a cancel without an end": (13, ONE, [FIRST, (3, r.CancelRequested(1), [])]),
    "a cancel nobody asked for": (
        18,
        ONE,
        [FIRST, (3, r.TimeElapsed(), [end("cancelled", 1, "cancelled")])],
    ),
    "a cancelled attempt that runs on": (
        5,
        ONE,
        [FIRST, (3, r.CancelRequested(1), [end("cancelled", 1, "cancelled")])],
    ),
    "an abort without an end": (
        12,
        ONE,
        [FIRST, (0, S(2), []), (3, r.AbortRequested(), [])],
    ),
    "an abort of what runs": (
        5,
        ONE,
        [FIRST, (3, r.AbortRequested(), [end("cancelled", 1, "aborted")])],
    ),
    "a start after an abort": (
        12,
        ONE,
        [
            FIRST,
            (0, S(2), []),
            (3, together(ok(1, 1, 3), r.AbortRequested()), [end("ok", 1), Start(2, 1, 0)]),
        ],
    ),
    "an abort nobody asked for": (
        18,
        ONE,
        [
            (0, S(2), [Start(2, 1, 0)]),
            (0, S(1), []),
            (3, r.TimeElapsed(), [end("cancelled", 0, "aborted")]),
        ],
    ),
    "a stop without a drain": (22, ONE, [(0, r.TimeElapsed(), [r.StopWorkers()])]),
    "a stop with work left": (22, ONE, [FIRST, (3, r.DrainRequested(), [r.StopWorkers()])]),
    "no stop": (22, ONE, [(0, r.DrainRequested(), [])]),
    "a stop twice": (17, ONE, [(0, r.DrainRequested(), [r.StopWorkers(), r.StopWorkers()])]),
    "work after a drain": (
        22,
        replace(ONE, max_workers=2),
        [FIRST, (3, r.DrainRequested(), []), (3, S(2), [Start(2, 1, 1)])],
    ),
    "time that did not pass": (20, ONE, [FIRST, (3, ok(1, 1, 3), [end("ok", 1, queued_ns=1)])]),
    "a slot it never had": (19, ONE, [FIRST, (3, ok(1, 1, 3), [end("ok", 1, slot=1)])]),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_auditor_finds(lie: str) -> None:
    number, own, steps = LIES[lie]
    auditor = Auditor(own)
    for at, what, out in steps[:-1]:
        auditor.step(at, what, out)
    with pytest.raises(InvariantBroken) as broken:
        auditor.step(*steps[-1])
    assert broken.value.number == number, str(broken.value)


@pytest.mark.parametrize("late", [0, 1])
def test_a_timeout_and_an_abort_of_one_instant_are_no_retry_after_an_abort(late: int) -> None:
    """The timeout comes first and asks for a retry, which is what the abort then stops."""
    at = 10 + late
    audit(LIMITED, steps_of(LIMITED, [(0, S(1)), (at, r.AbortRequested())]), with_transitions=True)


def test_a_failure_and_an_abort_of_one_instant_are_no_retry_after_an_abort() -> None:
    told = [(0, S(1)), (3, together(r.AbortRequested(), failed(1, 1, 3)))]
    audit(ONE, steps_of(ONE, told), with_transitions=True)


def test_what_was_submitted_in_the_instant_of_an_abort_but_before_it_is_aborted() -> None:
    steps: list[tuple[int, r.Stimulus, list[r.Instruction]]] = [
        (0, S(2), [Start(2, 1, 0)]),
        (3, S(1), []),
    ]
    auditor = Auditor(ONE)
    for step in steps:
        auditor.step(*step)
    with pytest.raises(InvariantBroken, match="invariant 12"):
        auditor.step(3, r.AbortRequested(), [])


def test_the_auditor_tells_the_story() -> None:
    auditor = Auditor(ONE)
    auditor.step(*FIRST)
    with pytest.raises(InvariantBroken) as broken:
        auditor.step(3, ok(1, 1, 3), [end("ok", 1, queued_ns=1)])
    told = str(broken.value)
    assert told.startswith("invariant 20: expected running, queued, delayed (0, 0, 0); found")
    assert "         0 s  submitted as TaskSubmitted(task=1" in told
    assert "         0 s  started (READY -> RUNNING)" in told
    assert "at 3 ns, step 2" in told


def test_transitions_go_through_the_table() -> None:
    (at, what, out, (birth, start)) = steps_of(ONE, [(0, S(1))])[0]
    skipped = replace(start, after=TaskState.SUCCEEDED)
    by_another = replace(start, cause=Cause.BACKOFF_ELAPSED)
    for changes in ([birth, skipped], [birth, by_another], [start, birth]):
        with pytest.raises(InvariantBroken, match="invariant 2:"):
            Auditor(ONE).step(at, what, out, changes)
