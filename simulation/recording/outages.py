"""Outages: a span of time in which attempts failed because of the time, whatever the task.

A what-if that draws each new retry by itself makes more retries look like a cure for an outage. So
an outage is looked for, and kept where it was on the clock: what a new setting starts in it fails
as attempts failed in it, and what it starts elsewhere does not.

**Is the failure rate constant?** Attempts are put in the order of their starts, and of their ends.
For each window of them the evidence that it has a failure rate of its own is the likelihood ratio
of a scan statistic (Kulldorff, Communications in Statistics 26(6), 1997), with the unknown rates in
the window and outside it averaged out (Krichevsky and Trofimov, IEEE Trans. Inf. Theory 27(2),
1981) instead of fitted. Against the best constant rate this is an e-value (Wasserman, Ramdas and
Balakrishnan, 'Universal inference', PNAS 117(29), 2020): where the rate is constant, it exceeds x
with a probability of at most 1 / x. With n attempts there are n(n + 1) windows in the two orders,
so one of them exceeds n(n + 1) / ``FALSE_ALARM`` with a probability of at most ``FALSE_ALARM``,
whatever the rate and with no simulation. Groups, and first attempts and retries, may each have a
constant rate of their own. Retries count of tasks that succeeded in the end only, as those of a bad
input fail together for a reason that is not the time.

**The time, or the tasks?** A batch of bad inputs, submitted one after the other, fails in a window,
too. Two kinds of attempts tell the two apart: those of *other tasks* in that window, which only an
outage makes fail, and those of *the same tasks* at another time, which fail only if the tasks are
bad. So the window is held against the row of tasks that explains the failures best: an outage is
believed where it is ``SURE`` times as likely, bad inputs where they are; where neither is, the
window is *suspected*: said, but taken for the tasks' own.

An outage is known as far as attempts met it: where none began after its last failure, it may have
gone on.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

__all__ = ["FALSE_ALARM", "SURE", "Outage", "Ran", "find_outages"]

#: How likely a recording with constant failure rates is to be said to have a window of its own.
FALSE_ALARM: Final = 0.01
#: How much better an outage must explain what failed than bad inputs do, or the other way round.
SURE: Final = 20.0
_MOST: Final = 5  # outages in one recording
_FEWEST: Final = 3  # failures in one
_ALL_WINDOWS: Final = 120  # runs of failures up to which each window is looked at


class Ran(NamedTuple):
    """An attempt that ran.

    Args:
        task: the task's number.
        attempt: the attempt's number.
        group: the task's group.
        begun_at: when it began.
        stopped_at: when it ended or was abandoned.
        failed: whether it failed or hung.
        recovered: whether its task succeeded in the end.
    """

    task: int
    attempt: int
    group: str
    begun_at: int
    stopped_at: int
    failed: bool
    recovered: bool


class Outage(msgspec.Struct, frozen=True):
    """A span of time in which attempts failed.

    Args:
        from_ns: when it began, halfway between what still went well and what failed.
        to_ns: when the last attempts began that failed in it, halfway to what went well again.
        groups: whose attempts failed.
        attempts: attempts that began in it or that it stopped.
        failed: of these, how many failed.
        stops: whether it stopped what was running when it began.
        sure: whether it was the time that made them fail; where not, bad inputs explain them as
            well, and it is not kept in time.
    """

    from_ns: int
    to_ns: int
    groups: tuple[str, ...]
    attempts: int
    failed: int
    stops: bool
    sure: bool

    @property
    def share(self) -> float:
        """How likely an attempt is to fail in it."""
        return self.failed / self.attempts

    def covers(self, at_ns: int, group: str) -> bool:
        """Whether it makes an attempt fail that begins then.

        Args:
            at_ns: when.
            group: the task's group.
        """
        return self.from_ns <= at_ns <= self.to_ns and group in self.groups

    def caught(self, one: Ran) -> bool:
        """Whether an attempt began in it or was stopped by it.

        Args:
            one: the attempt.
        """
        return one.group in self.groups and _in(one, self.from_ns, self.to_ns, self.stops)


def find_outages(attempts: Sequence[Ran]) -> list[Outage]:
    """Look for spans of time in which attempts failed more than at other times.

    Args:
        attempts: what ran; in any order.

    Returns:
        What was found, in the order of time, the suspected ones among them.
    """
    found: list[Outage] = []
    left = [one for one in attempts if one.attempt == 1 or one.recovered]
    while len(found) < _MOST:
        window = _strangest(left)
        if window is None:
            break
        outage = _judge(window, attempts)
        if outage is not None:
            found.append(outage)
        inside = set(window)
        left = [one for one in left if one not in inside]
    return sorted(found, key=lambda outage: outage.from_ns)


# ---------------------------------------------------------------- is the failure rate constant?


def _strangest(attempts: Sequence[Ran]) -> list[Ran] | None:
    """The window whose failures are the least like those outside it, if that is no accident."""
    failures = sum(one.failed for one in attempts)
    count = len(attempts)
    if failures < _FEWEST or failures == count:
        return None
    needed = math.log(count) + math.log(count + 1) - math.log(FALSE_ALARM)
    strangest = None
    for by_end in (False, True):
        ordered = sorted(
            attempts,
            key=lambda one: (one.stopped_at if by_end else one.begun_at, one.task, one.attempt),
        )
        evidence, first, last = _scan(ordered)
        if evidence > needed:
            needed = evidence
            strangest = ordered[first:last]
    return strangest


def _scan(ordered: Sequence[Ran]) -> tuple[float, int, int]:
    """The window with the most evidence for a higher rate of its own: log e-value, first, end."""
    strata: dict[tuple[str, bool], int] = {}
    places = [strata.setdefault((one.group, one.attempt > 1), len(strata)) for one in ordered]
    # failures and attempts before each place, by stratum
    failed = [
        [
            0,
            *accumulate(
                int(one.failed and at == s) for one, at in zip(ordered, places, strict=True)
            ),
        ]
        for s in range(len(strata))
    ]
    ran = [[0, *accumulate(int(at == s) for at in places)] for s in range(len(strata))]
    best = (-math.inf, 0, 0)
    for first, end in _windows([one.failed for one in ordered]):
        evidence = 0.0
        inside_failed = inside = 0
        for f, n in zip(failed, ran, strict=True):
            f_in, n_in = f[end] - f[first], n[end] - n[first]
            inside_failed += f_in
            inside += n_in
            evidence += (
                _averaged(f_in, n_in)
                + _averaged(f[-1] - f_in, n[-1] - n_in)
                - _fitted(f[-1], n[-1])
            )
        higher = inside_failed * len(ordered) > inside * sum(f[-1] for f in failed)
        if evidence > best[0] and higher and inside_failed >= _FEWEST:
            best = evidence, first, end
    return best


def _averaged(failed: int, count: int) -> float:
    """Log likelihood of outcomes with an unknown rate, averaged over Beta(1/2, 1/2)."""
    return (
        math.lgamma(failed + 0.5)
        + math.lgamma(count - failed + 0.5)
        - math.lgamma(count + 1)
        - math.log(math.pi)
    )


def _fitted(failed: int, count: int) -> float:
    """Log likelihood of outcomes with the rate that suits them best."""
    return sum(n * math.log(n / count) for n in (failed, count - failed) if n)


def _windows(failed: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Windows that begin and end with a failure and cannot be made better by one run more.

    All of them where these are few. Else the best for some pairs of rates, found in one pass each
    (Bentley, Communications of the ACM 27(9), 1984): which windows are looked at does not matter
    to how likely a false alarm is, only to what is found.
    """
    count = len(failed)
    starts = [n for n in range(count) if failed[n] and (n == 0 or not failed[n - 1])]
    ends = [n + 1 for n in range(count) if failed[n] and (n + 1 == count or not failed[n + 1])]
    if len(starts) <= _ALL_WINDOWS:
        for place, first in enumerate(starts):
            for end in ends[place:]:
                yield first, end
        return
    overall = sum(failed) / count
    for outside in (overall, overall / 2, overall / 4):
        for inside in (0.99, 0.9, 0.75, 0.5, 0.3, 0.2):
            if inside > outside:
                yield _best_segment(failed, outside, inside)


def _best_segment(failed: Sequence[bool], outside: float, inside: float) -> tuple[int, int]:
    gain = math.log(inside / outside)
    loss = math.log((1 - inside) / (1 - outside))
    best = total = 0.0
    first, found = 0, (0, 1)
    for place, bad in enumerate(failed):
        if total <= 0:
            first, total = place, 0.0
        total += gain if bad else loss
        if total > best:
            best, found = total, (first, place + 1)
    return found


# ---------------------------------------------------------------- the time, or the tasks?


def _judge(window: Sequence[Ran], attempts: Sequence[Ran]) -> Outage | None:
    """What a window of failures is; ``None`` where the tasks are bad."""
    groups = _groups(window, attempts)
    attempts = [one for one in attempts if one.group in groups]
    bad = [one for one in window if one.failed and one.group in groups]
    if len(bad) < _FEWEST:
        return None
    from_ns, to_ns, stops = _edges(bad, attempts)
    inside = [one for one in attempts if _in(one, from_ns, to_ns, stops)]
    failed = sum(one.failed for one in inside)
    outside = len(attempts) - len(inside)
    rate_in = min(0.95, failed / len(inside))
    rate_out = (sum(one.failed for one in attempts) - failed + 0.5) / (outside + 1)
    rate_out = min(max(rate_out, 0.01), rate_in)
    fails, does_not = math.log(rate_in / rate_out), math.log((1 - rate_in) / (1 - rate_out))
    by_task: dict[int, float] = defaultdict(float)
    for one in attempts:
        by_task[one.task] += fails if one.failed else does_not
    time = sum(fails if one.failed else does_not for one in inside)
    tasks = _best_sum([by_task[task] for task in sorted(by_task)])
    if tasks - time >= math.log(SURE):
        return None
    sure = time - tasks >= math.log(SURE)
    return Outage(from_ns, to_ns, groups, len(inside), failed, stops, sure)


def _best_sum(scores: Sequence[float]) -> float:
    """The largest sum of scores in a row."""
    best = total = 0.0
    for score in scores:
        total = max(0.0, total) + score
        best = max(best, total)
    return best


def _groups(window: Sequence[Ran], attempts: Sequence[Ran]) -> tuple[str, ...]:
    """The groups that fail in it; where that is each that ran then, all that there are."""
    ran: dict[str, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    for one in window:
        ran[one.group] += 1
        failed[one.group] += one.failed
    share = sum(failed.values()) / len(window)
    hit = {group for group, count in ran.items() if failed[group] >= share / 2 * count}
    if len(hit) == len(ran):
        hit = {one.group for one in attempts}
    return tuple(sorted(hit))


def _in(one: Ran, from_ns: int, to_ns: int, stops: bool) -> bool:
    return from_ns <= one.begun_at <= to_ns or (stops and one.begun_at < from_ns < one.stopped_at)


def _edges(bad: Sequence[Ran], attempts: Sequence[Ran]) -> tuple[int, int, bool]:
    """When it began and ended, and whether it stopped what was running when it began.

    Either the failures began to *begin* then, or to *end*; whichever leaves fewer successes in it.
    """
    well = sorted(one.begun_at for one in attempts if not one.failed)
    first, last = min(one.begun_at for one in bad), max(one.begun_at for one in bad)
    to_ns = _halfway_up(last, well)
    began = _halfway_down(first, well)
    stopped = _halfway_down(
        min(one.stopped_at for one in bad),
        sorted(one.stopped_at for one in attempts if not one.failed),
    )

    def share(from_ns: int, stops: bool) -> float:
        inside = [one.failed for one in attempts if _in(one, from_ns, to_ns, stops)]
        return sum(inside) / max(1, len(inside))

    stopping, beginning = share(stopped, True), share(began, False)
    stops = stopped <= to_ns and (
        stopping > beginning
        or (stopping == beginning and _together([one for one in bad if one.begun_at < stopped]))
    )
    return (stopped if stops else began), to_ns, stops


def _together(bad: Sequence[Ran]) -> bool:
    """Whether attempts that began at different times ended at one, so that something ended them."""
    begun, ended = [one.begun_at for one in bad], [one.stopped_at for one in bad]
    return len(bad) > 1 and 3 * (max(ended) - min(ended)) < max(begun) - min(begun)


def _halfway_down(at: int, well: Sequence[int]) -> int:
    place = bisect_left(well, at)
    return (at + well[place - 1] + 1) // 2 if place else at


def _halfway_up(at: int, well: Sequence[int]) -> int:
    place = bisect_right(well, at)
    return (at + well[place]) // 2 if place < len(well) else at
