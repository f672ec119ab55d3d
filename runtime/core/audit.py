"""A run followed step by step, and what is promised of its history verified.

The auditor is told what went into a core and what came out, and never asks the core anything. Its
own history is naive: each task with its state, attempts and times, moved by the instructions
through the published table. Whatever an instruction claims must follow from the stimuli so far;
and after a step, whatever had to happen has happened. It may follow a core or a journal.

What becomes ready in a step stands in line by the order of one instant: backoffs by their due
instants and tasks, then submissions by tasks. Nothing but dispatch looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from operator import attrgetter
from typing import Final, NoReturn

from runtime.core import records as r
from runtime.core.backoff import jitter_interval_ns
from runtime.core.settings import CoreSettings
from runtime.core.states import TABLE, TERMINAL, Cause, TaskState
from runtime.core.stories import ended, in_seconds, started
from runtime.core.witness import InvariantBroken, Witness

__all__ = ["Auditor"]

_C = Cause
_READY, _RUNNING, _DELAYED = TaskState.READY, TaskState.RUNNING, TaskState.DELAYED
_OUTCOME: Final = {
    TaskState.SUCCEEDED: "ok",
    TaskState.FAILED: "error",
    TaskState.TIMED_OUT: "timeout",
    TaskState.CANCELLED: "cancelled",
}
_CAUSE: Final[dict[str, Cause]] = {
    "": _C.SUCCEEDED,
    "not retryable": _C.FAILED_FINALLY,
    "deadline passed": _C.DEADLINE_PASSED,
    "cancelled": _C.CANCEL_REQUESTED,
    "aborted": _C.ABORT_REQUESTED,
    "submitted while draining": _C.ABORT_REQUESTED,
}
_Completion = r.AttemptSucceeded | r.AttemptFailed
_key: Final = attrgetter("key")


class _Task:
    """All that happened to one task."""

    __slots__ = (
        "aborted", "attempt", "due_at", "first_start", "key", "limit", "lost", "moves", "previous",
        "retries", "since", "slot", "spec", "spent", "state", "step", "submitted_at", "timeout_at",
    )  # fmt: skip

    def __init__(self, spec: r.TaskSubmitted, settings: CoreSettings, now: int) -> None:
        self.spec = spec
        self.limit = settings.timeout_ns if spec.timeout_ns is r.UNSET else spec.timeout_ns
        self.retries = settings.max_retries if spec.max_retries is r.UNSET else spec.max_retries
        self.state = _READY
        self.submitted_at = self.since = now
        self.step = -1  # the step of its last move
        self.key = (0, 0, 0)  # when it is ready: the smallest starts first
        self.attempt = 0
        self.slot = -1
        self.first_start: int | None = None
        self.timeout_at: int | None = None
        self.due_at = 0
        self.previous: int | None = None  # the last backoff, or the most it can have been
        self.lost: str | None = None  # what its attempt was just abandoned as
        self.aborted = False  # in an earlier step
        self.spent = {_READY: 0, _RUNNING: 0, _DELAYED: 0}
        self.moves: list[tuple[int, TaskState, TaskState, Cause]] = []

    def story(self) -> list[str]:
        """Put into words only where something is broken."""
        lines = [f"{in_seconds(self.submitted_at):>12}  submitted as {self.spec!r}"]
        attempt = 0
        for at, before, after, cause in self.moves:
            attempt += cause == _C.STARTED
            words = started(attempt) if cause == _C.STARTED else ended(cause)
            lines.append(f"{in_seconds(at):>12}  {words} ({before.name} -> {after.name})")
        return lines


class Auditor:
    """Verifies a run step by step.

    A step costs time in proportion to the tasks that wait or run, not to those that have ended.

    Args:
        settings: what the core was set up with.

    Example:
        >>> auditor = Auditor(CoreSettings(max_workers=1))
        >>> auditor.step(0, r.TaskSubmitted(task=1), [r.StartAttempt(1, 1, 0)])
    """

    def __init__(self, settings: CoreSettings) -> None:
        self._settings = settings
        self._workers = settings.max_workers
        self._service = set(range(settings.max_workers))  # slots
        self._now = 0
        self._steps = 0
        self._lines = 0
        self._tasks: dict[int, _Task] = {}
        self._live: dict[int, _Task] = {}
        self._in: dict[TaskState, dict[int, _Task]] = {_READY: {}, _RUNNING: {}, _DELAYED: {}}
        self._abandoned: dict[tuple[int, int], int] = {}  # to the slot it holds, or -1
        self._slots: dict[int, _Task] = {}
        self._draining = self._stopped = False
        self._witness = Witness()
        # of the step in hand:
        self._completions: dict[tuple[int, int], _Completion] = {}
        self._cancelled: list[int] = []
        self._aborting: dict[int, _Task] = {}
        self._submitted: list[int] = []
        self._dispatching = False
        self._idle: list[int] | None = None

    def step(
        self,
        now_ns: int,
        stimulus: r.Stimulus,
        instructions: Sequence[r.Instruction],
        transitions: Sequence[r.Transition] | None = None,
    ) -> None:
        """Take one step of the core. After an error the auditor is of no more use.

        Args:
            now_ns: when, in nanoseconds.
            stimulus: what went in, and was not refused.
            instructions: what came out.
            transitions: all that were recorded in this step, ``None`` where not all are kept.

        Raises:
            InvariantBroken: something does not hold.
        """
        self._demand(now_ns >= self._now, 16, f"an instant from {self._now} on", now_ns)
        self._now = now_ns
        self._steps += 1
        self._begin(stimulus.stimuli if isinstance(stimulus, r.Simultaneous) else (stimulus,))
        for instruction in instructions:
            self._follow(instruction)
        self._close()
        if transitions is not None:
            self._witness.hear(self._now, instructions, transitions)
            for number, task in self._live.items():
                told = self._witness.states.get(number)
                if told != task.state:
                    self._broken(19, task.state.name, f"transitions that tell {told!r}", task)

    # ------------------------------------------------------------ stimuli

    def _begin(self, parts: Sequence[r.Stimulus]) -> None:
        self._completions, self._cancelled, self._submitted = {}, [], []
        self._aborting, self._dispatching, self._idle = {}, False, None
        submitted: list[r.TaskSubmitted] = []
        for part in parts:
            match part:
                case r.AttemptSucceeded() | r.AttemptFailed():
                    self._completions[part.task, part.attempt] = part
                case r.TaskSubmitted():
                    submitted.append(part)  # they come last
                case r.CancelRequested():
                    self._of(part.task, 13)
                    self._cancelled.append(part.task)
                case r.AbortRequested():
                    self._aborting = dict(self._live)
                case r.DrainRequested():
                    self._draining = True
                case r.ResizeRequested():
                    self._resize(part.max_workers)
                case _:
                    pass  # time has nothing but its passing
        if len(submitted) > 1:
            submitted.sort(key=lambda spec: spec.task)
        for spec in submitted:
            if spec.task in self._tasks:
                self._broken(1, "a number never used", f"{spec!r}", self._tasks[spec.task])
            task = _Task(spec, self._settings, self._now)
            task.step = self._steps
            self._tasks[spec.task] = self._live[spec.task] = self._in[_READY][spec.task] = task
            self._submitted.append(spec.task)

    def _resize(self, workers: int) -> None:
        """Slots come at once, those with the lowest numbers first; they go when they are free."""
        self._demand(workers >= 1, 4, "1 worker at least", f"{workers}")
        self._workers = workers
        for slot in count():
            if len(self._service) >= workers:
                break
            self._service.add(slot)

    def _dispatch(self) -> None:
        """All else has happened: line up what became ready in this step."""
        self._dispatching = True
        due = sorted((t.due_at, n) for n, t in self._in[_DELAYED].items() if t.due_at <= self._now)
        for _, number in due:
            self._move(self._tasks[number], _C.BACKOFF_ELAPSED)
        ageing = self._settings.ageing_ns
        for number in [*(number for _, number in due), *self._submitted]:
            self._lines += 1  # its place among all that ever became ready
            task = self._tasks[number]
            priority = task.spec.priority
            first = priority if ageing is None else task.since + priority * ageing
            task.key = first, priority, self._lines

    # ------------------------------------------------------------ instructions

    def _follow(self, instruction: r.Instruction) -> None:
        if isinstance(instruction, r.StartAttempt):
            if not self._dispatching:
                self._dispatch()
            self._started(instruction, self._of(instruction.task))
            return
        if self._dispatching and not isinstance(instruction, r.StopWorkers):
            self._broken(14, "dispatch after all else", f"{instruction!r} after a start")
        match instruction:
            case r.AbandonAttempt():
                self._lost(instruction, self._of(instruction.task))
            case r.DelayTask():
                self._delayed(instruction, self._of(instruction.task))
            case r.FinishTask():
                self._finished(instruction, self._of(instruction.task))
            case r.DropResult(task=number, attempt=attempt):
                key, task = (number, attempt), self._of(number)
                self._demand(key in self._abandoned, 11, "a late result", instruction, task)
                self._demand(key in self._completions, 17, "a result to drop", instruction, task)
                del self._abandoned[key], self._completions[key]
            case r.RetireSlot(slot=slot):
                self._demand(len(self._service) > self._workers, 4, "slots enough", instruction)
                if self._idle is None:  # nothing takes or frees a slot between these
                    self._idle = sorted(self._service.difference(self._slots, self._held()))
                last = self._idle.pop() if self._idle else None
                self._demand(last == slot, 5, f"{last}, the last free slot", instruction)
                self._service.remove(slot)
            case r.StopWorkers():
                self._demand(not self._stopped, 17, "workers stopped once", "a second stop")
                self._stopped = True
                self._demand(self._draining, 22, "a drain before the stop", "none")
                self._demand(not self._live, 22, "every task ended", f"{list(self._live)} live")

    def _started(self, start: r.StartAttempt, task: _Task) -> None:
        now, deadline, slot = self._now, task.spec.deadline_at_ns, start.slot
        if task.state == _DELAYED:
            self._broken(9, f"no start before {task.due_at}", f"{start}", task)
        if task.aborted or start.task in self._aborting:
            self._broken(12, "no start after an abort", f"{start}", task)
        if start.attempt != task.attempt + 1:
            self._broken(7, "numbers without a gap", f"{start}", task)
        if start.attempt > 1 + task.retries:
            self._broken(7, f"{task.retries} retries", f"{start}", task)
        if deadline is not None and now >= deadline:
            self._broken(8, "a start in time", f"{start}", task)
        if slot not in self._service:
            self._broken(4, "a slot in service", f"{start}", task)
        held = self._held()
        if slot in self._slots or slot in held:
            self._broken(5, "a free slot", f"{start}", task)
        if len(self._slots) + len(held) >= self._workers:
            self._broken(4, f"fewer than {self._workers} on slots", f"{start}", task)
        timeout_at = None if task.limit is None else now + task.limit
        if start.timeout_at_ns != timeout_at:
            self._broken(10, f"{timeout_at}", f"{start}", task)
        best = min(self._in[_READY].values(), key=_key, default=task)
        if task.key > best.key:
            found = f"task {start.task} started, and {best.spec.task} waits"
            self._broken(14, "the best first", found, task)
        self._move(task, _C.STARTED)
        self._slots[slot] = task
        task.attempt, task.slot, task.timeout_at = start.attempt, slot, timeout_at
        if start.attempt == 1:
            task.first_start = now

    def _lost(self, abandon: r.AbandonAttempt, task: _Task) -> None:
        number, attempt, slot, now = abandon.task, abandon.attempt, abandon.slot, self._now
        runs = task.state == _RUNNING and task.lost is None and task.attempt == attempt
        self._demand(runs, 6, "a running attempt", abandon, task)
        self._demand(self._slots.get(slot) is task, 5, f"slot {task.slot}", abandon, task)
        if abandon.outcome == "timeout":
            # a result of this very instant comes first, so only an earlier limit passes it by
            before = now - ((number, attempt) in self._completions)
            limits = [at for at in (task.timeout_at, task.spec.deadline_at_ns) if at is not None]
            passed = any(at <= before for at in limits)
            self._demand(passed, 10, f"a limit of {limits} passed", abandon, task)
        else:
            asked = number in self._cancelled and (number, attempt) not in self._completions
            self._demand(asked, 13, "a cancel, and no result before it", abandon, task)
        replaced = sum(held < 0 for held in self._abandoned.values())
        freed = replaced < self._settings.max_abandoned
        self._demand(abandon.freed == freed, 4, f"freed={freed}, {replaced} are", abandon, task)
        self._abandoned[number, attempt] = -1 if freed else slot
        task.lost = abandon.outcome

    def _ended_by(self, task: _Task, attempt: int) -> _Completion | None:
        """The completion that ends the running attempt, ``None`` where it was abandoned."""
        if task.lost is not None:
            return None
        self._demand(task.attempt == attempt, 7, f"attempt {task.attempt}", f"{attempt}", task)
        done = self._completions.pop((task.spec.task, attempt), None)
        self._demand(done is not None, 18, "a result", f"none of attempt {attempt}", task)
        return done

    def _backoff(self, task: _Task, failure: _Completion | None) -> tuple[int, int, int]:
        """Bounds of the backoff to come, and the retry-after of the failure before it."""
        own = self._settings
        low, high = jitter_interval_ns(
            own.jitter, own.backoff_base_ns, own.backoff_max_ns, task.attempt, task.previous
        )
        asked = failure.retry_after_ns if isinstance(failure, r.AttemptFailed) else None
        return low, high, 0 if asked is None else asked

    def _delayed(self, delay: r.DelayTask, task: _Task) -> None:
        self._demand(task.state == _RUNNING, 8, "a retry after a running attempt", delay, task)
        done = self._ended_by(task, delay.attempt)
        fair = isinstance(done, r.AttemptFailed) and done.retryable
        why = "error" if fair else "timeout" if task.lost == "timeout" else "nothing"
        self._demand(delay.reason == why, 8, f"a retry after {why}", delay, task)
        self._demand(delay.attempt == task.attempt, 7, f"{task.attempt}", delay, task)
        left = 0 if task.aborted else task.retries + 1 - task.attempt
        self._demand(left > 0, 8, "a retry that is left", f"{left} left", task)
        deadline = task.spec.deadline_at_ns
        in_time = deadline is None or delay.until_ns < deadline
        self._demand(in_time, 8, f"a retry before {deadline}", delay, task)
        wait = delay.until_ns - self._now
        low, high, floor = self._backoff(task, done)
        fits = max(low, floor) <= wait <= max(high, floor)
        self._demand(fits, 9, f"a backoff of {low} to {high}, {floor} at least", f"{wait}", task)
        cause = _C.FAILED_RETRYABLE if fair else _C.TIMED_OUT_RETRYABLE
        self._move(task, cause, done)
        task.previous, task.due_at = min(wait, high), delay.until_ns

    def _reason(self, finish: r.FinishTask, task: _Task) -> _Completion | None:
        """The completion that ended a task; an end must have its reason in what came in."""
        now, deadline, reason = self._now, task.spec.deadline_at_ns, finish.reason
        done: _Completion | None = None
        match reason:
            case "":
                done = self._ended_by(task, finish.attempts) if task.state == _RUNNING else None
                right = isinstance(done, r.AttemptSucceeded)
            case "not retryable" | "retries exhausted" | "retry would pass the deadline":
                done = self._ended_by(task, finish.attempts) if task.state == _RUNNING else None
                failed = isinstance(done, r.AttemptFailed)
                right = failed if finish.outcome == "error" else task.lost == "timeout"
                self._demand(right, 18, "a failed or lost attempt", finish, task)
                fair = not isinstance(done, r.AttemptFailed) or done.retryable
                self._demand(fair == (reason != "not retryable"), 8, f"{done}", finish, task)
                left = not task.aborted and task.attempt <= task.retries
                if reason == "retries exhausted":
                    self._demand(not left, 8, "a retry, as one is left", finish, task)
                elif reason == "retry would pass the deadline":
                    _, high, floor = self._backoff(task, done)
                    late = deadline is not None and now + max(high, floor) >= deadline
                    self._demand(left and late, 8, "a retry in time", finish, task)
            case "deadline passed":
                right = deadline is not None and deadline <= now
            case "cancelled":
                right = finish.task in self._cancelled
            case "aborted":
                right = finish.task in self._aborting
            case _:
                right = self._draining and finish.task in self._submitted
        self._demand(right, 18, f"something that ends it {reason or 'well'}", finish, task)
        return done

    def _finished(self, finish: r.FinishTask, task: _Task) -> None:
        if task.state in TERMINAL:
            self._broken(3, "one end", f"{finish}", task)
        done = self._reason(finish, task)
        failed_or_late = _C.FAILED_FINALLY if finish.outcome == "error" else _C.TIMED_OUT_FINALLY
        if task.state == _RUNNING and done is None:
            lost = task.lost == ("cancelled" if finish.reason == "cancelled" else "timeout")
            self._demand(lost, 5, "its attempt abandoned", finish, task)
        self._move(task, _CAUSE.get(finish.reason, failed_or_late), done)
        if finish.outcome != _OUTCOME[task.state]:
            self._broken(18, f"{task.state.name}", f"{finish}", task)
        del self._live[finish.task]
        real = (task.attempt, task.slot, task.submitted_at, task.first_start)
        told = (finish.attempts, finish.slot, finish.submitted_at_ns, finish.started_at_ns)
        if told != real:
            self._broken(19, f"attempts, slot and instants {real}", f"{told}", task)
        spent = (task.spent[_RUNNING], task.spent[_READY], task.spent[_DELAYED])
        waits = (finish.running_ns, finish.queued_ns, finish.delayed_ns)
        if waits != spent:
            self._broken(20, f"running, queued, delayed {spent}", f"{waits}", task)

    def _move(self, task: _Task, cause: Cause, done: _Completion | None = None) -> None:
        """Follow the table."""
        number, before, now = task.spec.task, task.state, self._now
        after = TABLE[before][cause]
        if not isinstance(after, TaskState):
            self._broken(2, f"a task that may meet {cause.name}", before.name, task)
        spent = now - task.since if done is None else done.ended_at_ns - done.begun_at_ns
        task.spent[before] += spent
        del self._in[before][number]
        if before == _RUNNING:
            del self._slots[task.slot]
            task.timeout_at = task.lost = None
        if after in self._in:
            self._in[after][number] = task
        task.state, task.since, task.step = after, now, self._steps
        task.moves.append((now, before, after, cause))

    # ------------------------------------------------------------ after the step

    def _close(self) -> None:
        now = self._now
        if not self._dispatching:
            self._dispatch()
        if self._completions:
            left = [f"{done!r}" for done in self._completions.values()]
            self._broken(17, "an answer to each completion", f"none to {left}")
        for number in self._cancelled:
            task = self._tasks[number]
            self._demand(task.state in TERMINAL, 13, "an end by the cancel", "none", task)
        for task in self._aborting.values():
            ended = task.state in TERMINAL or (task.state == _RUNNING and task.step < self._steps)
            self._demand(ended, 12, "an end by the abort", "none", task)
            task.aborted = True
        for task in self._in[_RUNNING].values():
            if task.lost is not None:
                self._broken(17, "more after its attempt was abandoned", "", task)
            # a limit of 0 fires at its wake
            if task.timeout_at is not None and task.timeout_at <= now and task.step < self._steps:
                self._broken(16, f"a timeout by {now}", "none", task)
        for task in self._live.values():
            deadline = task.spec.deadline_at_ns
            if deadline is not None and deadline <= now:
                self._broken(8, f"an end by {deadline}", task.state.name, task)
        if self._draining:
            for number in self._submitted:
                task = self._tasks[number]
                self._demand(task.state in TERMINAL, 22, "no work after a drain", "some", task)
        free = len(self._service) - len(self._slots) - len(self._held())
        if free and len(self._service) != self._workers:
            self._broken(4, f"{self._workers} slots", f"{len(self._service)}, {free} free")
        ready = self._in[_READY]
        if free and ready:
            self._broken(15, "no free slot", f"{free} free, {list(ready)} ready")
        over = self._draining and not self._live
        if self._stopped != over:
            self._broken(22, f"workers stopped: {over}", f"{self._stopped}")

    def _held(self) -> list[int]:
        """Slots that abandoned attempts hold."""
        return [slot for slot in self._abandoned.values() if slot >= 0]

    # ------------------------------------------------------------ what is wrong

    def _of(self, number: int, invariant: int = 2) -> _Task:
        if number not in self._tasks:
            self._broken(invariant, "a task that was submitted", f"task {number}")
        return self._tasks[number]

    def _demand(
        self, holds: bool, number: int, expected: str, found: object, task: _Task | None = None
    ) -> None:
        if not holds:
            self._broken(number, expected, f"{found}", task)

    def _broken(
        self, number: int, expected: str, found: str, task: _Task | None = None
    ) -> NoReturn:
        at = f"{found} at {self._now} ns, step {self._steps}"
        raise InvariantBroken(number, expected, at, () if task is None else task.story())
