"""A second scheduler, written from the decisions on behaviour, slow and plain.

It has no heap, no index and no counter: whatever it needs to know it finds by looking at every
task. The same calls give the same instructions as ``runtime.core.scheduler.Core``; where the two
differ, one of them is wrong.

At one instant: first what was due before it, in the order of due instants; then completion,
timeout, cancel and abort, backoff elapsed, submission, dispatch. What is of one kind keeps
the order of the tasks' numbers; an abort comes before cancels. A free slot is reused last in, first
out. A resize brings slots at once, those with the lowest numbers; what is too many goes before
dispatch, the highest of the free first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.core import records as r
from runtime.core.backoff import backoff_ns
from runtime.core.errors import InvalidTransition, TimeWentBack, UnknownTask
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState

READY, RUNNING, DELAYED = TaskState.READY, TaskState.RUNNING, TaskState.DELAYED
LIVE = (READY, RUNNING, DELAYED)
TIMEOUT, DEADLINE, BACKOFF = 0, 1, 2  # timers, in the order in which they fire at one instant
Completion = r.AttemptSucceeded | r.AttemptFailed


@dataclass
class Job:
    """A task, from its submission on and for ever."""

    spec: r.TaskSubmitted
    timeout: int | None
    retries: int
    submitted_at: int
    since: int  # when it entered its state
    state: TaskState = READY
    attempt: int = 0
    slot: int = -1
    started_at: int | None = None
    timeout_at: int | None = None
    due_at: int = 0
    backoff: int | None = None
    spent: dict[TaskState, int] = field(default_factory=lambda: dict.fromkeys(LIVE, 0))


class Reference:
    """Does what ``Core`` does."""

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        self.now = 0
        self.jobs: list[Job] = []
        self.ready: list[Job] = []  # in the order in which they became ready
        self.workers = settings.max_workers
        self.service = list(range(settings.max_workers))  # slots, taken or free
        self.free = self.service[::-1]
        self.abandoned: list[tuple[int, int, int | None]] = []  # task, attempt, slot still held
        self.draining = self.stopped = False
        self.out: list[r.Instruction] = []

    def job(self, number: int) -> Job | None:
        return next((job for job in self.jobs if job.spec.task == number), None)

    def live(self) -> list[Job]:
        return [job for job in self.jobs if job.state in LIVE]

    def running(self) -> list[Job]:
        return [job for job in self.jobs if job.state == RUNNING]

    def next_deadline_ns(self) -> int | None:
        """Exactly when something is due next."""
        return min((due for due, *_ in self._timers()), default=None)

    def handle(self, now: int, stimulus: r.Stimulus) -> list[r.Instruction]:
        parts = stimulus.stimuli if isinstance(stimulus, r.Simultaneous) else (stimulus,)
        self._refuse(now, stimulus, parts)
        self.now, self.out = now, []
        parts = tuple(sorted(parts, key=_by_task))
        self._fire(lambda due, _: due < now)
        for part in parts:
            if isinstance(part, Completion):
                self._complete(part)
        self._fire(lambda due, kind: due == now and kind != BACKOFF)
        for part in parts:
            if isinstance(part, r.CancelRequested):
                self._end(self.job(part.task), TaskState.CANCELLED, "cancelled")
            elif isinstance(part, r.AbortRequested):
                self._abort()
            elif isinstance(part, r.DrainRequested):
                self.draining = True
            elif isinstance(part, r.ResizeRequested):
                self._resize(part.max_workers)
        self._fire(lambda due, _: due == now)
        for part in parts:
            if isinstance(part, r.TaskSubmitted):
                self._submit(part)
        while self.free and len(self.service) > self.workers:
            self.free.remove(last := max(self.free))
            self.service.remove(last)
            self.out.append(r.RetireSlot(last))
        while self.free and self.ready:
            self._start(min(self.ready, key=self._order))
        if self.draining and not self.live() and not self.stopped:
            self.stopped = True
            self.out.append(r.StopWorkers())
        return self.out

    def _refuse(self, now: int, stimulus: r.Stimulus, parts: tuple[object, ...]) -> None:
        """Raise where a stimulus cannot be true of the state before it."""
        if now < self.now:
            raise TimeWentBack(now, self.now)
        running = [(job.spec.task, job.attempt) for job in self.running()]
        running += [(task, attempt) for task, attempt, _ in self.abandoned]
        numbers = [job.spec.task for job in self.jobs]
        for part in parts:
            if isinstance(part, Completion):
                if (part.task, part.attempt) not in running:
                    raise InvalidTransition(stimulus, "it does not run", [])
                running.remove((part.task, part.attempt))
            elif isinstance(part, r.CancelRequested) and self.job(part.task) is None:
                raise UnknownTask(stimulus, "no such task", [])
            elif isinstance(part, r.TaskSubmitted):
                if part.task < 1 or part.task in numbers:
                    raise InvalidTransition(stimulus, "no new number", [])
                numbers.append(part.task)
            elif isinstance(part, r.ResizeRequested) and part.max_workers < 1:
                raise InvalidTransition(stimulus, "nobody to work", [])
            elif isinstance(part, r.Simultaneous):
                raise InvalidTransition(stimulus, "nested", [])

    # ------------------------------------------------------------ timers

    def _timers(self) -> list[tuple[int, int, int, int]]:
        """All that is pending: due instant, RANK of its kind, task, kind."""
        found = []
        for job in self.live():
            number = job.spec.task
            if job.timeout_at is not None:
                found.append((job.timeout_at, 0, number, TIMEOUT))
            if job.spec.deadline_at_ns is not None:
                found.append((job.spec.deadline_at_ns, 0, number, DEADLINE))
            if job.state == DELAYED:
                found.append((job.due_at, 1, number, BACKOFF))
        return sorted(found)

    def _fire(self, chosen: Callable[[int, int], bool]) -> None:
        """Fire the chosen timers, one by one, and look at all of them again after each."""
        while due := [timer for timer in self._timers() if chosen(timer[0], timer[3])]:
            _, _, number, kind = due[0]
            job = self.job(number)
            assert job is not None
            if kind == TIMEOUT:
                self._retry_or_end(job, None)
            elif kind == DEADLINE:
                self._end(job, TaskState.TIMED_OUT, "deadline passed")
            else:
                self._leave(job)
                job.state, job.since = READY, self.now
                self.ready.append(job)

    # ------------------------------------------------------------ stimuli

    def _submit(self, spec: r.TaskSubmitted) -> None:
        own = self.settings
        timeout = own.timeout_ns if spec.timeout_ns is r.UNSET else spec.timeout_ns
        retries = own.max_retries if spec.max_retries is r.UNSET else spec.max_retries
        job = Job(spec, timeout, retries, self.now, self.now)
        self.jobs.append(job)
        self.ready.append(job)
        if self.draining:
            self._end(job, TaskState.CANCELLED, "submitted while draining")
        elif spec.deadline_at_ns is not None and spec.deadline_at_ns <= self.now:
            self._end(job, TaskState.TIMED_OUT, "deadline passed")

    def _complete(self, part: Completion) -> None:
        for late in self.abandoned:
            if late[:2] == (part.task, part.attempt):
                self.abandoned.remove(late)
                if late[2] is not None:
                    self.free.append(late[2])
                self.out.append(r.DropResult(part.task, part.attempt))
                return
        job = self.job(part.task)
        assert job is not None
        if isinstance(part, r.AttemptSucceeded):
            self._return(job, part)
            self._finish(job, TaskState.SUCCEEDED, "")
        else:
            self._retry_or_end(job, part)

    def _resize(self, workers: int) -> None:
        self.workers = workers
        missing = (n for n in range(len(self.service) + workers) if n not in self.service)
        new = [next(missing) for _ in range(workers - len(self.service))]
        self.service += new
        self.free += new[::-1]

    def _abort(self) -> None:
        for job in self.live():
            if job.state == RUNNING:
                job.retries = 0
            else:
                self._end(job, TaskState.CANCELLED, "aborted")

    def _order(self, job: Job) -> tuple[int, int, int]:
        ageing, priority = self.settings.ageing_ns, job.spec.priority
        line = self.ready.index(job)
        if ageing is None:
            return priority, 0, line
        return job.since + priority * ageing, priority, line

    def _start(self, job: Job) -> None:
        self._leave(job)
        self.ready.remove(job)
        job.state, job.since, job.slot = RUNNING, self.now, self.free.pop()
        job.attempt += 1
        if job.started_at is None:
            job.started_at = self.now
        if job.timeout is not None:
            job.timeout_at = self.now + job.timeout
        number = job.spec.task
        self.out.append(r.StartAttempt(number, job.attempt, job.slot, job.timeout_at))

    def _retry_or_end(self, job: Job, failure: r.AttemptFailed | None) -> None:
        """An attempt failed, or its time is up where there is no failure."""
        own, number = self.settings, job.spec.task
        wait = backoff = backoff_ns(
            own.jitter,
            own.backoff_base_ns,
            own.backoff_max_ns,
            job.attempt,
            job.backoff,
            seed=own.seed,
            task=number,
        )
        if failure is not None and failure.retry_after_ns is not None:
            wait = max(backoff, failure.retry_after_ns)
        deadline = job.spec.deadline_at_ns
        ended: r.Reason = ""
        if failure is not None and not failure.retryable:
            ended = "not retryable"
        elif job.retries == 0:
            ended = "retries exhausted"
        elif deadline is not None and self.now + wait >= deadline:
            ended = "retry would pass the deadline"
        if failure is None:
            self._abandon(job, "timeout")
        else:
            self._return(job, failure)
        if ended:
            self._finish(job, TaskState.FAILED if failure else TaskState.TIMED_OUT, ended)
            return
        job.state, job.since, job.retries = DELAYED, self.now, job.retries - 1
        job.backoff, job.due_at = backoff, self.now + wait
        why: r.Reason = "error" if failure else "timeout"
        self.out.append(r.DelayTask(number, job.attempt, job.due_at, why))

    # ------------------------------------------------------------ leaving and ending

    def _end(self, job: Job | None, state: TaskState, reason: r.Reason) -> None:
        """End a task from outside, wherever it is; one that has ended stays as it is."""
        assert job is not None
        if job.state not in LIVE:
            return
        if job.state == RUNNING:
            self._abandon(job, "cancelled" if state == TaskState.CANCELLED else "timeout")
        else:
            self._leave(job)
            if job in self.ready:
                self.ready.remove(job)
        self._finish(job, state, reason)

    def _finish(self, job: Job, state: TaskState, reason: r.Reason) -> None:
        job.state = state
        outcomes: dict[TaskState, r.Outcome] = {
            TaskState.SUCCEEDED: "ok",
            TaskState.FAILED: "error",
            TaskState.TIMED_OUT: "timeout",
            TaskState.CANCELLED: "cancelled",
        }
        self.out.append(
            r.FinishTask(
                job.spec.task,
                outcomes[state],
                job.attempt,
                reason,
                job.slot,
                job.submitted_at,
                job.started_at,
                job.spent[RUNNING],
                job.spent[READY],
                job.spent[DELAYED],
            )
        )

    def _leave(self, job: Job) -> None:
        job.spent[job.state] += self.now - job.since

    def _return(self, job: Job, part: Completion) -> None:
        job.spent[RUNNING] += part.ended_at_ns - part.begun_at_ns
        job.timeout_at = None
        self.free.append(job.slot)

    def _abandon(self, job: Job, outcome: r.Outcome) -> None:
        self._leave(job)
        job.timeout_at = None
        replaced = sum(1 for _, _, held in self.abandoned if held is None)
        freed = replaced < self.settings.max_abandoned
        if freed:
            self.free.append(job.slot)
        number = job.spec.task
        self.abandoned.append((number, job.attempt, None if freed else job.slot))
        self.out.append(r.AbandonAttempt(number, job.attempt, job.slot, freed, outcome))


def _by_task(part: object) -> tuple[int, int]:
    return getattr(part, "task", 0), getattr(part, "attempt", 0)
