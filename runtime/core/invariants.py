"""What must always hold, verified from scratch.

``check(core)`` looks at a core's present state and recomputes all that it keeps for speed:
counters, heaps, the ready order, the free slots. ``Auditor`` is told of every step instead, keeps a
naive history of its own, and verifies what a present state cannot show. The numbers are those of
``docs/invariants.md``; the same two serve the tests and ``replay --check``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from runtime.core import records as r
from runtime.core.backoff import jitter_interval_ns
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState
from runtime.core.task import Task

__all__ = ["Auditor", "InvariantBroken", "check"]

_NEVER: Final = 1 << 63


class InvariantBroken(AssertionError):
    """An invariant does not hold: a bug of the core's.

    Args:
        number: the invariant's number.
        what: what was expected and what was found.
        story: what is known of the task concerned.
    """

    def __init__(self, number: int, what: str, story: Sequence[str] = ()) -> None:
        self.number = number
        told = "".join(f"\n  {line}" for line in story)
        super().__init__(f"invariant {number}: {what}{told}")


def _demand(holds: bool, number: int, what: str, story: Sequence[str] = ()) -> None:
    if not holds:
        raise InvariantBroken(number, what, story)


# ---------------------------------------------------------------- the present state


def check(core: Core) -> None:
    """Verify a core's present state.

    Args:
        core: the core, between two calls of ``handle``.

    Raises:
        InvariantBroken: something does not hold.
    """
    tasks = core._tasks
    _check_slots(core, tasks)
    _check_tasks(core, tasks)
    _check_ready(core, tasks)
    _check_timers(core, tasks)
    _check_totals(core, tasks)


def _check_slots(core: Core, tasks: dict[int, Task]) -> None:
    workers = core.settings.max_workers
    running = {slot: task for slot, task in enumerate(core._slots) if task is not None}
    held = sorted(slot for slot in core._abandoned.values() if slot >= 0)
    free = sorted(core._free)
    _demand(
        sorted([*running, *held, *free]) == list(range(workers)),
        5,
        f"each of {workers} slots must be running, held or free, once: running {sorted(running)}, "
        f"held by abandoned attempts {held}, free {free}",
    )
    _demand(
        core._replaced == sum(slot < 0 for slot in core._abandoned.values()),
        19,
        f"{core._replaced} replaced attempts are counted, not {len(core._abandoned) - len(held)}",
    )
    _demand(core._replaced <= core.settings.max_abandoned, 4, "more replaced than allowed")
    for slot, task in running.items():
        number = task.spec.task
        story = core.story(number)
        _demand(task.state == TaskState.RUNNING, 5, f"slot {slot} has a task not running", story)
        _demand(task.slot == slot, 5, f"slot {slot} has a task of slot {task.slot}", story)
        _demand(tasks.get(number) is task, 5, f"slot {slot} has an unknown task", story)


def _check_tasks(core: Core, tasks: dict[int, Task]) -> None:
    for number, task in tasks.items():
        story = core.story(number)
        _demand(task.spec.task == number, 19, f"task {number} is filed under another", story)
        _demand(core._fate[number] == 1, 1, f"task {number} lives, but its fate says not", story)
        _demand(task.state in (0, 1, 2), 1, f"task {number} lives in a terminal state", story)
        if task.state == TaskState.RUNNING:
            _demand(core._slots[task.slot] is task, 5, f"task {number} runs on no slot", story)
            _demand(
                (number, task.attempt) not in core._abandoned,
                6,
                f"attempt {number}.{task.attempt} runs and is abandoned",
                story,
            )
        own = task.spec.max_retries
        allowed = core.settings.max_retries if own is r.UNSET else own
        used = max(0, task.attempt - (task.state != TaskState.DELAYED))
        _demand(
            task.retries_left >= 0 and task.retries_left + used <= allowed + (task.attempt == 0),
            7,
            f"task {number} has {task.retries_left} retries left after {task.attempt} attempts of "
            f"{1 + allowed}",
            story,
        )
    for number, attempt in core._abandoned:
        known = tasks.get(number)
        _demand(
            known is None or attempt < known.attempt or known.state != TaskState.RUNNING,
            6,
            f"attempt {number}.{attempt} is abandoned and live",
            core.story(number),
        )


def _check_ready(core: Core, tasks: dict[int, Task]) -> None:
    waiting = [task for task in tasks.values() if task.state == TaskState.READY]
    ready = core._ready
    queued = list(ready)
    _demand(
        Counter(t.spec.task for t in queued) == Counter(t.spec.task for t in waiting),
        19,
        "the ready order does not hold just the ready tasks",
    )
    _demand(ready.live == len(waiting), 19, f"{ready.live} ready are counted, not {len(waiting)}")
    entries = sum(len(fifo) for fifo in ready._fifos.values())
    _demand(
        ready._stale == entries - len(waiting),
        19,
        f"{ready._stale} stale entries are counted, not {entries - len(waiting)}",
    )
    for priority, fifo in ready._fifos.items():
        in_line = [task.ready_at_ns for task in fifo if task.state == TaskState.READY]
        _demand(in_line == sorted(in_line), 14, f"priority {priority} is not first in, first out")
    heads = Counter(priority for _, priority in ready._heads)
    _demand(
        heads == Counter(priority for priority, fifo in ready._fifos.items() if fifo),
        19,
        "the heads are not those of the lines",
    )
    _demand(
        not (waiting and core._free), 15, f"{len(waiting)} wait while {len(core._free)} are free"
    )


def _check_timers(core: Core, tasks: dict[int, Task]) -> None:
    earliest = _NEVER
    due = Counter(core._backoffs)
    deadlines = Counter(core._deadlines)
    for number, task in tasks.items():
        story = core.story(number)
        deadline = task.spec.deadline_at_ns
        if deadline is not None:
            _demand(deadlines[deadline, number] == 1, 19, "a deadline is not kept", story)
            earliest = min(earliest, deadline)
        if task.state == TaskState.DELAYED:
            _demand(due[task.due_at_ns, number] == 1, 19, "a backoff is not kept", story)
            earliest = min(earliest, task.due_at_ns)
        if task.state == TaskState.RUNNING and task.timeout_ns is not None:
            _demand(
                task.timeout_at_ns == task.attempt_at_ns + task.timeout_ns,
                10,
                "a timeout is not at start plus limit",
                story,
            )
            earliest = min(earliest, task.timeout_at_ns or 0)
        if task.state != TaskState.RUNNING:
            _demand(task.timeout_at_ns is None, 16, "a timeout without its attempt", story)
    _demand(
        core.wake_at_ns <= earliest,
        16,
        f"the next wake is {core.wake_at_ns}, later than {earliest}, when something is due",
    )
    _demand(earliest >= core._now, 16, f"something was due at {earliest}, before {core._now}")
    alive = sum(1 for task in tasks.values() if task.state == TaskState.DELAYED)
    _demand(
        core._stale_backoffs == len(core._backoffs) - alive, 19, "stale backoffs are miscounted"
    )
    alive = sum(1 for task in tasks.values() if task.spec.deadline_at_ns is not None)
    _demand(
        core._stale_deadlines == len(core._deadlines) - alive, 19, "stale deadlines are miscounted"
    )


def _check_totals(core: Core, tasks: dict[int, Task]) -> None:
    fates = Counter(core._fate)
    _demand(fates[1] == len(tasks), 1, f"{len(tasks)} live, but {fates[1]} are marked so")
    _demand(sum(core.counts().values()) == len(core._fate) - fates[0], 1, "states do not add up")
    _demand(not core._stopped or not tasks, 22, "the workers were stopped with tasks left")


# ---------------------------------------------------------------- the history


class _History:
    """What the auditor remembers of a task, all of it."""

    def __init__(self, spec: r.TaskSubmitted, at_ns: int) -> None:
        self.spec = spec
        self.submitted_at = at_ns
        self.attempts = 0
        self.live: int | None = None  # the attempt that runs and counts
        self.started_at = 0
        self.timeout_at: int | None = None
        self.due_at: int | None = None  # where a backoff runs
        self.previous_backoff: int | None = None
        self.aborted = False
        self.ended: str | None = None
        self.lines: list[str] = []


class Auditor:
    """Verifies a run step by step.

    Args:
        settings: what the core was set up with.

    Example:
        >>> core = Core(CoreSettings(max_workers=1))
        >>> auditor = Auditor(core.settings)
        >>> submitted = r.TaskSubmitted(task=1)
        >>> auditor.step(0, submitted, core.handle(0, submitted))
    """

    def __init__(self, settings: CoreSettings) -> None:
        self._settings = settings
        self._now = 0
        self._tasks: dict[int, _History] = {}
        self._abandoned: dict[tuple[int, int], int] = {}  # to the slot it holds, or -1
        self._slots: dict[int, tuple[int, int]] = {}
        self._draining = False
        self._stops = 0

    def step(
        self, now_ns: int, stimulus: r.Stimulus, instructions: Sequence[r.Instruction]
    ) -> None:
        """Take one step of the core.

        Args:
            now_ns: when.
            stimulus: what went in.
            instructions: what came out.

        Raises:
            InvariantBroken: something does not hold.
        """
        _demand(now_ns >= self._now, 16, f"time went back from {self._now} to {now_ns}")
        self._now = now_ns
        parts = stimulus.stimuli if isinstance(stimulus, r.Simultaneous) else (stimulus,)
        completions: dict[tuple[int, int], r.AttemptSucceeded | r.AttemptFailed] = {}
        submitted_now: set[int] = set()
        aborted: list[_History] = []
        for part in sorted(parts, key=lambda part: isinstance(part, r.AbortRequested)):
            match part:
                case r.TaskSubmitted():
                    _demand(part.task not in self._tasks, 1, f"task {part.task} comes twice")
                    submitted_now.add(part.task)
                    self._tasks[part.task] = _History(part, now_ns)
                case r.AttemptSucceeded() | r.AttemptFailed():
                    completions[part.task, part.attempt] = part
                case r.AbortRequested():
                    aborted = [
                        history
                        for number, history in self._tasks.items()
                        if not history.ended and number not in submitted_now
                    ]
                case r.DrainRequested():
                    self._draining = True
                case _:
                    pass
        for instruction in instructions:
            if isinstance(instruction, r.StartAttempt):  # these come last, after an abort
                for history in aborted:
                    history.aborted = True
            self._instruction(instruction, completions)
        for history in aborted:
            history.aborted = True
        _demand(not completions, 17, f"completions without an answer: {sorted(completions)}")

    def _of(self, number: int) -> _History:
        history = self._tasks.get(number)
        if history is None:
            raise InvariantBroken(2, f"an instruction names task {number}, never submitted")
        return history

    def _instruction(
        self,
        instruction: r.Instruction,
        completions: dict[tuple[int, int], r.AttemptSucceeded | r.AttemptFailed],
    ) -> None:
        match instruction:
            case r.StartAttempt():
                self._start(instruction)
            case r.AbandonAttempt(task=number, attempt=attempt, slot=slot, freed=freed):
                self._abandon(self._of(number), number, attempt, slot, freed, instruction.outcome)
            case r.DelayTask():
                self._delay(instruction, completions)
            case r.FinishTask():
                self._finish(instruction, completions)
            case r.DropResult(task=number, attempt=attempt):
                key = number, attempt
                history = self._of(number)
                _demand(
                    key in self._abandoned, 11, f"{key} is dropped, not abandoned", history.lines
                )
                _demand(completions.pop(key, None) is not None, 11, f"{key} dropped unasked")
                del self._abandoned[key]
            case r.StopWorkers():
                self._stops += 1
                _demand(self._stops == 1, 17, "the workers are stopped twice")
                _demand(self._draining, 22, "the workers are stopped without a drain")
                left = [number for number, h in self._tasks.items() if not h.ended]
                _demand(not left, 22, f"the workers are stopped before {left} ended")

    def _start(self, start: r.StartAttempt) -> None:
        history = self._of(start.task)
        story = history.lines
        own = history.spec.max_retries
        allowed = 1 + (self._settings.max_retries if own is r.UNSET else own)
        _demand(not history.ended, 3, f"task {start.task} starts after its end", story)
        _demand(not history.aborted, 12, f"task {start.task} starts after an abort", story)
        _demand(history.live is None, 6, f"task {start.task} runs already", story)
        _demand(
            start.attempt == history.attempts + 1, 7, f"attempt {start.attempt} leaves a gap", story
        )
        _demand(start.attempt <= allowed, 7, f"attempt {start.attempt} of {allowed} allowed", story)
        deadline = history.spec.deadline_at_ns
        _demand(deadline is None or self._now < deadline, 8, "a start after the deadline", story)
        if start.attempt > 1:
            due = history.due_at
            _demand(due is not None and self._now >= due, 9, f"a start before {due}", story)
        _demand(0 <= start.slot < self._settings.max_workers, 4, f"no slot {start.slot}", story)
        held = {slot for slot in self._abandoned.values() if slot >= 0}
        _demand(start.slot not in self._slots, 5, f"slot {start.slot} is taken", story)
        _demand(start.slot not in held, 5, f"slot {start.slot} is held", story)
        own_limit = history.spec.timeout_ns
        limit = self._settings.timeout_ns if own_limit is r.UNSET else own_limit
        due_at = None if limit is None else self._now + limit
        _demand(start.timeout_at_ns == due_at, 10, f"a timeout at {start.timeout_at_ns}", story)
        self._slots[start.slot] = start.task, start.attempt
        history.attempts = history.live = start.attempt
        history.started_at, history.timeout_at, history.due_at = self._now, due_at, None
        story.append(f"{self._now}: attempt {start.attempt} started on slot {start.slot}")

    def _release(self, history: _History, number: int) -> None:
        history.live = None
        self._slots = {slot: run for slot, run in self._slots.items() if run[0] != number}

    def _abandon(
        self, history: _History, number: int, attempt: int, slot: int, freed: bool, outcome: str
    ) -> None:
        story = history.lines
        _demand(history.live == attempt, 6, f"{number}.{attempt} abandoned, not running", story)
        _demand(self._slots.get(slot) == (number, attempt), 5, f"not on slot {slot}", story)
        if outcome == "timeout":
            limits = [history.timeout_at, history.spec.deadline_at_ns]
            passed = [at for at in limits if at is not None and at <= self._now]
            _demand(bool(passed), 10, f"{number}.{attempt} timed out before its limit", story)
        replaced = sum(held < 0 for held in self._abandoned.values())
        _demand(
            freed == (replaced < self._settings.max_abandoned), 4, "a slot wrongly freed", story
        )
        self._release(history, number)
        self._abandoned[number, attempt] = -1 if freed else slot
        story.append(f"{self._now}: attempt {attempt} abandoned ({outcome})")

    def _delay(
        self,
        delay: r.DelayTask,
        completions: dict[tuple[int, int], r.AttemptSucceeded | r.AttemptFailed],
    ) -> None:
        history = self._of(delay.task)
        story = history.lines
        floor = None
        if delay.reason == "error":
            failure = completions.pop((delay.task, delay.attempt), None)
            retryable = isinstance(failure, r.AttemptFailed) and failure.retryable
            _demand(retryable, 8, "a retry without a retryable failure", story)
            assert isinstance(failure, r.AttemptFailed)
            floor = failure.retry_after_ns
            _demand(history.live == delay.attempt, 6, "the failure of no live attempt", story)
            self._release(history, delay.task)
        else:
            abandoned = (delay.task, delay.attempt) in self._abandoned
            _demand(delay.reason == "timeout" and abandoned, 8, "a retry without a cause", story)
        _demand(not history.aborted, 8, "a retry after an abort", story)
        settings = self._settings
        low, high = jitter_interval_ns(
            settings.jitter,
            settings.backoff_base_ns,
            settings.backoff_max_ns,
            delay.attempt,
            history.previous_backoff,
        )
        wait = delay.until_ns - self._now
        if floor is None or wait > floor:
            _demand(low <= wait <= high, 9, f"a backoff of {wait}, not {low} to {high}", story)
            history.previous_backoff = wait
        else:
            _demand(wait == floor, 9, f"a backoff of {wait} below its floor {floor}", story)
            history.previous_backoff = settings.backoff_max_ns  # hidden by the floor: any bound
        history.due_at = delay.until_ns
        story.append(f"{self._now}: to be retried at {delay.until_ns}")

    def _finish(
        self,
        finish: r.FinishTask,
        completions: dict[tuple[int, int], r.AttemptSucceeded | r.AttemptFailed],
    ) -> None:
        history = self._of(finish.task)
        story = history.lines
        _demand(not history.ended, 3, f"task {finish.task} ends twice", story)
        _demand(finish.attempts == history.attempts, 7, "the attempts are miscounted", story)
        key = finish.task, finish.attempts
        if history.live is not None:
            done = completions.pop(key, None)
            kind = r.AttemptSucceeded if finish.outcome == "ok" else r.AttemptFailed
            _demand(isinstance(done, kind), 18, f"{key} ends {finish.outcome} by {done}", story)
            self._release(history, finish.task)
        else:
            _demand(finish.outcome in ("timeout", "cancelled"), 18, "an end by no attempt", story)
        history.ended = finish.outcome
        story.append(f"{self._now}: ended, {finish.outcome}")
