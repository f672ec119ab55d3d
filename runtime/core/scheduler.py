"""The scheduling core: a pure machine that decides everything a pool does.

``handle(now_ns, stimulus)`` is the one way in. It returns instructions for the host; the same
settings and the same calls give the same answers on any host and any clock. ``next_deadline_ns()``
says when to call again if nothing happens before: a host asks after each call, and wakes that come
early, late or twice change nothing. Illegal stimuli raise and leave the state as it was.

At one instant things happen in the order completion, timeout, what somebody asks for (cancel,
abort, drain, resize), backoff elapsed, submission, dispatch; so a result that arrives exactly on
its limit is in time. The core's own timers take their place in that order by their due instants,
then by task number.

A resize stops nothing. Given more workers, the pool has more slots at once. Given fewer, free slots
are *retired*, those with the highest numbers first; where that is not enough, the others go one by
one as attempts end. Until then more attempts may run than there are workers, and none starts.

What a call costs: a running attempt's timeout lives in its slot, and ``wake_at_ns`` is a lower
bound of all timers, lowered when a timer is set and made exact only when it is reached. So starting
and finishing an attempt touches no heap, leaves no stale timer behind, and ``next_deadline_ns`` is
O(1); a wake that finds nothing due costs O(slots), at most once in each shortest timeout.
"""

from __future__ import annotations

import heapq
from typing import Final, assert_never

from runtime.core import records as r
from runtime.core.backoff import backoff_ns
from runtime.core.errors import InvalidTransition, TimeWentBack, UnknownTask
from runtime.core.legal import NO_WORKERS, check_legal
from runtime.core.ready import ReadyOrder
from runtime.core.records import (
    UNSET,
    AttemptSucceeded,
    FinishTask,
    StartAttempt,
    TaskSubmitted,
)
from runtime.core.settings import CoreSettings
from runtime.core.states import ILLEGAL, NEXT, Cause, TaskState
from runtime.core.stories import outline
from runtime.core.tally import Tally
from runtime.core.task import Task

__all__ = ["Core"]

_NEVER: Final = 1 << 63
_SWEEP_AT: Final = 64

_STATES: Final = tuple(TaskState)  # by their numbers; to ask the enum costs ten times as much
_READY: Final = int(TaskState.READY)
_RUNNING: Final = int(TaskState.RUNNING)
_DELAYED: Final = int(TaskState.DELAYED)
_SUCCEEDED: Final = int(TaskState.SUCCEEDED)
# The table's two busiest cells, looked up once.
_AFTER_START: Final = NEXT[_READY][Cause.STARTED]
_AFTER_SUCCESS: Final = NEXT[_RUNNING][Cause.SUCCEEDED]

# One byte for each task number: 0 is unknown, _LIVE is live, anything else is _ENDED + its state.
_LIVE: Final = 1
_ENDED: Final = 2
_ENDED_WELL: Final = _ENDED + _SUCCEEDED

_OUTCOME: Final[dict[int, r.Outcome]] = {
    TaskState.SUCCEEDED: "ok",
    TaskState.FAILED: "error",
    TaskState.TIMED_OUT: "timeout",
    TaskState.CANCELLED: "cancelled",
}

_Out = list[r.Instruction]


class Core:
    """One pool's decisions.

    Args:
        settings: what it decides by.
        record: which transitions to keep for ``take_transitions``: ``none``; ``notable``, all but
            submissions, starts and successes; or ``all``. Of a marked task all are kept but its
            submission and its starts.

    Attributes:
        workers: how many there are to be: the settings' ``max_workers``, or the last resize's.
        resizes: from when on there were how many slots, where it was resized, in order.
        transitions: those recorded and not taken yet.
        marks: by a task's number what it is to be remembered by, put here before it is submitted;
            taken out when it is. No decision depends on it.
        tally: where what happens is counted, ``None`` for nowhere; see ``count_into``.
        wake_at_ns: what ``next_deadline_ns`` answers, with 2**63 for never.
        timers_fired: timers that have changed something so far. A wake that leaves it as it was
            has changed nothing, and a journal need not know of it.

    Example:
        >>> core = Core(CoreSettings(max_workers=1))
        >>> core.handle(0, r.TaskSubmitted(task=1))
        [StartAttempt(task=1, attempt=1, slot=0, timeout_at_ns=None)]
        >>> done = r.AttemptSucceeded(1, 1, dispatched_at_ns=0, begun_at_ns=1, ended_at_ns=9)
        >>> [instruction.outcome for instruction in core.handle(10, done)]
        ['ok']
    """

    def __init__(self, settings: CoreSettings, record: str = "none") -> None:
        self.settings = settings
        self._now = 0
        self._tasks: dict[int, Task] = {}
        self._fate = bytearray(64)
        self._ready = ReadyOrder(settings.ageing_ns)
        self.workers = settings.max_workers
        self.resizes: list[tuple[int, int]] = []
        self._slots: list[Task | None] = [None] * settings.max_workers
        self._free = list(range(settings.max_workers - 1, -1, -1))
        self._retired: list[int] = []  # slots out of service, ascending
        self._in_service = settings.max_workers
        # abandoned attempts: (task, attempt) -> the slot it still holds, or -1
        self._abandoned: dict[tuple[int, int], int] = {}
        self.timers_fired = 0
        self._replaced = 0  # abandoned attempts whose slot was given to a replacement
        self._backoffs: list[tuple[int, int]] = []  # heap of (due_at_ns, task)
        self._stale_backoffs = 0
        self._deadlines: list[tuple[int, int]] = []  # heap of (deadline_at_ns, task)
        self._stale_deadlines = 0
        self.wake_at_ns = _NEVER
        self._draining = False
        self._stopped = False
        self._timeout_ns = settings.timeout_ns
        self._max_retries = settings.max_retries
        self._keep = record in ("notable", "all")
        self._keep_all = record == "all"
        self.transitions: list[r.Transition] = []
        self.marks: dict[int, object] = {}
        self.tally: Tally | None = None

    # ------------------------------------------------------------ the way in

    def handle(self, now_ns: int, stimulus: r.Stimulus) -> list[r.Instruction]:
        """Take in one stimulus and decide.

        Args:
            now_ns: the host's clock, in nanoseconds since the pool was made; never before the
                last call's.
            stimulus: what happened.

        Returns:
            The instructions that follow, in the order in which to carry them out.

        Raises:
            TimeWentBack: ``now_ns`` lies before the last call's.
            UnknownTask: a cancel names a task that was never submitted.
            InvalidTransition: the stimulus cannot be true. Nothing has changed.
        """
        if now_ns < self._now:
            raise TimeWentBack(now_ns, self._now)
        out: _Out = []
        kind = type(stimulus)
        if now_ns < self.wake_at_ns and kind is AttemptSucceeded:
            self._succeeded(now_ns, stimulus, out)  # type: ignore[arg-type]  # by its kind
        elif now_ns < self.wake_at_ns and kind is TaskSubmitted:
            self._submitted(now_ns, stimulus, out, alone=True)  # type: ignore[arg-type]
        else:
            if now_ns >= self.wake_at_ns:
                self._handle_with_timers(now_ns, stimulus, out)
            else:
                self._take(now_ns, stimulus, out)
            while now_ns >= self.wake_at_ns:  # a backoff of 0 elapses in the instant it begins
                self._elapse(now_ns, r.RANK_TIME, out)
                self._find_next_wake()
        if self._free:
            if self._in_service > self.workers:
                self._retire(now_ns, out)
            if self._ready.live:
                self._dispatch(now_ns, out)
        self._now = now_ns
        if self._draining and not self._tasks and not self._stopped:
            self._stopped = True
            out.append(r.StopWorkers())
        return out

    def next_deadline_ns(self) -> int | None:
        """When to call ``handle`` with ``TimeElapsed`` if nothing else happens before.

        Returns:
            An instant, possibly earlier than anything that is due; ``None`` for never.
        """
        return None if self.wake_at_ns == _NEVER else self.wake_at_ns

    def take_transitions(self) -> list[r.Transition]:
        """Hand over the transitions recorded since the last time."""
        taken = self.transitions
        self.transitions = []
        return taken

    def record(self, which: str) -> None:
        """Change which transitions are kept from now on (see the class)."""
        self._keep = which in ("notable", "all")
        self._keep_all = which == "all"

    def count_into(self, tally: Tally | None) -> None:
        """Count what happens from now on; what was submitted before is not counted.

        Args:
            tally: where, ``None`` for nowhere.
        """
        self.tally = tally
        if tally is None:
            for task in self._tasks.values():
                task.tally = None

    # ------------------------------------------------------------ looking in

    @property
    def accepting(self) -> bool:
        """Whether new tasks are taken."""
        return not self._draining

    @property
    def busy(self) -> int:
        """Slots that are taken, by running attempts or by abandoned ones that hold theirs."""
        return self._in_service - len(self._free)

    @property
    def idle(self) -> int:
        """Slots that are free."""
        return len(self._free)

    @property
    def abandoned(self) -> int:
        """Abandoned attempts that still run."""
        return len(self._abandoned)

    @property
    def outstanding(self) -> int:
        """Attempts that occupy a thread: on a slot, or abandoned and replaced on theirs."""
        return self._in_service - len(self._free) + self._replaced

    def running(self) -> list[int]:
        """The tasks whose attempts are running and count, slot by slot."""
        return [task.spec.task for task in self._slots if task is not None]

    def waiting(self) -> tuple[int, int, int | None]:
        """How many tasks are ready and how many in backoff, and since when the first is ready."""
        ready = self._ready.live
        delayed = len(self._tasks) - ready - len(self.running())
        return ready, delayed, self._ready.oldest_at_ns()

    def live(self) -> list[int]:
        """The tasks that have not ended."""
        return list(self._tasks)

    def abandoned_tasks(self) -> list[int]:
        """The tasks of the abandoned attempts that still run, once for each attempt."""
        return [number for number, _ in self._abandoned]

    def counts(self) -> dict[TaskState, int]:
        """How many tasks are in each state; counted now, and fast where a task has ended."""
        fate = self._fate
        counts = {state: fate.count(_ENDED + state) for state in _STATES}
        for task in self._tasks.values():
            counts[_STATES[task.state]] += 1
        return counts

    def state(self, number: int) -> TaskState | None:
        """The state of a task, ``None`` for a number that was never submitted."""
        task = self._tasks.get(number)
        if task is not None:
            return _STATES[task.state]
        fate = self._fate[number] if 0 < number < len(self._fate) else 0
        return _STATES[fate - _ENDED] if fate >= _ENDED else None

    def still_runs(self, number: int, attempt: int) -> bool:
        """Whether an attempt can still end: it runs and counts, or it was abandoned and runs."""
        task = self._tasks.get(number)
        runs = task is not None and task.state == _RUNNING and task.attempt == attempt
        return runs or (number, attempt) in self._abandoned

    def task(self, number: int) -> Task | None:
        """What is remembered of a live task, ``None`` for any other. Not to be changed."""
        return self._tasks.get(number)

    def story(self, number: int) -> list[str]:
        """What the core still knows of a task, for messages; a journal knows all of it."""
        state = self.state(number)
        if state is None:
            return [f"task {number} was never submitted"]
        return outline(number, state, self._tasks.get(number), self._abandoned)

    # ------------------------------------------------------------ timers

    def _handle_with_timers(self, now: int, stimulus: r.Stimulus, out: _Out) -> None:
        """Let due timers and the stimulus happen in the order of ``RANK``."""
        check_legal(self, stimulus)
        if type(stimulus) is r.Simultaneous:
            self._simultaneous(now, stimulus, out)
        else:
            self._elapse(now, r.RANK[type(stimulus)], out)
            self._take(now, stimulus, out)
        self._elapse(now, r.RANK_TIME, out)
        self._find_next_wake()

    def _elapse(self, now: int, rank: int, out: _Out) -> None:
        """Fire what is due before ``now``, and at ``now`` with a rank below the given one."""
        if now < self.wake_at_ns:
            return  # nothing is due: it is a lower bound of all timers
        if rank > r.RANK_BACKOFF:
            self._elapse(now, r.RANK_BACKOFF, out)  # timeouts first: they may begin backoffs of 0
        due: list[tuple[int, int, int, int]] = []  # due_at, rank, task, 1 if a deadline
        at_now_too = rank > r.RANK_TIMEOUT
        for task in self._slots:
            if task is None or task.timeout_at_ns is None:
                continue
            due_at = task.timeout_at_ns
            if due_at < now or (due_at == now and at_now_too):
                due.append((due_at, r.RANK_TIMEOUT, task.spec.task, 0))
        while self._deadlines:
            due_at, number = self._deadlines[0]
            if due_at > now or (due_at == now and not at_now_too):
                break
            heapq.heappop(self._deadlines)
            late = self._tasks.get(number)
            if late is None:
                self._stale_deadlines -= 1
            else:
                late.deadline_kept = False
                due.append((due_at, r.RANK_TIMEOUT, number, 1))
        at_now_too = rank > r.RANK_BACKOFF
        while self._backoffs:
            due_at, number = self._backoffs[0]
            if due_at > now or (due_at == now and not at_now_too):
                break
            heapq.heappop(self._backoffs)
            delayed = self._tasks.get(number)
            if delayed is None or delayed.state != _DELAYED:
                self._stale_backoffs -= 1
            else:
                due.append((due_at, r.RANK_BACKOFF, number, 0))
        due.sort()
        for due_at, kind, number, is_deadline in due:
            fired = self._tasks.get(number)
            if fired is None:
                continue  # a timer before it in this very instant ended the task
            self.timers_fired += 1
            if kind == r.RANK_BACKOFF:
                self._backoff_elapsed(now, fired)
            elif is_deadline:
                self._deadline_passed(now, fired, out)
            elif fired.state == _RUNNING:
                self._attempt_timed_out(now, fired, out)
            if fired.tally is not None and self.tally is not None:
                self.tally.timer_lag.add(now - due_at, now, None)

    def _find_next_wake(self) -> None:
        wake = _NEVER
        for task in self._slots:
            if task is not None and task.timeout_at_ns is not None and task.timeout_at_ns < wake:
                wake = task.timeout_at_ns
        if self._deadlines and self._deadlines[0][0] < wake:
            wake = self._deadlines[0][0]
        if self._backoffs and self._backoffs[0][0] < wake:
            wake = self._backoffs[0][0]
        self.wake_at_ns = wake

    def _wake_by(self, at_ns: int) -> None:
        self.wake_at_ns = min(self.wake_at_ns, at_ns)

    def _backoff_elapsed(self, now: int, task: Task) -> None:
        before = self._move(task, Cause.BACKOFF_ELAPSED)
        task.delayed_ns += now - task.attempt_at_ns
        self._make_ready(now, task)
        self._note(now, task, before, Cause.BACKOFF_ELAPSED)

    def _deadline_passed(self, now: int, task: Task, out: _Out) -> None:
        self._end(now, task, Cause.DEADLINE_PASSED, "deadline passed", out)

    def _attempt_timed_out(self, now: int, task: Task, out: _Out) -> None:
        self._retry_or_end(now, task, "timeout", None, out)

    # ------------------------------------------------------------ stimuli

    def _take(self, now: int, stimulus: r.Stimulus, out: _Out) -> None:
        """Let a stimulus happen; timers that come before it have fired."""
        match stimulus:
            case r.TaskSubmitted():
                self._submitted(now, stimulus, out)
            case r.AttemptSucceeded():
                self._succeeded(now, stimulus, out)
            case r.AttemptFailed():
                self._failed(now, stimulus, out)
            case r.CancelRequested():
                self._cancel_requested(now, stimulus, out)
            case r.AbortRequested():
                self._abort_requested(now, out)
            case r.DrainRequested():
                self._draining = True
            case r.ResizeRequested():
                self._resize_requested(now, stimulus)
            case r.TimeElapsed():
                pass  # timers fire in _handle_with_timers; there is nothing else to do
            case r.Simultaneous():
                self._simultaneous(now, stimulus, out)
            case _:
                assert_never(stimulus)

    def _submitted(self, now: int, s: r.TaskSubmitted, out: _Out, *, alone: bool = False) -> None:
        number = s.task
        fate = self._fate
        if number >= len(fate):
            fate.extend(bytes(max(len(fate), number + 1 - len(fate))))
        if number < 1 or fate[number]:
            raise InvalidTransition(s, "its number is taken", self.story(number))
        fate[number] = _LIVE
        timeout = s.timeout_ns
        retries = s.max_retries
        self._tasks[number] = task = Task(
            s,
            self._timeout_ns if timeout is UNSET else timeout,
            self._max_retries if retries is UNSET else retries,
            now,
            now,
        )
        if self.tally is not None:
            task.tally = group = self.tally.groups.get(s.group) or self.tally.group(s.group)
            group.submitted += 1
        if self.marks:
            task.mark = self.marks.pop(number, None)
        if self._keep_all:
            self.transitions.append(
                r.Transition(now, number, None, TaskState.READY, None, detail=s)
            )
        deadline = s.deadline_at_ns
        if alone and self._free and deadline is None and not self._draining:
            # nobody waits where a slot is free, and nothing else happens now: it is the next
            self._start(now, task, self._free.pop(), out)
            return
        self._ready.push(task)
        if self._draining:
            self._end(now, task, Cause.ABORT_REQUESTED, "submitted while draining", out)
        elif deadline is not None:
            if deadline <= now:
                self._end(now, task, Cause.DEADLINE_PASSED, "deadline passed", out)
            else:
                heapq.heappush(self._deadlines, (deadline, number))
                task.deadline_kept = True
                self._wake_by(deadline)

    def _succeeded(self, now: int, s: r.AttemptSucceeded, out: _Out) -> None:
        number = s.task
        task = self._tasks.get(number)
        if task is None or task.attempt != s.attempt or task.state != _RUNNING:
            self._late(now, s, out)
            return
        slot = task.slot
        self._slots[slot] = None
        self._free.append(slot)
        task.state = _AFTER_SUCCESS
        if task.spec.deadline_at_ns is None:
            del self._tasks[number]
            self._fate[number] = _ENDED_WELL
        else:
            self._forget(task, number, _SUCCEEDED)
        out.append(
            FinishTask(
                number,
                "ok",
                s.attempt,
                "",
                slot,
                task.submitted_at_ns,
                task.started_at_ns,
                task.running_ns + s.ended_at_ns - s.begun_at_ns,
                task.queued_ns,
                task.delayed_ns,
            )
        )
        if task.tally is not None:
            task.tally.succeeded(now, task.attempt_at_ns, task.submitted_at_ns, task.mark)
        if task.mark is not None:
            self._note(now, task, TaskState.RUNNING, Cause.SUCCEEDED, detail=s)
        elif self._keep_all:
            self.transitions.append(
                r.Transition(
                    now,
                    number,
                    TaskState.RUNNING,
                    TaskState.SUCCEEDED,
                    Cause.SUCCEEDED,
                    s.attempt,
                    slot,
                    detail=s,
                )
            )

    def _failed(self, now: int, s: r.AttemptFailed, out: _Out) -> None:
        task = self._tasks.get(s.task)
        if task is None or task.attempt != s.attempt or task.state != _RUNNING:
            self._late(now, s, out)
            return
        self._retry_or_end(now, task, "error", s, out)

    def _late(self, now: int, s: r.AttemptSucceeded | r.AttemptFailed, out: _Out) -> None:
        held = self._abandoned.pop((s.task, s.attempt), None)
        if held is None:
            raise InvalidTransition(s, "no such attempt is running", self.story(s.task))
        if held < 0:
            self._replaced -= 1
        else:
            self._free.append(held)
        out.append(r.DropResult(s.task, s.attempt))
        if self.tally is not None:
            tally = self.tally.abandoned.pop((s.task, s.attempt), None)
            if tally is not None:
                tally.late += 1
        if self._keep:
            state = self.state(s.task)
            assert state is not None
            self.transitions.append(
                r.Transition(
                    now, s.task, state, state, Cause.LATE_COMPLETION, s.attempt, held, detail=s
                )
            )

    def _cancel_requested(self, now: int, s: r.CancelRequested, out: _Out) -> None:
        task = self._tasks.get(s.task)
        if task is None:
            if self.state(s.task) is None:
                raise UnknownTask(s, "no task has this number", self.story(s.task))
            return
        self._end(now, task, Cause.CANCEL_REQUESTED, "cancelled", out)

    def _abort_requested(self, now: int, out: _Out) -> None:
        for task in list(self._tasks.values()):
            if task.state == _RUNNING:
                task.retries_left = 0
            else:
                self._end(now, task, Cause.ABORT_REQUESTED, "aborted", out)

    def _resize_requested(self, now: int, s: r.ResizeRequested) -> None:
        """Have more slots now; what is too many goes in ``_retire``, before the next dispatch."""
        if s.max_workers < 1:
            raise InvalidTransition(s, NO_WORKERS, [])
        self.workers = s.max_workers
        more = s.max_workers - self._in_service
        if more > 0:
            back, self._retired = self._retired[:more], self._retired[more:]
            slots = self._slots
            new = range(len(slots), len(slots) + more - len(back))
            slots.extend([None] * len(new))
            self._free.extend(sorted([*back, *new], reverse=True))  # the lowest is taken first
            self._in_service = s.max_workers
            self.resizes.append((now, s.max_workers))

    def _retire(self, now: int, out: _Out) -> None:
        """Take free slots out of service, as many as are too many; the highest first."""
        free, slots = self._free, self._slots
        many = min(len(free), self._in_service - self.workers)
        going = sorted(free)[-many:]
        free[:] = [slot for slot in free if slot < going[0]]
        self._in_service -= many
        self.resizes.append((now, self._in_service))
        retired = self._retired = sorted([*self._retired, *going])
        while retired and retired[-1] == len(slots) - 1:  # timers look at every slot
            retired.pop()
            slots.pop()
        out.extend([r.RetireSlot(slot) for slot in reversed(going)])

    def _simultaneous(self, now: int, s: r.Simultaneous, out: _Out) -> None:
        check_legal(self, s)
        for part in sorted(s.stimuli, key=r.order_of):
            self._elapse(now, r.RANK[type(part)], out)
            self._take(now, part, out)

    # ------------------------------------------------------------ rules

    def _dispatch(self, now: int, out: _Out) -> None:
        """Give free slots to ready tasks.

        With ``_submitted``'s short cut this is the seam for admission: a rule that holds a task
        back (a group's limit, a rate) is asked between the ready order and ``_start``.
        """
        free = self._free
        ready = self._ready
        while free and ready.live:
            self._start(now, ready.pop(), free.pop(), out)

    def _start(self, now: int, task: Task, slot: int, out: _Out) -> None:
        """Start the next attempt of a ready task on a free slot."""
        self._slots[slot] = task
        task.state = _AFTER_START
        task.attempt = attempt = task.attempt + 1
        task.slot = slot
        task.attempt_at_ns = now
        if attempt == 1:
            task.started_at_ns = now
        task.queued_ns += now - task.ready_at_ns
        limit = task.timeout_ns
        if limit is None:
            timeout_at = None
        else:
            task.timeout_at_ns = timeout_at = now + limit
            if timeout_at < self.wake_at_ns:  # noqa: PLR1730  # a call of min() a task less
                self.wake_at_ns = timeout_at
        out.append(StartAttempt(task.spec.task, attempt, slot, timeout_at))
        if task.tally is not None:
            task.tally.started(now, task.ready_at_ns, task.mark)
        if self._keep_all:
            self.transitions.append(
                r.Transition(
                    now,
                    task.spec.task,
                    TaskState.READY,
                    TaskState.RUNNING,
                    Cause.STARTED,
                    attempt,
                    slot,
                )
            )

    def _retry_or_end(
        self,
        now: int,
        task: Task,
        why: r.Reason,
        failure: r.AttemptFailed | None,
        out: _Out,
    ) -> None:
        """An attempt failed or timed out: keep the task for a retry, or end it."""
        timed_out = failure is None
        finally_ = Cause.TIMED_OUT_FINALLY if timed_out else Cause.FAILED_FINALLY
        if failure is not None and not failure.retryable:
            self._end(now, task, finally_, "not retryable", out, failure)
            return
        if task.retries_left == 0:
            self._end(now, task, finally_, "retries exhausted", out, failure)
            return
        settings = self.settings
        number = task.spec.task
        delay = backoff_ns(
            settings.jitter,
            settings.backoff_base_ns,
            settings.backoff_max_ns,
            task.attempt,
            task.backoff_ns,
            seed=settings.seed,
            task=number,
        )
        wait = delay
        if failure is not None and failure.retry_after_ns is not None:
            wait = max(delay, failure.retry_after_ns)
        due_at = now + wait
        deadline = task.spec.deadline_at_ns
        if deadline is not None and due_at >= deadline:
            self._end(now, task, finally_, "retry would pass the deadline", out, failure)
            return
        cause = Cause.TIMED_OUT_RETRYABLE if timed_out else Cause.FAILED_RETRYABLE
        before = self._move(task, cause)
        if timed_out:
            self._abandon(now, task, "timeout", out)
        else:
            assert failure is not None
            self._release(now, task, failure.ended_at_ns - failure.begun_at_ns)
        if task.tally is not None:
            task.tally.retries[why] += 1
        task.retries_left -= 1
        task.backoff_ns = delay
        task.due_at_ns = due_at
        heapq.heappush(self._backoffs, (due_at, number))
        self._wake_by(due_at)
        out.append(r.DelayTask(number, task.attempt, due_at, why))
        self._note(now, task, before, cause, why, due_at, failure, abandoned=timed_out)
        task.attempt_at_ns = now  # from here on: when this backoff began

    def _end(
        self,
        now: int,
        task: Task,
        cause: Cause,
        reason: r.Reason,
        out: _Out,
        failure: r.AttemptFailed | None = None,
    ) -> None:
        """End a live task other than by success, wherever it is."""
        number = task.spec.task
        before = self._move(task, cause)
        state = task.state
        abandoned = False
        if before == _RUNNING:
            if failure is not None:
                self._release(now, task, failure.ended_at_ns - failure.begun_at_ns)
            else:
                abandoned = True
                outcome: r.Outcome = "cancelled" if cause == Cause.CANCEL_REQUESTED else "timeout"
                self._abandon(now, task, outcome, out)
        elif before == _READY:
            task.queued_ns += now - task.ready_at_ns
            self._ready.discard_one()
        else:
            task.delayed_ns += now - task.attempt_at_ns
            self._stale_backoffs += 1
            self._sweep_backoffs()
        self._forget(task, number, state)
        out.append(
            FinishTask(
                number,
                _OUTCOME[state],
                task.attempt,
                reason,
                task.slot,
                task.submitted_at_ns,
                task.started_at_ns,
                task.running_ns,
                task.queued_ns,
                task.delayed_ns,
            )
        )
        if task.tally is not None:
            outcomes = task.tally.tasks
            outcomes[_OUTCOME[state]].add(now - task.submitted_at_ns, now, task.mark)
        self._note(now, task, before, cause, reason, None, failure, abandoned=abandoned)

    # ------------------------------------------------------------ bookkeeping

    def _move(self, task: Task, cause: Cause) -> TaskState:
        """Follow the table; the state before is returned."""
        before = task.state
        after = NEXT[before][cause]
        if after == ILLEGAL:  # a bug of the core's own: hosts are stopped by check_legal
            raise AssertionError(f"{TaskState(before).name} x {cause.name} has no next state")
        task.state = after
        return _STATES[before]

    def _make_ready(self, now: int, task: Task) -> None:
        task.ready_at_ns = now
        self._ready.push(task)

    def _release(self, now: int, task: Task, ran_ns: int) -> None:
        """Take an attempt that has failed off its slot."""
        if task.tally is not None:
            task.tally.attempts["error"].add(now - task.attempt_at_ns, now, task.mark)
        self._slots[task.slot] = None
        self._free.append(task.slot)
        task.running_ns += ran_ns
        task.timeout_at_ns = None

    def _abandon(self, now: int, task: Task, outcome: r.Outcome, out: _Out) -> None:
        """Take an attempt that still runs off its slot, as far as replacements allow."""
        slot = task.slot
        self._slots[slot] = None
        freed = self._replaced < self.settings.max_abandoned
        if freed:
            self._replaced += 1
            self._free.append(slot)
        self._abandoned[(task.spec.task, task.attempt)] = -1 if freed else slot
        if task.tally is not None and self.tally is not None:
            task.tally.attempts[outcome].add(now - task.attempt_at_ns, now, task.mark)
            self.tally.abandoned[(task.spec.task, task.attempt)] = task.tally
        task.running_ns += now - task.attempt_at_ns
        task.timeout_at_ns = None
        out.append(r.AbandonAttempt(task.spec.task, task.attempt, slot, freed, outcome))

    def _forget(self, task: Task, number: int, state: int) -> None:
        del self._tasks[number]
        self._fate[number] = _ENDED + state
        if task.deadline_kept:
            self._stale_deadlines += 1
            stale = self._stale_deadlines
            if stale > _SWEEP_AT and stale > len(self._deadlines) // 2:
                self._deadlines = [e for e in self._deadlines if e[1] in self._tasks]
                heapq.heapify(self._deadlines)
                self._stale_deadlines = 0

    def _sweep_backoffs(self) -> None:
        stale = self._stale_backoffs
        if stale > _SWEEP_AT and stale > len(self._backoffs) // 2:
            live = self._tasks
            self._backoffs = [
                e for e in self._backoffs if e[1] in live and live[e[1]].state == _DELAYED
            ]
            heapq.heapify(self._backoffs)
            self._stale_backoffs = 0

    def _note(
        self,
        now: int,
        task: Task,
        before: TaskState,
        cause: Cause,
        reason: r.Reason = "",
        until_ns: int | None = None,
        detail: r.AttemptSucceeded | r.AttemptFailed | None = None,
        *,
        abandoned: bool = False,
    ) -> None:
        marked = task.mark is not None
        if not self._keep and not marked:
            return
        times = (task.submitted_at_ns, task.ready_at_ns, task.attempt_at_ns) if marked else ()
        number, state = task.spec.task, _STATES[task.state]
        attempt, slot = task.attempt, task.slot
        change = now, number, before, state, cause, attempt, slot, reason, until_ns, detail
        self.transitions.append(r.Transition(*change, abandoned, *times))
