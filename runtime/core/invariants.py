"""What must always hold, verified from scratch.

``check(core)`` looks at a core's present state and recomputes all that it keeps for speed:
counters, heaps, the ready order, the free slots. ``Auditor`` is told of every step instead, keeps a
naive history of its own, and verifies what a present state cannot show. The numbers are those of
``docs/invariants.md``; the same two serve the tests and ``replay --check``.

``check`` knows the core's private fields, and only it does: whoever changes them changes it here.

A search calls it after each step, for each live task. So a condition stands bare, and what it says
where it does not hold is put into words only then; and what tells of one task stands in one loop
over all of them. Nothing is left out because it was right before: who has a bug may have changed
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

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
_READY, _RUNNING, _DELAYED = 0, 1, 2
_ENDS: Final = tuple((state, _ENDED + state) for state in TERMINAL)
_FATES: Final = bytes([0, _LIVE, *(fate for _, fate in _ENDS)])


def check(core: Core) -> None:
    """Verify a core's present state.

    Args:
        core: the core, between two calls of ``handle``. It is not changed.

    Raises:
        InvariantBroken: something does not hold.
    """
    _check_slots(core)
    waiting, delayed, limits, earliest = _check_tasks(core)
    _check_ready(core, waiting)
    _check_timers(core, delayed, limits, earliest)
    _check_totals(core, len(waiting), len(delayed))


def _wrong(
    core: Core, number: int, what: str, found: object, expected: object, task: int | None = None
) -> NoReturn:
    """Two that must be equal are not."""
    _broken(core, number, f"{what} to be {expected}", f"{found}", task)


def _broken(
    core: Core, number: int, what: str, found: str = "otherwise", task: int | None = None
) -> NoReturn:
    raise InvariantBroken(number, what, found, () if task is None else core.story(task))


# ---------------------------------------------------------------- slots and attempts


def _check_slots(core: Core) -> None:
    slots, free, retired, abandoned = core._slots, core._free, core._retired, core._abandoned
    running = {slot: task for slot, task in enumerate(slots) if task is not None}
    held = [slot for slot in abandoned.values() if slot >= 0]
    replaced = len(abandoned) - len(held)
    taken, serve, workers = len(running) + len(held), core._in_service, core.workers
    if len(slots) != serve + len(retired):
        _wrong(core, 4, "slots", len(slots), serve + len(retired))
    spread = [*running, *held, *free, *retired]
    spread.sort()
    if spread != list(range(len(slots))):
        lists = f"running {list(running)}, held {held}, free {free}, retired {retired}"
        _wrong(core, 5, f"slots {lists}, each once,", spread, list(range(len(slots))))
    if retired and retired != sorted(retired):
        _wrong(core, 19, "retired slots", retired, sorted(retired))
    if serve != taken + len(free):
        _wrong(core, 19, "slots in service", serve, taken + len(free))
    if workers < 1:
        _broken(core, 4, "1 worker or more")
    # more only while attempts run that were started when there were more
    if serve != workers and (serve < workers or free):
        _broken(core, 4, f"{workers} slots ({serve}), more only if none is free")
    if core._replaced != replaced:
        _wrong(core, 19, "replaced attempts", core._replaced, replaced)
    if replaced > core.settings.max_abandoned:
        _broken(core, 4, "no more replaced than allowed")
    # with what is asked of a task that runs: it has this slot and no other, and no one else has any
    for slot, task in running.items():
        number = task.spec.task
        if core._tasks.get(number) is not task:
            _broken(core, 5, f"slot {slot} to carry a live task")
        if task.state != _RUNNING:
            _wrong(core, 5, f"the state of slot {slot}'s task", task.state, _RUNNING, number)
        if task.slot != slot:
            _wrong(core, 5, f"the slot of the task on slot {slot}", task.slot, slot, number)
    if abandoned:
        _check_abandoned(core)
    if core.busy != len(running) + len(held):
        _wrong(core, 19, "busy slots", core.busy, len(running) + len(held))
    if core.abandoned != len(abandoned):
        _wrong(core, 19, "abandoned attempts", core.abandoned, len(abandoned))
    if core.outstanding != len(running) + len(abandoned):
        on_threads = len(running) + len(abandoned)
        _wrong(core, 19, "attempts on threads", core.outstanding, on_threads)


def _check_abandoned(core: Core) -> None:
    for number, attempt in core._abandoned:
        known = core._tasks.get(number)
        name = f"abandoned attempt {number}.{attempt}"
        if core.state(number) is None:
            _broken(core, 6, f"{name} to be of a task")
        if known is not None:
            older = attempt < known.attempt + (known.state != _RUNNING)
            if attempt < 1 or not older:
                _broken(core, 6, f"{name} to be older than the live one", task=number)


def _check_tasks(core: Core) -> tuple[list[int], dict[int, Task], dict[int, int], int]:
    """All that can be asked of one task.

    Returns:
        Who is ready; who is delayed; each deadline; and when the first of all timers is due.
    """
    own, fate, slots = core.settings, core._fate, core._slots
    own_timeout, own_retries = own.timeout_ns, own.max_retries
    waiting: list[int] = []
    delayed: dict[int, Task] = {}
    limits: dict[int, int] = {}
    due: list[int] = []
    for number, task in core._tasks.items():
        spec, state, attempt = task.spec, task.state, task.attempt
        if number != spec.task:
            _wrong(core, 19, "the number it is filed under", number, spec.task)
        if fate[number] != _LIVE:
            _wrong(core, 1, f"the fate of live task {number}", fate[number], _LIVE, number)
        running = False
        if state == _READY:
            waiting.append(number)
        elif state == _RUNNING:
            running = True
            slot = task.slot
            if not 0 <= slot < len(slots) or slots[slot] is not task:
                on_slots = [slot for slot, other in enumerate(slots) if other is task]
                _wrong(core, 5, "its slots", on_slots, [slot], number)
        elif state == _DELAYED:
            delayed[number] = task
        else:
            _broken(core, 1, f"task {number} in a live state", task=number)

        limit = own_timeout if spec.timeout_ns is r.UNSET else spec.timeout_ns
        if task.timeout_ns != limit:
            _wrong(core, 10, "its limit", task.timeout_ns, limit, number)
        allowed = own_retries if spec.max_retries is r.UNSET else spec.max_retries
        if attempt > 1 + allowed:
            _broken(core, 7, f"{1 + allowed} attempts at most", task=number)
        left, right = task.retries_left, allowed - attempt + running
        # an abort takes them from those that run, and nobody else has none and waits for one
        if left < 0 or (left != right and (left or not running)):
            _broken(core, 7, f"{right} retries left, or 0 after an abort", task=number)
        if not attempt and state:
            _broken(core, 7, "an attempt where it runs or is delayed", task=number)
        if spec.deadline_at_ns is not None:
            limits[number] = spec.deadline_at_ns
        if (task.slot >= 0) != (attempt > 0):
            _wrong(core, 7, "having a slot", task.slot >= 0, attempt > 0, number)
        _check_times(core, number, task, due)
    return waiting, delayed, limits, min(due, default=_NEVER)


def _check_times(core: Core, number: int, task: Task, due: list[int]) -> None:
    """A task's instants and spans; its timers are added to those that are due."""
    now, first, submitted = core._now, task.started_at_ns, task.submitted_at_ns
    if (first is not None) != (task.attempt > 0):
        _wrong(core, 19, "having a first start", first is not None, task.attempt > 0, number)
    if not submitted <= task.ready_at_ns <= now or (
        first is not None
        and not (submitted <= first <= now and submitted <= task.attempt_at_ns <= now)
    ):
        past = [
            submitted,
            task.ready_at_ns,
            *([] if first is None else [first, task.attempt_at_ns]),
        ]
        _broken(core, 16, f"{past} from its submission to {now}", task=number)
    if task.queued_ns < 0 or task.delayed_ns < 0:
        spent = (task.running_ns, task.queued_ns, task.delayed_ns)
        _broken(core, 19, f"no negative time in {spent}", task=number)
    ends = None
    if task.state == _RUNNING and task.timeout_ns is not None:
        ends = task.attempt_at_ns + task.timeout_ns
        due.append(ends)
    if task.timeout_at_ns != ends:
        _wrong(core, 10, "its timeout", task.timeout_at_ns, ends, number)
    deadline = task.spec.deadline_at_ns
    if deadline is not None:
        due.append(deadline)
    if task.state == _DELAYED:
        due.append(task.due_at_ns)
        if deadline is not None and task.due_at_ns >= deadline:
            _broken(core, 8, "a backoff that ends before the deadline", task=number)


# ---------------------------------------------------------------- the ready order


def _check_ready(core: Core, waiting: list[int]) -> None:
    ready = core._ready
    waiting.sort()
    queued = list(ready)
    numbers = [task.spec.task for task in queued]
    if sorted(numbers) != waiting:
        _wrong(core, 19, "who is in the ready order", sorted(numbers), waiting)
    many = len(waiting)
    if ready.live != many or len(ready) != many:
        _wrong(core, 19, "how many are ready", (ready.live, len(ready)), (many, many))
    entries = 0
    heads: list[tuple[int, int]] = []
    for priority, fifo in ready._fifos.items():
        if not fifo:
            continue
        entries += len(fifo)
        heads.append((ready.key(fifo[0])[0], priority))
        last = 0
        for task in fifo:
            if task.ready_at_ns < last:
                times = [task.ready_at_ns for task in fifo]
                _wrong(core, 14, f"the line of priority {priority}", times, sorted(times))
            last = task.ready_at_ns
            if task.spec.priority != priority:
                _broken(core, 14, f"no strangers in the line of priority {priority}")
    if ready._stale != entries - many:
        _wrong(core, 19, "stale entries of the ready order", ready._stale, entries - many)
    if sorted(ready._heads) != sorted(heads):
        _wrong(core, 19, "the heads of the lines", sorted(ready._heads), sorted(heads))
    if len(heads) > 1:
        _check_heap(core, "the heads of the lines", ready._heads)
    if many:
        if len(heads) > 1:
            # one line keeps its order among equals, so the sort by key leaves it as it stands
            numbers = [task.spec.task for task in sorted(queued, key=ready.key)]
        popped = _popped(ready)
        if popped != numbers:
            _wrong(core, 14, "the order in which they start", popped, numbers)
        if core._free:
            free = len(core._free)
            _broken(core, 15, f"no free slot ({free}) while some wait ({waiting})")


def _popped(ready: ReadyOrder) -> list[int]:
    """In which order a copy gives out its tasks."""
    copy = type(ready)(ready._ageing_ns)
    copy._fifos = {priority: fifo.copy() for priority, fifo in ready._fifos.items() if fifo}
    copy._heads = ready._heads.copy()
    copy._stale, copy.live = ready._stale, ready.live
    return [copy.pop().spec.task for _ in range(ready.live)]


def _check_heap(core: Core, what: str, heap: Sequence[tuple[int, int]]) -> None:
    wrong = [place for place in range(1, len(heap)) if heap[place] < heap[(place - 1) // 2]]
    if wrong:
        _wrong(core, 19, f"places of {what} that break the heap", wrong, [])


# ---------------------------------------------------------------- timers


def _check_timers(
    core: Core, delayed: dict[int, Task], limits: dict[int, int], earliest: int
) -> None:
    backoffs, deadlines = core._backoffs, core._deadlines
    if len(backoffs) > 1:
        _check_heap(core, "backoffs", backoffs)
    if len(deadlines) > 1:
        _check_heap(core, "deadlines", deadlines)
    kept = set(backoffs)
    for number, task in delayed.items():
        timer = (task.due_at_ns, number)
        if timer not in kept:
            _broken(core, 16, f"backoff {timer} to be kept", task=number)
    if limits:
        times: dict[tuple[int, int], int] = {}
        for entry in deadlines:
            times[entry] = times.get(entry, 0) + 1
        for number, at in limits.items():
            often = times.get((at, number), 0)
            if often != 1:
                _wrong(core, 16, f"how often deadline {(at, number)} is kept", often, 1)
    stale = len(backoffs) - len(delayed)
    if core._stale_backoffs != stale:
        _wrong(core, 19, "stale backoffs", core._stale_backoffs, stale)
    stale = len(deadlines) - len(limits)
    if core._stale_deadlines != stale:
        _wrong(core, 19, "stale deadlines", core._stale_deadlines, stale)
    wake, kept_wake = core.next_deadline_ns(), core.wake_at_ns
    if wake != (None if kept_wake == _NEVER else kept_wake):
        _wrong(core, 19, "the next wake", wake, kept_wake)
    if kept_wake > earliest:
        what = f"a wake ({wake}) no later than {earliest}, when something is due"
        _broken(core, 16, what)
    if earliest < core._now:
        _broken(core, 16, f"nothing due ({earliest}) before {core._now}")


# ---------------------------------------------------------------- totals


def _check_totals(core: Core, ready: int, delayed: int) -> None:
    fate, live = core._fate, len(core._tasks)
    submitted = len(fate) - fate.count(0)
    if fate.count(_LIVE) != live:
        _wrong(core, 1, "tasks marked as live", fate.count(_LIVE), live)
    if fate[0] != 0:
        _broken(core, 1, "task 0 to be nobody")
    strange = fate.translate(None, _FATES)
    if strange:
        _wrong(core, 1, "ends in no terminal state", list(strange), [])
    counts = core.counts()
    if sum(counts.values()) != submitted:
        _wrong(core, 1, "the sum of all states", sum(counts.values()), submitted)
    here = {_READY: ready, _RUNNING: live - ready - delayed, _DELAYED: delayed}
    for state, ended in _ENDS:
        here[state] = fate.count(ended)
    if counts != here:
        state = next(state for state in TaskState if counts.get(state) != here[state])
        _wrong(core, 19, f"tasks that are {state.name}", counts.get(state), here[state])
    if core.accepting == core._draining:
        _wrong(core, 19, "accepting", core.accepting, not core._draining)
    over = core._draining and not core._tasks
    if core._stopped != over:
        _wrong(core, 22, "having stopped the workers", core._stopped, over)
