"""What must always hold, verified from scratch.

``check(core)`` looks at a core's present state and recomputes all that it keeps for speed:
counters, heaps, the ready order, the free slots. ``Auditor`` is told of every step instead, keeps a
naive history of its own, and verifies what a present state cannot show. The numbers are those of
``docs/invariants.md``; the same two serve the tests and ``replay --check``.

``check`` knows the core's private fields, and only it does: whoever changes them changes it here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from runtime.core import records as r
from runtime.core.audit import Auditor
from runtime.core.ready import ReadyOrder
from runtime.core.scheduler import Core
from runtime.core.states import TERMINAL, TaskState
from runtime.core.task import Task
from runtime.core.witness import InvariantBroken

__all__ = ["Auditor", "InvariantBroken", "check"]

_NEVER: Final = 1 << 63
_LIVE: Final = 1
_ENDED: Final = 2
_READY, _RUNNING, _DELAYED = TaskState.READY, TaskState.RUNNING, TaskState.DELAYED


def check(core: Core) -> None:
    """Verify a core's present state.

    Args:
        core: the core, between two calls of ``handle``. It is not changed.

    Raises:
        InvariantBroken: something does not hold.
    """
    _check_slots(core)
    for number, task in core._tasks.items():
        _check_task(core, number, task)
        _check_times(core, number, task)
    _check_ready(core)
    _check_timers(core)
    _check_totals(core)


def _equal(
    core: Core, number: int, what: str, found: object, expected: object, task: int | None = None
) -> None:
    """Both must be equal; what is told where they are not."""
    if found != expected:
        story = () if task is None else core.story(task)
        raise InvariantBroken(number, f"{what} to be {expected}", f"{found}", story)


def _holds(core: Core, number: int, what: str, holds: bool, task: int | None = None) -> None:
    if not holds:
        story = () if task is None else core.story(task)
        raise InvariantBroken(number, what, "otherwise", story)


# ---------------------------------------------------------------- slots and attempts


def _check_slots(core: Core) -> None:
    running = {slot: task for slot, task in enumerate(core._slots) if task is not None}
    held = [slot for slot in core._abandoned.values() if slot >= 0]
    replaced = len(core._abandoned) - len(held)
    free, retired, taken = core._free, core._retired, len(running) + len(held)
    _equal(core, 4, "slots", len(core._slots), core._in_service + len(retired))
    spread = sorted([*running, *held, *free, *retired])
    what = f"slots running {list(running)}, held {held}, free {free}, retired {retired}, each once,"
    _equal(core, 5, what, spread, list(range(len(core._slots))))
    _equal(core, 19, "retired slots", retired, sorted(retired))
    _equal(core, 19, "slots in service", core._in_service, taken + len(free))
    _holds(core, 4, "1 worker or more", core.workers >= 1)
    # more only while attempts run that were started when there were more
    enough = core._in_service == core.workers or (core._in_service > core.workers and not free)
    _holds(core, 4, f"{core.workers} slots ({core._in_service}), more only if none is free", enough)
    _equal(core, 19, "replaced attempts", core._replaced, replaced)
    _holds(core, 4, "no more replaced than allowed", replaced <= core.settings.max_abandoned)
    for slot, task in running.items():
        number = task.spec.task
        _holds(core, 5, f"slot {slot} to carry a live task", core._tasks.get(number) is task)
        _equal(core, 5, f"the state of slot {slot}'s task", task.state, _RUNNING, number)
        _equal(core, 5, f"the slot of the task on slot {slot}", task.slot, slot, number)
    for number, attempt in core._abandoned:
        known = core._tasks.get(number)
        name = f"abandoned attempt {number}.{attempt}"
        _holds(core, 6, f"{name} to be of a task", core.state(number) is not None)
        if known is not None:
            older = attempt < known.attempt + (known.state != _RUNNING)
            _holds(core, 6, f"{name} to be older than the live one", attempt >= 1 and older, number)
    _equal(core, 19, "busy slots", core.busy, len(running) + len(held))
    _equal(core, 19, "abandoned attempts", core.abandoned, len(core._abandoned))
    _equal(core, 19, "attempts on threads", core.outstanding, len(running) + len(core._abandoned))


def _check_task(core: Core, number: int, task: Task) -> None:
    own, spec, state = core.settings, task.spec, task.state
    _equal(core, 19, "the number it is filed under", number, spec.task)
    if core._fate[number] != _LIVE:
        _equal(core, 1, f"the fate of live task {number}", core._fate[number], _LIVE, number)
    if state not in (0, 1, 2):
        _holds(core, 1, f"task {number} in a live state", False, number)
    on_slots = [slot for slot, other in enumerate(core._slots) if other is task]
    _equal(core, 5, "its slots", on_slots, [task.slot] if state == _RUNNING else [], number)
    limit = own.timeout_ns if spec.timeout_ns is r.UNSET else spec.timeout_ns
    _equal(core, 10, "its limit", task.timeout_ns, limit, number)
    allowed = own.max_retries if spec.max_retries is r.UNSET else spec.max_retries
    retries = task.attempt - (state == _RUNNING and 1)
    if task.attempt > 1 + allowed:
        _holds(core, 7, f"{1 + allowed} attempts at most", False, number)
    left = task.retries_left
    # an abort takes them from those that run, and nobody else has none and waits for one
    right = left == allowed - retries or (left == 0 and state == _RUNNING)
    if left < 0 or not right:
        _holds(core, 7, f"{allowed - retries} retries left, or 0 after an abort", False, number)
    _holds(core, 7, "an attempt where it runs or is delayed", bool(task.attempt) or not state)
    _equal(core, 7, "having a slot", task.slot >= 0, task.attempt > 0, number)


def _check_times(core: Core, number: int, task: Task) -> None:
    now, first = core._now, task.started_at_ns
    _equal(core, 19, "having a first start", first is not None, task.attempt > 0, number)
    past = [task.submitted_at_ns, task.ready_at_ns]
    past += [] if first is None else [first, task.attempt_at_ns]
    if past[0] != min(past):  # in words only where it is wrong: this runs for each task and step
        _holds(core, 16, f"{past} from its submission to {now}", False, number)
    if max(past) > now:
        _holds(core, 16, f"{past} not to lie after {now}", False, number)
    if task.queued_ns < 0 or task.delayed_ns < 0:
        spent = (task.running_ns, task.queued_ns, task.delayed_ns)
        _holds(core, 19, f"no negative time in {spent}", False, number)
    runs_out = task.state == _RUNNING and task.timeout_ns is not None
    due = task.attempt_at_ns + (task.timeout_ns or 0) if runs_out else None
    _equal(core, 10, "its timeout", task.timeout_at_ns, due, number)
    if task.state == _DELAYED:
        deadline = task.spec.deadline_at_ns
        in_time = deadline is None or task.due_at_ns < deadline
        _holds(core, 8, "a backoff that ends before the deadline", in_time, number)


# ---------------------------------------------------------------- the ready order


def _check_ready(core: Core) -> None:
    ready = core._ready
    waiting = sorted(n for n, task in core._tasks.items() if task.state == _READY)
    queued = list(ready)
    _equal(core, 19, "who is in the ready order", sorted(t.spec.task for t in queued), waiting)
    _equal(core, 19, "how many are ready", (ready.live, len(ready)), (len(waiting),) * 2)
    entries = sum(len(fifo) for fifo in ready._fifos.values())
    _equal(core, 19, "stale entries of the ready order", ready._stale, entries - len(waiting))
    for priority, fifo in ready._fifos.items():
        times = [task.ready_at_ns for task in fifo]
        _equal(core, 14, f"the line of priority {priority}", times, sorted(times))
        other = [task.spec.task for task in fifo if task.spec.priority != priority]
        _equal(core, 14, f"strangers in the line of priority {priority}", other, [])
    heads = [(ready.key(fifo[0])[0], priority) for priority, fifo in ready._fifos.items() if fifo]
    _equal(core, 19, "the heads of the lines", sorted(ready._heads), sorted(heads))
    _check_heap(core, "the heads of the lines", ready._heads)
    # one line keeps its order among equals, so the sort by key leaves it as it stands
    order = [task.spec.task for task in sorted(queued, key=ready.key)]
    _equal(core, 14, "the order in which they start", _popped(ready), order)
    free = len(core._free)
    _holds(core, 15, f"no free slot ({free}) while some wait ({waiting})", not (free and waiting))


def _popped(ready: ReadyOrder) -> list[int]:
    """In which order a copy gives out its tasks."""
    copy = ReadyOrder(ready._ageing_ns)
    copy._fifos = {priority: deque(fifo) for priority, fifo in ready._fifos.items()}
    copy._heads = list(ready._heads)
    copy._stale, copy.live = ready._stale, ready.live
    return [copy.pop().spec.task for _ in range(ready.live)]


def _check_heap(core: Core, what: str, heap: Sequence[tuple[int, int]]) -> None:
    wrong = [place for place in range(1, len(heap)) if heap[place] < heap[(place - 1) // 2]]
    _equal(core, 19, f"places of {what} that break the heap", wrong, [])


# ---------------------------------------------------------------- timers


def _check_timers(core: Core) -> None:
    tasks = core._tasks
    _check_heap(core, "backoffs", core._backoffs)
    _check_heap(core, "deadlines", core._deadlines)
    delayed = {(t.due_at_ns, n): n for n, t in tasks.items() if t.state == _DELAYED}
    with_deadline = {
        (task.spec.deadline_at_ns, n): n
        for n, task in tasks.items()
        if task.spec.deadline_at_ns is not None
    }
    kept = Counter(core._backoffs)
    for timer, number in delayed.items():
        _holds(core, 16, f"backoff {timer} to be kept", kept[timer] >= 1, number)
    kept_deadlines = Counter(core._deadlines)
    for deadline, number in with_deadline.items():
        _equal(core, 16, f"how often deadline {deadline} is kept", kept_deadlines[deadline], 1)
        _holds(core, 1, "a deadline of a submitted task", core.state(number) is not None)
    stale = len(core._backoffs) - len(delayed)
    _equal(core, 19, "stale backoffs", core._stale_backoffs, stale)
    stale = len(core._deadlines) - len(with_deadline)
    _equal(core, 19, "stale deadlines", core._stale_deadlines, stale)
    due = [task.timeout_at_ns for task in tasks.values() if task.timeout_at_ns is not None]
    due += [task.due_at_ns for task in tasks.values() if task.state == _DELAYED]
    due += [t.spec.deadline_at_ns for t in tasks.values() if t.spec.deadline_at_ns is not None]
    earliest = min(due, default=_NEVER)
    wake = core.next_deadline_ns()
    _equal(core, 19, "the next wake", wake, None if core.wake_at_ns == _NEVER else core.wake_at_ns)
    in_time = core.wake_at_ns <= earliest
    _holds(core, 16, f"a wake ({wake}) no later than {earliest}, when something is due", in_time)
    _holds(core, 16, f"nothing due ({earliest}) before {core._now}", earliest >= core._now)


# ---------------------------------------------------------------- totals


def _check_totals(core: Core) -> None:
    fate = core._fate
    submitted = len(fate) - fate.count(0)
    _equal(core, 1, "tasks marked as live", fate.count(_LIVE), len(core._tasks))
    _holds(core, 1, "task 0 to be nobody", fate[0] == 0)
    strange = fate.translate(None, bytes([0, _LIVE, *(_ENDED + state for state in TERMINAL)]))
    _equal(core, 1, "ends in no terminal state", list(strange), [])
    counts = core.counts()
    _equal(core, 1, "the sum of all states", sum(counts.values()), submitted)
    living = Counter(task.state for task in core._tasks.values())
    for state in TaskState:
        here = living[state] + fate.count(_ENDED + state)
        _equal(core, 19, f"tasks that are {state.name}", counts[state], here)
    _equal(core, 19, "accepting", core.accepting, not core._draining)
    over = core._draining and not core._tasks
    _equal(core, 22, "having stopped the workers", core._stopped, over)
