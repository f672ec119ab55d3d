"""What an attempt does that the recording does not have: drawn from those that are most like it.

Duration and outcome are drawn together, from the Kaplan-Meier estimate of a *pool* of recorded
attempts (``simulation.statistics.survival``). Attempts are not all alike: a retry is made because
something went wrong, and what went wrong may still be wrong. A bad input fails each time, a lost
connection hardly twice; so the chance to fail at attempt k + 1 after k failures is another than the
chance to fail at all, and after a timeout another than after an error. The pools of a group are
asked in this order, the first that holds enough (``FEWEST``) is taken:

1. for a first attempt: the group's first attempts;
2. for a retry: attempts of the same number after the same fate (a timeout, or that very exception),
   else of the highest number below it, since who has failed more often fails more surely;
3. all retries of the group after that fate;
4. the same after any exception, where it was an exception; then all retries of the group;
5. all of its attempts. For a retry this assumes that a failure says nothing about the next attempt,
   which a recording with hardly any retries cannot know: such draws are counted as *assumed*.

A retry past the last number that was recorded often enough fails more surely than that one, where
failures come from tasks of two kinds: some fail each time (a bad input), the others as often as the
first time. Where the second failure is more likely than the first by more than its standard error,
the shares of those that failed once and twice tell how many there are of each (movers and stayers:
Blumen, Kogan and McCarthy, 'The industrial mobility of labor', 1955). Of all mixtures with these
two shares it is the one in which further retries help least (Karlin and Studden, 'Tchebycheff
systems', 1966, chapter 2); that they help as they last did is the other end.

What happened in an outage says nothing about other times, and is in no pool; a retry of an attempt
that an outage ended is no different from a first one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from simulation.models import Fails
from simulation.recording.read import Recording
from simulation.statistics.survival import Lifetimes, kaplan_meier

__all__ = ["FEWEST", "INTERRUPTED", "Draw", "Draws", "draws_of", "later_rate"]

#: A pool of fewer attempts than this is not relied on, where there is a larger one.
FEWEST: Final = 10
#: The fate of an attempt that an outage ended: it says nothing about the next one.
INTERRUPTED: Final = "(outage)"
_ANY_ERROR: Final = "(any error)"

_Pool = tuple[list[tuple[int, Fails | None]], list[int]]


class Draw(NamedTuple):
    """What was drawn.

    Args:
        duration_ns: how long the attempt takes, ``None`` where nobody knows.
        failure: how it fails, ``None`` where it succeeds.
        longer_than_ns: where nobody knows, it is longer than this.
        assumed: whether the pool is one of attempts that are not like it.
    """

    duration_ns: int | None
    failure: Fails | None
    longer_than_ns: int
    assumed: bool


class Draws:
    """The pools of a recording.

    Args:
        recording: what was recorded.
        tasks: the tasks whose attempts are in the pools, as often as they are named; all of them
            once by default. So the pools are resampled.
    """

    def __init__(self, recording: Recording, tasks: Sequence[int] | None = None) -> None:
        self._pools: dict[Hashable, _Pool] = {}
        self._lifetimes: dict[Hashable, Lifetimes[Fails | None]] = {}
        self._chains: dict[Hashable, tuple[Lifetimes[Fails | None], bool]] = {}
        # failures with this fate and attempts, by group, attempt's number and the fate before it
        self._counts: dict[tuple[str, int, str], list[int]] = {}
        self._firsts: Counter[str] = Counter()
        self._first_failures: Counter[tuple[str, str]] = Counter()
        self._heeds: dict[str, list[int | None]] = defaultdict(list)
        # who did not come home for so long after he was abandoned does not heed
        self._slowest_ns = max(recording.heeded.values(), default=0)
        attempts = defaultdict(list)
        for task, attempt in recording.begun_at:
            attempts[task].append(attempt)
        for task in recording.specs if tasks is None else tasks:
            for attempt in attempts.get(task, ()):
                self._put(recording, task, attempt)

    def _put(self, recording: Recording, task: int, attempt: int) -> None:
        key = task, attempt
        group = recording.specs[task].group
        if recording.fates.get(key) in ("timeout", "cancelled"):
            heeds = recording.heeded.get(key)
            watched_ns = recording.last_at - recording.stopped_at.get(key, recording.last_at)
            if heeds is not None or key in recording.done or watched_ns > self._slowest_ns:
                self._heeds[group].append(heeds)
        before = recording.fates.get((task, attempt - 1))
        behaviour = recording.done.get(key)
        bound = recording.censored.get(key, 0)
        outage = recording.hit.get(key)
        if outage is not None:
            behaviour = None  # it ran well until the outage came
            bound = outage.from_ns - recording.begun_at[key]
            if bound <= 0:
                return
        if (task, attempt - 1) in recording.hit:
            before = INTERRUPTED
        fate = recording.fates.get(key, "")
        if before is not None and before != INTERRUPTED:
            for again in {before, _kind(before)}:
                self._count(group, attempt, again, fate)
        elif before is None:
            self._firsts[group] += 1
            if fate != "ok":
                for again in {fate, _kind(fate)}:
                    self._first_failures[group, again] += 1
        for pool in _pools_of(group, attempt, before):
            seen, censored = self._pools.setdefault(pool, ([], []))
            if behaviour is not None:
                assert behaviour.duration_ns is not None
                seen.append((behaviour.duration_ns, behaviour.failure))
            else:
                censored.append(bound)

    def draw(
        self, group: str, attempt: int, before: str | None, u: float, longer_than_ns: int = -1
    ) -> Draw:
        """What an attempt does.

        Args:
            group: the task's group.
            attempt: the attempt's number.
            before: the fate of the attempt before it, ``None`` for a first one.
            u: where in the distribution, in [0, 1).
            longer_than_ns: it is known to take longer than this.
        """
        chosen = self._chains.get((group, attempt, before))
        if chosen is None:
            chosen = self._chains[group, attempt, before] = self._choose(group, attempt, before)
        lifetimes, assumed = chosen
        drawn = lifetimes.draw(u, longer_than_ns)
        if drawn is None:
            return Draw(None, None, max(longer_than_ns, lifetimes.floor, 0), assumed)
        return Draw(drawn[0], drawn[1], longer_than_ns, assumed)

    def draw_seen(self, group: str, u: float, longer_than_ns: int) -> Draw:
        """What any attempt of a group does that was seen to end and took longer than so long.

        Args:
            group: the task's group.
            u: where in the distribution, in [0, 1).
            longer_than_ns: it is known to take longer than this.
        """
        took, failure = self._estimate((group,)).draw_seen(u, longer_than_ns) or (None, None)
        return Draw(took, failure, longer_than_ns, assumed=True)

    def heeds_after_ns(self, group: str, u: float) -> int | None:
        """How long after it is abandoned an attempt comes home, ``None`` where it does not heed.

        Args:
            group: the task's group.
            u: where in the distribution, in [0, 1).
        """
        seen = self._heeds.get(group)
        return seen[int(u * len(seen))] if seen else None

    def _count(self, group: str, attempt: int, before: str, fate: str) -> None:
        counts = self._counts.setdefault((group, attempt, before), [0, 0])
        counts[0] += fate == before or (before == _ANY_ERROR and _is_error(fate))
        counts[1] += 1

    def _rate(self, group: str, attempt: int, fate: str) -> float | None:
        """How often an attempt fails so, after one that failed so; ``None`` where none was made."""
        if attempt == 1:
            failed, count = self._first_failures[group, fate], self._firsts[group]
        else:
            failed, count = self._counts.get((group, attempt, fate), (0, 0))
        return failed / count if count else None

    def _choose(
        self, group: str, attempt: int, before: str | None
    ) -> tuple[Lifetimes[Fails | None], bool]:
        for pool in _chain(group, attempt, before):
            if pool in self._pools and self._estimate(pool).size >= FEWEST:
                found = self._estimate(pool)
                if len(pool) == 3 and pool[1] != "after" and pool[2] != "timeout":
                    found = self._later(found, attempt, *pool)
                return found, False
        return self._estimate((group,)), before not in (None, INTERRUPTED)

    def _later(
        self,
        lifetimes: Lifetimes[Fails | None],
        attempt: int,
        group: str,
        last: int,
        fate: str,
    ) -> Lifetimes[Fails | None]:
        """What an attempt does past the last number that was recorded, after failures like it."""
        if attempt == last:
            return lifetimes
        before, now = self._rate(group, last - 1, fate), self._rate(group, last, fate)
        if before is None or now is None:
            return lifetimes
        error = math.sqrt(now * (1.0 - now) / self._counts[group, last, fate][1])
        if now - before <= error:
            return lifetimes  # no more than chance
        share = later_rate(before, now, attempt - last)
        return lifetimes.with_share(
            lambda mark: mark is not None and (fate in (_ANY_ERROR, mark.error)), share
        )

    def _estimate(self, pool: Hashable) -> Lifetimes[Fails | None]:
        found = self._lifetimes.get(pool)
        if found is None:
            seen, censored = self._pools.get(pool, ((), ()))
            found = self._lifetimes[pool] = kaplan_meier(seen, censored)
        return found


def later_rate(before: float, last: float, later: int) -> float:
    """How often those fail who have failed each time, so many attempts after the last recorded.

    Args:
        before: how often they failed at the attempt before the last.
        last: how often those failed at the last who had failed before.
        later: how many attempts after the last, from 1.

    Returns:
        At least ``last``: with a share ``b`` that fails each time and the others with a chance
        ``g``, n failures in a row have the chance ``b + (1 - b) * g**n``, which ``before`` and
        ``before * last`` determine.

    Example:
        >>> bad, chance = 0.05, 0.1  # 5% bad inputs, and one failure in ten otherwise
        >>> def row(n): return bad + (1 - bad) * chance**n
        >>> round(later_rate(row(1), row(2) / row(1), 1), 6) == round(row(3) / row(2), 6)
        True
    """
    if last <= before:
        return last
    bad = before * (last - before) / (1.0 - 2.0 * before + before * last)
    chance = (before * last - bad) / (before - bad) if before > bad else 0.0

    def row(count: int) -> float:
        return bad + (1.0 - bad) * max(0.0, chance) ** count

    return min(1.0, row(later + 2) / row(later + 1))


def draws_of(recording: Recording) -> Draws:
    """The pools of a whole recording, made once.

    Args:
        recording: what was recorded.
    """
    if recording.draws is None:
        recording.draws = Draws(recording)
    return recording.draws  # type: ignore[no-any-return]  # kept as an object: Draws knows it


def _is_error(fate: str) -> bool:
    return fate not in ("ok", "timeout", "cancelled", "")


def _kind(before: str) -> str:
    return before if before == "timeout" else _ANY_ERROR


def _pools_of(group: str, attempt: int, before: str | None) -> Iterator[Hashable]:
    """The pools that a recorded attempt is in."""
    yield (group,)
    if before is None:
        yield group, "first"
    elif before != INTERRUPTED:
        yield group, "retry"
        yield group, "after", before
        yield group, attempt, before
        if _kind(before) != before:
            yield group, "after", _ANY_ERROR
            yield group, attempt, _ANY_ERROR


def _chain(group: str, attempt: int, before: str | None) -> Iterator[tuple[Any, ...]]:
    """The pools that are asked for an attempt, the most like it first."""
    if before is None or before == INTERRUPTED:
        yield group, "first"
        return
    for fate in dict.fromkeys((before, _kind(before))):
        for number in range(attempt, 1, -1):
            yield group, number, fate
        yield group, "after", fate
    yield group, "retry"
