"""Where a task's time went, and which attempts a run's end hung on.

**Waiting for the CPU.** A recording has an attempt's wall time and its thread's CPU time, and no
one measures directly how long it stood in line for a core or for the interpreter's lock. Two
bounds can be told:

* at least the *hand-over*: from the decision to start it to its first instruction, and from its
  last to the decision on its end. All that was missing then was a thread that gets to run;
* at most that, plus the time in its function that was not CPU time. Whoever waits for a full CPU
  waits while others use all of it, so that part cannot exceed the CPU time of the pool's other
  attempts in its window, over the number of threads that can compute at once. Each attempt's CPU
  time is spread evenly over its function. (CPU time of other processes nobody recorded.)

**The critical chain.** Work is conserved: no worker is free while a task is ready. So an attempt
that waited for a worker starts in the instant in which another one frees it, and one that did not
wait starts when its task's backoff ends, or when its task comes. A task that another one submitted
comes when that one's attempt has got so far; one whose submission followed an end, a think time
after it (``simulation.recording.following``). Followed back from the last end, that gives a chain
of stretches without a gap; none of what lies beside it has delayed the end.
(Graham, 'Bounds on multiprocessing timing anomalies', SIAM J. Appl. Math. 17, 1969, makes his bound
from the same chain.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec

from simulation.timeline.attempts import Attempt, TaskTime, Timeline

__all__ = ["Cpu", "Link", "Split", "Splitter", "busy_with", "critical_chain", "slowest"]


class Split(msgspec.Struct, frozen=True):
    """Where a task's time went, in nanoseconds; the first four add up to all of it.

    Args:
        queue_ns: ready, and no worker free.
        limits_ns: ready, and held back by a limit of its group.
        backoff_ns: until its retries were due.
        running_ns: its attempts, each up to its end or to where it was abandoned.
        cpu: what is known of the CPU in the running part, ``None`` where nothing was measured.
    """

    queue_ns: int
    limits_ns: int
    backoff_ns: int
    running_ns: int
    cpu: Cpu | None

    @property
    def total_ns(self) -> int:
        """From the task's submission to its end."""
        return self.queue_ns + self.limits_ns + self.backoff_ns + self.running_ns


class Cpu(msgspec.Struct, frozen=True):
    """Of a task's running time, in nanoseconds; the first three add up to what was measured of it.

    Args:
        used_ns: on a CPU.
        handover_ns: before its first instruction and after its last.
        other_ns: in its function and not on a CPU: waiting, for whatever.
        waited_at_least_ns: it waited for a CPU at least this long.
        waited_at_most_ns: and at most this long.
        unmeasured_ns: running time of attempts without a CPU time: abandoned ones that never
            came home.
    """

    used_ns: int
    handover_ns: int
    other_ns: int
    waited_at_least_ns: int
    waited_at_most_ns: int
    unmeasured_ns: int


class Splitter:
    """Splits the tasks of one run.

    Args:
        timeline: the run.
        at_once: threads that can compute at once: 1 with the interpreter's global lock, else the
            number of cores.
    """

    def __init__(self, timeline: Timeline, at_once: int = 1) -> None:
        self._at_once = max(1, at_once)
        self._tasks = timeline.tasks
        # CPU time used by all attempts up to an instant, piece by piece linear
        changes: dict[int, float] = defaultdict(float)
        for attempt in timeline.attempts:
            used = _measured(attempt)
            if used:
                begun, left = _function(attempt)
                rate = used / (left - begun)
                changes[begun] += rate
                changes[left] -= rate
        self._instants = sorted(changes)
        self._used: list[float] = []
        self._rates: list[float] = []
        rate = total = 0.0
        before = self._instants[0] if changes else 0
        for instant in self._instants:
            total += rate * (instant - before)
            rate = max(0.0, rate + changes[instant])
            self._used.append(total)
            self._rates.append(rate)
            before = instant

    def split(self, task: TaskTime) -> Split:
        """Split a task's time.

        Args:
            task: one of the run's.
        """
        sums = dict.fromkeys(("queue", "limits", "backoff", "running"), 0)
        for piece in task.pieces():
            sums[piece.kind] += piece.to_ns - piece.from_ns
        return Split(
            sums["queue"], sums["limits"], sums["backoff"], sums["running"], self._cpu(task)
        )

    def _cpu(self, task: TaskTime) -> Cpu | None:
        used = handover = other = unmeasured = 0
        others = 0.0
        known = False
        for attempt in task.attempts:
            cpu = _measured(attempt)
            if cpu is None or attempt.abandoned:
                # of one that came home late its CPU time is that of more than counted
                unmeasured += attempt.ran_ns
                continue
            known = True
            begun, left = _function(attempt)
            used += cpu
            handover += attempt.ran_ns - (left - begun)
            waited = left - begun - cpu
            other += waited
            theirs = (self._used_until(left) - self._used_until(begun) - cpu) / self._at_once
            others += min(float(waited), max(0.0, theirs))
        if not known:
            return None
        return Cpu(used, handover, other, handover, handover + round(others), unmeasured)

    def _used_until(self, instant: int) -> float:
        index = bisect_right(self._instants, instant) - 1
        if index < 0:
            return 0.0
        return self._used[index] + self._rates[index] * (instant - self._instants[index])


def _function(attempt: Attempt) -> tuple[int, int]:
    """First instruction and function left, of an attempt that came home."""
    assert attempt.begun_at_ns is not None
    assert attempt.left_at_ns is not None
    return attempt.begun_at_ns, attempt.left_at_ns


def _measured(attempt: Attempt) -> int | None:
    """An attempt's CPU time; the clocks differ, so it may be a little more than the wall time."""
    if attempt.cpu_ns is None or attempt.begun_at_ns is None or attempt.left_at_ns is None:
        return None
    return min(attempt.cpu_ns, attempt.left_at_ns - attempt.begun_at_ns)


def slowest(timeline: Timeline, count: int = 1) -> list[TaskTime]:
    """The tasks that took longest from submission to end; ties by number.

    Args:
        timeline: the run.
        count: how many.

    Returns:
        The longest first. Tasks that were cancelled do not count where others are there.
    """
    tasks = list(timeline.tasks.values())
    counted = [task for task in tasks if task.outcome != "cancelled"] or tasks
    return sorted(counted, key=lambda task: (-task.took_ns, task.number))[:count]


def busy_with(timeline: Timeline, from_ns: int, to_ns: int) -> dict[str, int]:
    """What the workers did in a window.

    Args:
        timeline: the run.
        from_ns: the window's first instant.
        to_ns: its end.

    Returns:
        Nanoseconds of all workers by the outcome of the attempts that they ran; ``abandoned`` is
        time for which an abandoned attempt still held its worker.
    """
    spent: dict[str, int] = defaultdict(int)
    for attempt in timeline.attempts:
        if attempt.start_at_ns >= to_ns:
            break  # they are in the order of their starts
        ran = min(attempt.end_at_ns, to_ns) - max(attempt.start_at_ns, from_ns)
        if ran > 0:
            spent[attempt.outcome] += ran
        if attempt.holds_slot:
            home = timeline.last_ns if attempt.home_at_ns is None else attempt.home_at_ns
            held = min(home, to_ns) - max(attempt.end_at_ns, from_ns)
            if held > 0:
                spent["abandoned"] += held
    return dict(spent)


#: What a stretch of the critical chain is spent on. ``before``: until a task came, from the run's
#: first instant on; ``think``: the same, from the end that its submission followed.
LinkKind = Literal["before", "think", "running", "held", "backoff", "queue"]


class Link(msgspec.Struct, frozen=True):
    """A stretch of the chain that a run's end hung on.

    Args:
        kind: ``before`` the chain's first task came; ``think`` from an end to the submission that
            followed it; ``running``; ``held`` by an abandoned attempt whose worker was not
            replaced; ``backoff``; ``queue`` where a task ended while it waited for a worker.
        from_ns: its first instant.
        to_ns: its end.
        task: the task concerned; of ``before`` and ``think`` the one that came.
        attempt: the attempt concerned, 0 where none is.
        slot: its worker, -1 where none is.
    """

    kind: LinkKind
    from_ns: int
    to_ns: int
    task: int = 0
    attempt: int = 0
    slot: int = -1


def critical_chain(timeline: Timeline) -> list[Link]:
    """The chain of stretches that the run's end hung on.

    Args:
        timeline: the run.

    Returns:
        The chain in the order of time; its lengths add up to the makespan.
    """
    if not timeline.tasks:
        return []
    last = max(timeline.tasks.values(), key=lambda task: (task.ended_at_ns, -task.number))
    releases, causes = _Releases(timeline), _Causes(timeline)
    chain: list[Link] = []
    task: TaskTime | None = last
    attempt: Attempt | None = None
    while task is not None:
        if attempt is None:
            at_ns = task.ended_at_ns
            attempt = task.attempts[-1] if task.attempts else None
            if attempt is None or attempt.end_at_ns < at_ns:  # it ended while it waited
                at_ns, attempt = _wait_at_the_end(chain, task, attempt)
        if attempt is not None:
            at_ns, attempt = _through_attempts(chain, timeline, releases, attempt, at_ns)
            task = timeline.tasks[attempt.task]
        if at_ns > task.submitted_at_ns:  # nothing known held it up: a worker was free all the time
            chain.append(Link("queue", task.submitted_at_ns, at_ns, task.number, 1))
            at_ns = task.submitted_at_ns
        came = task
        task, attempt = causes.of(came)
        if attempt is not None:  # its parent's
            end_ns = min(attempt.end_at_ns, at_ns)
            chain.append(Link("think", end_ns, at_ns, came.number))
            at_ns = end_ns
        elif task is not None:
            chain.append(Link("think", task.ended_at_ns, at_ns, came.number))
        elif at_ns > timeline.first_ns:
            chain.append(Link("before", timeline.first_ns, at_ns, came.number))
    chain.reverse()
    return [link for link in chain if link.to_ns > link.from_ns]


def _through_attempts(
    chain: list[Link], timeline: Timeline, releases: _Releases, attempt: Attempt, at_ns: int
) -> tuple[int, Attempt]:
    """Back from an attempt to one that waited for nothing but its task, and when that started."""
    while True:
        task = timeline.tasks[attempt.task]
        number, slot = attempt.number, attempt.slot
        end_ns = min(attempt.end_at_ns, at_ns)  # up to where it submitted the next
        chain.append(Link("held", end_ns, at_ns, task.number, number, slot))
        chain.append(Link("running", attempt.start_at_ns, end_ns, task.number, number, slot))
        at_ns = attempt.start_at_ns
        freed_by = releases.before(attempt) if attempt.ready_at_ns < at_ns else None
        if freed_by is not None:
            attempt = freed_by
        elif number > 1:
            at_ns = _backoff(chain, task, number, at_ns)
            attempt = task.attempts[number - 2]
        else:
            return at_ns, attempt


def _backoff(chain: list[Link], task: TaskTime, number: int, at_ns: int) -> int:
    before = task.attempts[number - 2]
    chain.append(Link("backoff", before.end_at_ns, at_ns, task.number, number))
    return before.end_at_ns


def _wait_at_the_end(
    chain: list[Link], task: TaskTime, last: Attempt | None
) -> tuple[int, Attempt | None]:
    """The links of a task that ended while it waited, and the attempt before them."""
    number = 1 if last is None else last.number + 1
    at_ns = task.submitted_at_ns if last is None else last.end_at_ns
    for piece in reversed([piece for piece in task.pieces() if piece.from_ns >= at_ns]):
        kind: LinkKind = "backoff" if piece.kind == "backoff" else "queue"
        chain.append(Link(kind, piece.from_ns, piece.to_ns, task.number, number))
    return at_ns, last


class _Releases:
    """Which attempt freed a worker at an instant."""

    def __init__(self, timeline: Timeline) -> None:
        self._by_slot: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._attempts: Sequence[Attempt] = timeline.attempts
        for index, attempt in enumerate(timeline.attempts):
            freed = attempt.end_at_ns
            if attempt.holds_slot:
                if attempt.home_at_ns is None:
                    continue
                freed = attempt.home_at_ns
            self._by_slot[attempt.slot].append((freed, index))

    def before(self, attempt: Attempt) -> Attempt | None:
        """The attempt that freed a worker in the very instant in which another started on it."""
        freed = self._by_slot[attempt.slot]
        # in the order of starts, and on one worker that is the order of ends
        index = bisect_right(freed, attempt.start_at_ns, key=lambda one: one[0]) - 1
        while index >= 0 and freed[index][0] == attempt.start_at_ns:
            found = self._attempts[freed[index][1]]
            if found is not attempt and found.start_at_ns < attempt.start_at_ns:
                return found
            index -= 1
        return None


class _Causes:
    """What led to a submission."""

    def __init__(self, timeline: Timeline) -> None:
        self._tasks = timeline.tasks
        self._followers = sorted(timeline.followers)
        self._ended = sorted(timeline.tasks.values(), key=lambda task: task.ended_at_ns)

    def of(self, came: TaskTime) -> tuple[TaskTime | None, Attempt | None]:
        """The task that led to another one's submission: the parent with the attempt that submitted
        it, or the last that had ended where that was waited for; nothing where neither is known.
        """
        parent = self._tasks.get(came.parent)
        if parent is not None:
            begun = [one for one in parent.attempts if one.start_at_ns <= came.submitted_at_ns]
            return (parent, begun[-1]) if begun else (None, None)
        place = bisect_right(self._followers, came.number) - 1
        if place < 0:
            return None, None
        # the rest of a batch comes with the first of it, and that one waited
        first = self._tasks.get(self._followers[place], came)
        at = bisect_right(self._ended, first.submitted_at_ns, key=lambda task: task.ended_at_ns)
        for ended in reversed(self._ended[:at]):
            if ended.number < first.number and ended.outcome != "running":
                return ended, None
        return None, None
