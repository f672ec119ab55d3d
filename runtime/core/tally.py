"""Counts of what has happened, kept where it happens.

A tally is a function of the transitions: each count and each duration in it could be worked out
from them, with the transitions' own instants. The core keeps it itself, as plain integers in lists,
since that costs a fraction of making a record of each transition and counting those (decision
record 0011). Nothing in the core reads it.

Durations are sorted into *buckets* by upper bounds, as Prometheus has them: a value counts in the
first bucket whose bound is not below it, and in one without a bound where there is none. Those of
tasks that succeed, and of waits, are only put on a list; some hundred at a time are sorted, cut at
the bounds and added up (*folded*), which takes a third of looking for each one's bucket by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

__all__ = ["Buckets", "GroupTally", "Tally"]

#: What a marked task has brought to a bucket: its mark, the duration, the instant.
Newest = tuple[object, int, int]

#: Durations that wait to be folded, at most, about.
_FOLD_AT: Final = 256
_OUTCOMES: Final = ("ok", "error", "timeout", "cancelled")


class Buckets:
    """Durations counted by bucket.

    Args:
        bounds_ns: the upper bounds, ascending.

    Attributes:
        bounds_ns: the same.
        counts: how many fell into each bucket; the last has no bound.
        sum_ns: all durations added up.
        newest: for each bucket, the newest that a marked task has brought, ``None`` where none has.
        waiting: durations that are not in ``counts`` and ``sum_ns`` before ``fold`` is called.

    Example:
        >>> waits = Buckets([10, 20])
        >>> waits.waiting += [99, 11, 10]
        >>> waits.fold()
        >>> waits.add(5, at_ns=0, mark=None)
        >>> waits.counts, waits.sum_ns
        ([2, 1, 1], 125)
    """

    __slots__ = ("bounds_ns", "counts", "newest", "sum_ns", "waiting")

    def __init__(self, bounds_ns: Sequence[int]) -> None:
        self.bounds_ns = bounds_ns
        self.counts = [0] * (len(bounds_ns) + 1)
        self.sum_ns = 0
        self.newest: list[Newest | None] = [None] * (len(bounds_ns) + 1)
        self.waiting: list[int] = []

    def add(self, value_ns: int, at_ns: int, mark: object) -> None:
        """Count a duration.

        Args:
            value_ns: how long.
            at_ns: when it ended.
            mark: what is remembered of the task, ``None`` for nothing.
        """
        index = bisect_left(self.bounds_ns, value_ns)
        self.counts[index] += 1
        self.sum_ns += value_ns
        if mark is not None:
            self.newest[index] = (mark, value_ns, at_ns)

    def fold(self) -> None:
        """Count the durations that wait."""
        values, counts = self.waiting, self.counts
        if not values:
            return
        self.sum_ns += sum(values)
        values.sort()
        below = 0
        for index, bound in enumerate(self.bounds_ns):
            upto = bisect_right(values, bound, below)
            counts[index] += upto - below
            below = upto
            if below == len(values):
                break
        counts[-1] += len(values) - below
        values.clear()

    def copy(self) -> Buckets:
        """The same, by itself, with nothing waiting."""
        self.fold()
        made = Buckets.__new__(Buckets)
        made.bounds_ns = self.bounds_ns
        made.counts = self.counts.copy()
        made.sum_ns = self.sum_ns
        made.newest = self.newest.copy()
        made.waiting = []
        return made


class GroupTally:
    """What has happened to one group's tasks.

    Args:
        bounds_ns: upper bounds of its durations' buckets.

    Attributes:
        submitted: tasks accepted.
        late: results of abandoned attempts.
        retries: retries decided, by reason.
        waits: from ready to start, of each attempt.
        attempts: from start to end, of each attempt, by its outcome.
        tasks: from submission to end, of each task, by its outcome.
    """

    __slots__ = (
        "_attempts_ok",
        "_tasks_ok",
        "attempts",
        "late",
        "retries",
        "submitted",
        "tasks",
        "waits",
    )

    def __init__(self, bounds_ns: Sequence[int]) -> None:
        self.submitted = 0
        self.late = 0
        self.retries = {"error": 0, "timeout": 0}
        self.waits = Buckets(bounds_ns)
        self.attempts = {outcome: Buckets(bounds_ns) for outcome in _OUTCOMES}
        self.tasks = {outcome: Buckets(bounds_ns) for outcome in _OUTCOMES}
        self._attempts_ok = self.attempts["ok"].waiting
        self._tasks_ok = self.tasks["ok"].waiting

    def started(self, now_ns: int, ready_ns: int, mark: object) -> None:
        """Count the wait of an attempt that is started.

        Args:
            now_ns: when.
            ready_ns: when its task became ready.
            mark: see ``Buckets.add``.
        """
        if mark is not None:
            self.waits.add(now_ns - ready_ns, now_ns, mark)
            return
        waiting = self.waits.waiting
        waiting.append(now_ns - ready_ns)
        if len(waiting) >= _FOLD_AT:
            self.waits.fold()

    def succeeded(self, now_ns: int, started_ns: int, submitted_ns: int, mark: object) -> None:
        """Count an attempt that succeeded, and its task with it.

        Args:
            now_ns: when.
            started_ns: when the attempt was started.
            submitted_ns: when the task was submitted.
            mark: see ``Buckets.add``.
        """
        if mark is not None:
            self.attempts["ok"].add(now_ns - started_ns, now_ns, mark)
            self.tasks["ok"].add(now_ns - submitted_ns, now_ns, mark)
            return
        waiting = self._attempts_ok
        waiting.append(now_ns - started_ns)
        self._tasks_ok.append(now_ns - submitted_ns)
        if len(waiting) >= _FOLD_AT:
            self.attempts["ok"].fold()
            self.tasks["ok"].fold()

    def copy(self) -> GroupTally:
        """The same, by itself."""
        made = GroupTally.__new__(GroupTally)
        made.submitted, made.late = self.submitted, self.late
        made.retries = self.retries.copy()
        made.waits = self.waits.copy()
        made.attempts = {outcome: buckets.copy() for outcome, buckets in self.attempts.items()}
        made.tasks = {outcome: buckets.copy() for outcome, buckets in self.tasks.items()}
        made._attempts_ok = made.attempts["ok"].waiting
        made._tasks_ok = made.tasks["ok"].waiting
        return made


class Tally:
    """What has happened in one pool, group by group; to be given to ``Core.count_into``.

    Args:
        bounds_ns: upper bounds of the durations' buckets.
        lag_bounds_ns: upper bounds of the buckets of what timers were late.
        most_groups: groups with a tally of their own; the tasks of all others share one.
        other: what that one is called.

    Attributes:
        groups: the tally of each group.
        timer_lag: from when a timer was due to when it was found to be.
        abandoned: the tally that a late result will count in, by task and attempt.

    Example:
        >>> tally = Tally([10], [10], most_groups=1, other="other")
        >>> tally.group("a") is tally.group("a"), tally.group("b") is tally.group("c")
        (True, True)
        >>> list(tally.groups)
        ['a', 'other']
    """

    def __init__(
        self, bounds_ns: Sequence[int], lag_bounds_ns: Sequence[int], most_groups: int, other: str
    ) -> None:
        self._bounds_ns = tuple(bounds_ns)
        self._most_groups = most_groups
        self._other = other
        self.groups: dict[str, GroupTally] = {}
        self.timer_lag = Buckets(tuple(lag_bounds_ns))
        self.abandoned: dict[tuple[int, int], GroupTally] = {}

    def group(self, name: str) -> GroupTally:
        """The tally for a group's tasks; made when first asked for, and then all zero."""
        found = self.groups.get(name)
        if found is None:
            if len(self.groups) >= self._most_groups and name != self._other:
                return self.group(self._other)
            found = self.groups[name] = GroupTally(self._bounds_ns)
        return found

    def running_ns(self) -> int:
        """Time that attempts have run, of those that have ended; of a copy."""
        return sum(
            buckets.sum_ns for group in self.groups.values() for buckets in group.attempts.values()
        )

    def copy(self) -> Tally:
        """The same, by itself, without what is to come."""
        made = Tally(self._bounds_ns, (), self._most_groups, self._other)
        made.groups = {name: group.copy() for name, group in self.groups.items()}
        made.timer_lag = self.timer_lag.copy()
        return made
