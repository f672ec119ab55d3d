"""Core and reference in lockstep, through whatever Hypothesis thinks of.

Every call goes to both; they must give the same instructions, be in the same states and refuse the
same stimuli. What is refused changes nothing. Each run is drained at its end and must come to rest.

Backoffs are never 0 here: a bare ``AttemptFailed`` with a backoff of 0 is a case of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from runtime.core import records as r
from runtime.core.errors import InvalidTransition, TimeWentBack, UnknownTask
from runtime.core.invariants import Auditor, check
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from tests.core.helpers import failed, ok, snapshot, together
from tests.core.reference import Reference

Part = Callable[["Lockstep"], Any]
short = st.integers(0, 9)
limits = st.sampled_from([r.UNSET, r.UNSET, None, 4, 9])


@st.composite
def settings_of_a_core(draw: st.DrawFn) -> CoreSettings:
    jitter = draw(st.sampled_from(["none", "equal", "decorrelated", "full"]))
    return CoreSettings(
        max_workers=draw(st.integers(1, 3)),
        timeout_ns=draw(st.sampled_from([None, 5, 12])),
        max_retries=draw(st.sampled_from([3, 2, 1, 0])),
        backoff_base_ns=draw(st.sampled_from([2, 3, 8, 0])),
        backoff_max_ns=draw(st.sampled_from([8, 40])),
        jitter=jitter,
        ageing_ns=draw(st.sampled_from([None, 3])),
        max_abandoned=draw(st.integers(0, 2)),
        seed=draw(st.integers(0, 3)),
    )


@st.composite
def submissions(draw: st.DrawFn) -> Part:
    priority, timeout = draw(st.integers(-1, 2)), draw(limits)
    retries = draw(st.sampled_from([r.UNSET, r.UNSET, 2, 0]))
    deadline = draw(st.none() | st.integers(0, 30))

    def submission(run: Lockstep) -> r.TaskSubmitted:
        run.numbers += 1
        at_ns = None if deadline is None else run.at_ns + deadline
        return r.TaskSubmitted(
            run.numbers,
            priority=priority,
            timeout_ns=timeout,
            max_retries=retries,
            deadline_at_ns=at_ns,
        )

    return submission


@st.composite
def completions(draw: st.DrawFn) -> Part:
    which, how = draw(short), draw(st.sampled_from(["ok", "retryable", "retryable", "final"]))
    floor = draw(st.sampled_from([None, None, 1, 15]))

    def completion(run: Lockstep) -> Any:
        out = [key for key in run.outstanding() if key not in run.taken]
        if not out:
            return None
        key = out[which % len(out)]
        run.taken.append(key)
        if how == "ok":
            return ok(*key, run.at_ns)
        return failed(*key, run.at_ns, retryable=how == "retryable", retry_after_ns=floor)

    return completion


@st.composite
def cancels(draw: st.DrawFn) -> Part:
    which = draw(short)

    def cancel(run: Lockstep) -> Any:
        known = [job.spec.task for job in run.reference.jobs]
        return r.CancelRequested(known[-1 - which % len(known)]) if known else None

    return cancel


@st.composite
def resizes(draw: st.DrawFn) -> Part:
    workers = draw(st.integers(1, 5))
    return lambda _: r.ResizeRequested(workers)


parts = st.one_of(
    submissions(),
    submissions(),
    completions(),
    completions(),
    cancels(),
    resizes(),
    st.just(lambda _: r.AbortRequested()),
)
#: Where time goes: relative to the next timer, or on by a little.
moves = st.tuples(st.sampled_from(["stay", "on", "before", "at", "at", "after"]), short)

ILLEGAL: dict[str, Callable[[Lockstep], Any]] = {
    "unknown task's attempt": lambda run: ok(run.numbers + 7, 1, run.at_ns),
    "attempt not started yet": lambda run: failed(run.some(), 99, run.at_ns),
    "attempt 0": lambda run: ok(run.some(), 0, run.at_ns),
    "attempt ended twice": lambda run: failed(*run.ended[-1], run.at_ns) if run.ended else None,
    "attempt ended twice at once": lambda run: run.twice(),
    "number taken": lambda run: r.TaskSubmitted(run.some()),
    "number taken at once": lambda run: together(
        r.TaskSubmitted(run.numbers + 1), r.TaskSubmitted(run.numbers + 1)
    ),
    "number 0": lambda _: r.TaskSubmitted(0),
    "negative number": lambda _: r.TaskSubmitted(-3),
    "cancel of an unknown task": lambda run: r.CancelRequested(run.numbers + 1),
    "cancel of task 0": lambda _: r.CancelRequested(0),
    "cancel of a task that comes after it": lambda run: together(
        r.CancelRequested(run.numbers + 1), r.TaskSubmitted(run.numbers + 1)
    ),
    "no workers": lambda _: r.ResizeRequested(0),
    "fewer than none, with more": lambda _: together(r.ResizeRequested(3), r.ResizeRequested(-1)),
    "nested": lambda _: together(together(r.AbortRequested())),  # type: ignore[arg-type]
}


class Lockstep(RuleBasedStateMachine):
    """A core and a reference that are told the same."""

    @initialize(own=settings_of_a_core())
    def set_up(self, own: CoreSettings) -> None:
        self.core, self.reference = Core(own, record="all"), Reference(own)
        self.auditor = Auditor(own)
        self.sound = True
        self.at_ns = 0  # the instant of the step in hand
        self.numbers = 0
        self.taken: list[tuple[int, int]] = []  # attempts that the step in hand ends
        self.ended: list[tuple[int, int]] = []
        self.stops = 0

    # ------------------------------------------------------------ what a step may know

    def outstanding(self) -> list[tuple[int, int]]:
        """Attempts that run: those that count, and those that do not any more."""
        live = [(job.spec.task, job.attempt) for job in self.reference.running()]
        return live + [(task, attempt) for task, attempt, _ in self.reference.abandoned]

    def some(self) -> int:
        """A number that is taken, where there is one."""
        return max(1, self.numbers)

    def twice(self) -> Any:
        out = self.outstanding()
        return together(ok(*out[0], self.at_ns), failed(*out[0], self.at_ns)) if out else None

    def move(self, move: tuple[str, int]) -> None:
        where, step = move
        due = self.reference.next_deadline_ns()
        now = self.reference.now
        self.taken = []
        if where == "on" or (due is None and where != "stay"):
            self.at_ns = now + step
        elif where == "stay" or due is None:
            self.at_ns = now
        else:
            self.at_ns = max(now, due + {"before": -1, "at": 0, "after": 1 + step}[where])

    # ------------------------------------------------------------ steps

    def step(self, stimulus: r.Stimulus) -> None:
        self.sound = False
        expected = self.reference.handle(self.at_ns, stimulus)
        got = self.core.handle(self.at_ns, stimulus)
        assert got == expected
        self.auditor.step(self.at_ns, stimulus, got, self.core.take_transitions())
        self.ended += self.taken
        self.taken = []
        self.stops += got.count(r.StopWorkers())
        self.compare()
        self.sound = True

    def compare(self) -> None:
        core, reference = self.core, self.reference
        for job in reference.jobs:
            assert core.state(job.spec.task) == job.state
        assert core.live() == [job.spec.task for job in reference.live()]
        assert sorted(core.running()) == sorted(job.spec.task for job in reference.running())
        assert core.workers == reference.workers
        assert core.idle == len(reference.free)
        assert core.busy == len(reference.service) - len(reference.free)
        assert core.abandoned == len(reference.abandoned)
        assert core.accepting is not reference.draining
        bound, exact = core.next_deadline_ns(), reference.next_deadline_ns()
        assert exact is None or (bound is not None and bound <= exact), "a timer would be missed"
        check(core)

    def refused(self, now_ns: int, stimulus: r.Stimulus, errors: Any) -> None:
        before = snapshot(self.core)
        with pytest.raises(errors) as theirs:
            self.reference.handle(now_ns, stimulus)
        with pytest.raises(errors) as raised:
            self.core.handle(now_ns, stimulus)
        assert raised.type is theirs.type
        assert snapshot(self.core) == before

    @rule(part=parts, move=moves)
    def one_thing_happens(self, part: Part, move: tuple[str, int]) -> None:
        self.move(move)
        self.step(part(self) or r.TimeElapsed())

    @rule(several=st.lists(parts, min_size=2, max_size=5), move=moves)
    def things_happen_at_once(self, several: list[Part], move: tuple[str, int]) -> None:
        self.move(move)
        found = [stimulus for part in several if (stimulus := part(self)) is not None]
        self.step(together(*found))

    @rule(move=moves)
    def time_elapses(self, move: tuple[str, int]) -> None:
        self.move(move)
        self.step(r.TimeElapsed())

    @precondition(lambda self: self.numbers > 8)
    @rule(several=st.lists(parts, max_size=2), move=moves)
    def drains(self, several: list[Part], move: tuple[str, int]) -> None:
        self.move(move)
        found = [stimulus for part in several if (stimulus := part(self)) is not None]
        self.step(together(*found, r.DrainRequested()) if found else r.DrainRequested())

    @rule(kind=st.sampled_from(sorted(ILLEGAL)), among=st.lists(parts, max_size=2), move=moves)
    def is_told_what_cannot_be(self, kind: str, among: list[Part], move: tuple[str, int]) -> None:
        self.move(move)
        stimulus = ILLEGAL[kind](self)
        if stimulus is None or (self.numbers == 0 and "taken" in kind):
            return
        before = self.numbers
        if not isinstance(stimulus, r.Simultaneous):
            self.numbers += 10  # so that what comes with it takes no number that it names
            legal = [part for chosen in among if (part := chosen(self)) is not None]
            self.numbers = before
            stimulus = together(*legal, stimulus) if legal else stimulus
        self.refused(self.at_ns, stimulus, InvalidTransition)
        if "cancel" in kind:
            self.refused(self.at_ns, stimulus, UnknownTask)

    @precondition(lambda self: self.reference.now > 0)
    @rule(part=parts, back=st.integers(1, 5))
    def is_told_of_the_past(self, part: Part, back: int) -> None:
        self.move(("stay", 0))
        numbers = self.numbers
        stimulus = part(self) or r.TimeElapsed()
        self.numbers = numbers
        self.refused(self.at_ns - back, stimulus, TimeWentBack)

    # ------------------------------------------------------------ the end

    def teardown(self) -> None:
        if not getattr(self, "sound", False):
            return  # what went wrong has been told
        self.move(("on", 1))
        self.step(r.DrainRequested())
        while self.reference.live() or self.reference.abandoned:
            self.move(("at", 0))
            self.taken = self.outstanding()[-1:]
            self.step(ok(*self.taken[0], self.at_ns) if self.taken else r.TimeElapsed())
        assert self.stops == 1
        while (due := self.core.next_deadline_ns()) is not None:
            assert self.reference.next_deadline_ns() is None
            self.at_ns = max(self.at_ns, due)
            self.step(r.TimeElapsed())
            after = self.core.next_deadline_ns()
            assert after is None or after > self.at_ns, "a wake that leads to itself"
        assert self.core.busy == self.core.outstanding == 0


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(
    max_examples=400, stateful_step_count=60, derandomize=True, deadline=None
)
