"""The core's counts are what one counts from its transitions, whatever happens."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core import Core, CoreSettings
from runtime.core import records as r
from runtime.core.errors import InvalidTransition
from runtime.core.states import Cause, TaskState
from runtime.core.tally import Buckets, Tally
from tests.core.helpers import Listening, Work, failed, ok, plain_settings, play, snapshot, works

BOUNDS = (0, 1, 3, 8, 20)
LAGS = (0, 2)


def tally(most_groups: int = 2) -> Tally:
    return Tally(BOUNDS, LAGS, most_groups, "other")


def filled(durations: Iterable[int], bounds: tuple[int, ...] = BOUNDS) -> tuple[list[int], int]:
    """Bucket by bucket, one after the other."""
    counts = [0] * (len(bounds) + 1)
    total = 0
    for duration in durations:
        counts[bisect_left(bounds, duration)] += 1
        total += duration
    return counts, total


def told(tally: Tally) -> dict[Any, Any]:
    """All that a tally says, but what is zero."""
    counted = tally.copy()
    found: dict[Any, Any] = {}
    for name, group in counted.groups.items():
        found["submitted", name] = group.submitted
        found["late", name] = group.late
        found["waits", name] = group.waits.counts, group.waits.sum_ns
        for reason, count in group.retries.items():
            found["retries", name, reason] = count
        for kind in ("attempts", "tasks"):
            for outcome, buckets in getattr(group, kind).items():
                found[kind, name, outcome] = buckets.counts, buckets.sum_ns
    return {key: value for key, value in found.items() if value not in (0, filled([]))}


def counted(transitions: Iterable[r.Transition], groups: dict[int, str]) -> dict[Any, Any]:
    """The same from the transitions, naively."""
    counts: Counter[Any] = Counter()
    lasted: dict[Any, list[int]] = {}
    submitted: dict[int, int] = {}
    since: dict[int, int] = {}
    for t in transitions:
        group = groups[t.task]
        if t.cause is None:
            counts["submitted", group] += 1
            submitted[t.task] = since[t.task] = t.at_ns
            continue
        if t.cause == Cause.LATE_COMPLETION:
            counts["late", group] += 1
            continue
        spent = t.at_ns - since[t.task]
        since[t.task] = t.at_ns
        if t.after == TaskState.RUNNING:
            lasted.setdefault(("waits", group), []).append(spent)
        if t.before == TaskState.RUNNING:
            outcome = "ok" if t.after == TaskState.SUCCEEDED else "error"
            if t.abandoned:
                outcome = "cancelled" if t.cause == Cause.CANCEL_REQUESTED else "timeout"
            lasted.setdefault(("attempts", group, outcome), []).append(spent)
        if t.after == TaskState.DELAYED:
            counts["retries", group, t.reason] += 1
        ends = {3: "ok", 4: "error", 5: "timeout", 6: "cancelled"}
        if t.after in ends:
            took = t.at_ns - submitted[t.task]
            lasted.setdefault(("tasks", group, ends[t.after]), []).append(took)
    return {**counts, **{key: filled(values) for key, values in lasted.items()}}


@given(plain_settings, works())
def test_it_is_what_the_transitions_tell(own: CoreSettings, work: Work) -> None:
    core = Listening(own)
    mine = tally(most_groups=9)
    core.count_into(mine)
    work = Work(
        [
            (at, r.TaskSubmitted(s.task, s.name, s.priority, f"g{s.task % 3}", s.timeout_ns,
                                 s.max_retries, s.deadline_at_ns))
            for at, s in work.arrivals
        ],
        work.lasts_ns,
        work.ends,
        work.cancels,
    )  # fmt: skip
    play(own, work, core=core)
    groups = {spec.task: spec.group for _, spec in work.arrivals}
    transitions: Iterator[r.Transition] = (t for step in core.steps for t in step[3])
    assert told(mine) == counted(transitions, groups)


@given(plain_settings, works())
def test_counting_and_marking_change_no_decision(own: CoreSettings, work: Work) -> None:
    watched = Core(own)
    watched.count_into(tally())
    watched.marks.update({spec.task: object() for _, spec in work.arrivals})
    assert play(own, work, core=watched) == play(own, work)
    assert watched.marks == {}


@given(plain_settings, works())
def test_who_waits_is_known_without_a_look_at_each(own: CoreSettings, work: Work) -> None:
    class Looking(Core):
        def handle(self, now_ns: int, stimulus: r.Stimulus) -> list[r.Instruction]:
            out = super().handle(now_ns, stimulus)
            tasks = [task for task in map(self.task, self.live()) if task is not None]
            ready = [task.ready_at_ns for task in tasks if task.state == TaskState.READY]
            delayed = sum(task.state == TaskState.DELAYED for task in tasks)
            assert self.waiting() == (len(ready), delayed, min(ready, default=None))
            return out

    play(own, work, core=Looking(own))


@given(st.lists(st.integers(0, 30), max_size=600), st.integers(1, 300))
def test_folding_is_counting_one_by_one(durations: list[int], at_once: int) -> None:
    buckets = Buckets(BOUNDS)
    for place, duration in enumerate(durations):
        buckets.waiting.append(duration)
        if place % at_once == 0:
            buckets.fold()
    made = buckets.copy()
    assert (made.counts, made.sum_ns) == filled(durations)


def test_many_are_folded_on_the_way() -> None:
    core = Core(CoreSettings(max_workers=1))
    mine = tally()
    core.count_into(mine)
    for number in range(1, 2001):
        core.handle(number, r.TaskSubmitted(number))
        core.handle(number, ok(number, 1, number))
        group = mine.groups["default"]
        waiting = len(group.waits.waiting) + len(group.tasks["ok"].waiting)
        assert waiting <= 512, "what waits to be folded grows with the tasks"
    assert told(mine)["tasks", "default", "ok"] == ([2000, 0, 0, 0, 0, 0], 0)


def test_a_copy_stands_still() -> None:
    core = Core(CoreSettings(max_workers=1))
    mine = tally()
    core.count_into(mine)
    core.handle(0, r.TaskSubmitted(1))
    before = mine.copy()
    core.handle(5, ok(1, 1, 5))
    core.handle(5, r.TaskSubmitted(2))
    assert told(before)["submitted", "default"] == 1
    assert ("tasks", "default", "ok") not in told(before)


def test_what_comes_late_counts_in_its_tasks_group() -> None:
    core = Core(CoreSettings(max_workers=1, timeout_ns=5, max_retries=0, max_abandoned=2))
    mine = tally(most_groups=1)
    core.count_into(mine)
    core.handle(0, r.TaskSubmitted(1, group="first"))
    core.handle(0, r.TaskSubmitted(2, group="second"))
    core.handle(5, r.TimeElapsed())  # both had their time, one after the other
    core.handle(10, r.TimeElapsed())
    core.handle(11, ok(2, 1, 11))
    core.handle(12, failed(1, 1, 12))
    assert [told(mine).get(("late", name)) for name in ("first", "other")] == [1, 1]
    assert mine.abandoned == {}


def test_a_timer_is_late_by_what_the_host_took_to_call() -> None:
    own = CoreSettings(
        max_workers=1,
        timeout_ns=5,
        max_retries=3,
        backoff_base_ns=10,
        backoff_max_ns=10,
        max_abandoned=9,
    )
    core = Core(own)
    mine = tally()
    core.count_into(mine)
    core.handle(0, r.TaskSubmitted(1))
    core.handle(6, r.TimeElapsed())  # due at 5
    core.handle(16, r.TimeElapsed())  # due at 16
    core.handle(30, r.TimeElapsed())  # due at 21
    lag = mine.copy().timer_lag
    assert (lag.counts, lag.sum_ns) == filled([1, 0, 9], LAGS)


def test_a_marked_task_is_remembered_where_it_counts() -> None:
    core = Core(CoreSettings(max_workers=1))
    mine = tally()
    core.count_into(mine)
    core.marks.update({1: "one", 2: "two"})
    for number in (1, 2, 3):
        core.handle(0, r.TaskSubmitted(number))
    for number in (1, 2, 3):
        core.handle(number * 2, ok(number, 1, number * 2))
    newest = mine.copy().groups["default"].tasks["ok"].newest
    assert [None if n is None else n[0] for n in newest] == [None, None, "one", "two", None, None]
    assert newest[2] == ("one", 2, 2)


def test_of_a_marked_task_alone_the_end_is_told_with_the_instants_before_it() -> None:
    core = Core(CoreSettings(max_workers=1, max_retries=1, backoff_base_ns=7, backoff_max_ns=7))
    core.marks[1] = "one"
    core.handle(1, r.TaskSubmitted(1))
    core.handle(2, r.TaskSubmitted(2))
    core.handle(4, failed(1, 1, 4))  # 2 runs from 4 to 20, 1 is ready again at 11
    core.handle(20, ok(2, 1, 20))
    core.handle(30, ok(1, 2, 30))
    told = [
        (t.task, t.after.name, t.submitted_at_ns, t.ready_at_ns, t.started_at_ns)
        for t in core.take_transitions()
    ]
    assert told == [(1, "DELAYED", 1, 1, 1), (1, "READY", 1, 20, 4), (1, "SUCCEEDED", 1, 20, 20)]


@pytest.mark.parametrize("stimulus", [r.TaskSubmitted(1), ok(7, 1, 5)])
def test_what_is_refused_is_not_counted(stimulus: r.SimultaneousPart) -> None:
    core = Core(CoreSettings(max_workers=1))
    mine = tally()
    core.count_into(mine)
    core.handle(0, r.TaskSubmitted(1))
    before = told(mine), snapshot(core)
    with pytest.raises(InvalidTransition):
        core.handle(5, stimulus)
    assert (told(mine), snapshot(core)) == before


def test_counting_ends_where_it_is_told_to() -> None:
    core = Core(CoreSettings(max_workers=1, timeout_ns=5, max_retries=0, max_abandoned=2))
    mine = tally()
    core.count_into(mine)
    core.handle(0, r.TaskSubmitted(1))
    core.handle(5, r.TimeElapsed())
    core.handle(6, r.TaskSubmitted(2))
    core.count_into(None)
    before = told(mine)
    core.handle(7, ok(1, 1, 7))
    core.handle(8, ok(2, 1, 8))
    core.handle(9, r.TaskSubmitted(3))
    assert told(mine) == before
