"""Whether whoever submitted the tasks of a recording waited for results before he went on.

A journal says when tasks came and when they ended, not who waited for what. It shows in the
*think time*: a submission that waited for an end comes a moment after it. Only such submissions
tell that come after at least one end since the submission before them; the others (a loop that
submits a batch) waited for nothing new. Of the ``n`` ends in a gap of length ``g`` between two
submissions, the last came ``t`` before the gap's end. Were the submissions independent of the ends
(an *open* source), the ends would lie anywhere in the gap, and the last of them so near its end
with probability

* ``1 - (1 - t/g)^n`` where other tasks were still in flight;
* about ``t/g`` where none was (a *barrier*: everything submitted before had ended). There is one
  moment at which the pool falls idle, however many ends came before it; a source whose next
  submission comes at a rate ``r`` comes within ``t`` of it with probability ``1 - exp(-r t)``, and
  ``g`` is what the gap tells of ``1/r``.

Under an open source these are about uniform (measured: ``tests/recording/test_following.py``);
where submissions follow ends they are all small. Barriers and the others are judged apart, since a
batch that is submitted while its first tasks end has hundreds of the second kind that say nothing.
Each kind by Fisher's combined probability and by the number of those below 5% against the binomial
distribution (some of them may follow, and the rest not), as if chance were half as large again as
it is, twice for two looks, and twice for two kinds. Fisher, Statistical Methods for Research
Workers, 1932, section 21.1; that who arrives independently finds what is there on average: Wolff,
'Poisson arrivals see time averages', Operations Research 30(2), 1982.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

from runtime.core.records import AbortRequested, TaskSubmitted

if TYPE_CHECKING:
    from simulation.recording.read import Recording

__all__ = ["Followed", "Following", "following_of"]

#: Below this probability, chance is ruled out.
SURE: Final = 1e-3
#: Where there are few submissions to tell from, up to this probability it is not clear.
UNCLEAR: Final = 0.5
#: So many submissions, or fewer, are few.
_FEW: Final = 4
#: Of those that may follow, so many must look as if they did; else only part of them does.
_MOST: Final = 0.5
#: A probability below this counts as near an end.
_NEAR: Final = 0.05
#: How much larger than said chance is taken to be.
_SAFETY: Final = 1.5
#: No single submission says more than this: clocks have ticks, and virtual time has ties.
_LEAST: Final = 1e-5

Verdict = Literal["open", "follows", "part", "unclear"]


@dataclass(frozen=True)
class Followed:
    """A submission that came after an end since the one before it.

    Args:
        index: its place in the recording's arrivals.
        barrier: whether nothing was in flight when it came.
        think_ns: how long after the last end it came.
        gap_ns: how long after the submission before it.
        probability: that an open source comes so soon after an end.
    """

    index: int
    barrier: bool
    think_ns: int
    gap_ns: int
    probability: float


@dataclass(frozen=True)
class Following:
    """Whether submissions follow ends.

    Args:
        verdict: ``open``: they do not. ``follows``: they do. ``part``: some do, and too many do
            not. ``unclear``: it may be, and there are too few to tell.
        barriers: submissions that came when nothing was in flight, after an end.
        others: those that came after an end while others were in flight.
        barriers_chance: the probability of the first from an open source; 1 without any.
        others_chance: the same of the second.
        leaders: places in the recording's arrivals of submissions that wait for ends.
        possible: where it is not clear, those that may.
        idle_aborts: places of aborts that found nothing in flight.
        submissions: tasks that came from outside after the first end.
    """

    verdict: Verdict
    barriers: list[Followed] = field(default_factory=list)
    others: list[Followed] = field(default_factory=list)
    barriers_chance: float = 1.0
    others_chance: float = 1.0
    leaders: frozenset[int] = frozenset()
    possible: frozenset[int] = frozenset()
    idle_aborts: frozenset[int] = frozenset()
    submissions: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether it is not clear."""
        return self.verdict in ("part", "unclear")


def following_of(recording: Recording) -> Following:
    """Judge a recording's submissions; the answer is kept with it.

    Args:
        recording: what was recorded.

    Returns:
        Whether they follow ends.
    """
    if recording.following is None:
        recording.following = _judge(recording)
    return recording.following


def _judge(recording: Recording) -> Following:
    barriers, others, idle_aborts, late = _look(recording)
    barriers_chance, others_chance = (
        _chance([one.probability for one in of]) for of in (barriers, others)
    )
    leaders: set[int] = set()
    part = False
    for of, chance in ((barriers, barriers_chance), (others, others_chance)):
        if chance <= SURE:
            if _share_near(of) >= _MOST:
                leaders.update(one.index for one in of)
            else:
                part = True
    if leaders and others_chance <= SURE:  # who waits for one result waits for the last, too
        leaders.update(one.index for one in barriers)
    verdict: Verdict = "open"
    possible: set[int] = set()
    if leaders:
        verdict = "follows"
    elif part or _few_and_unclear(barriers, others):
        verdict = "part" if part else "unclear"
        possible.update(one.index for one in (*barriers, *others))
    return Following(
        verdict,
        barriers,
        others,
        barriers_chance,
        others_chance,
        frozenset(leaders),
        frozenset(possible),
        frozenset(idle_aborts),
        late,
    )


def _look(recording: Recording) -> tuple[list[Followed], list[Followed], list[int], int]:
    """Submissions after an end, at a barrier and else; idle aborts; submissions after an end."""
    barriers: list[Followed] = []
    others: list[Followed] = []
    idle_aborts: list[int] = []
    run, parents = recording.run, recording.parents
    own = [0, *accumulate(end.task not in parents for end in run.ends)]
    own_at = [
        at for at, end in zip(run.ended_at_ns, run.ends, strict=True) if end.task not in parents
    ]
    came = late = own_then = 0
    last_at: int | None = None
    for index, ((at, part), ends) in enumerate(
        zip(recording.arrivals, recording.ends_before, strict=True)
    ):
        if type(part) is AbortRequested and came == ends:
            idle_aborts.append(index)
        if type(part) is not TaskSubmitted:
            continue
        if part.task not in parents:
            late += ends > 0
            new = own[ends] - own_then
            if last_at is not None and new and at > last_at:
                gap = at - last_at
                if came == ends:
                    think = at - run.ended_at_ns[ends - 1]
                    barriers.append(Followed(index, True, think, gap, min(1.0, think / gap)))
                else:
                    think = at - own_at[own[ends] - 1]
                    chance = 1.0 - (1.0 - min(1.0, think / gap)) ** new
                    others.append(Followed(index, False, think, gap, chance))
            last_at, own_then = at, own[ends]
        came += 1
    return barriers, others, idle_aborts, late


def _few_and_unclear(barriers: Sequence[Followed], others: Sequence[Followed]) -> bool:
    """Whether too few barriers to be sure are most of what there is to tell from."""
    if not 0 < len(barriers) <= _FEW or len(others) > len(barriers):
        return False
    return _fisher([one.probability for one in barriers]) < UNCLEAR


def _share_near(of: Sequence[Followed]) -> float:
    """How many of them look as if they followed."""
    return sum(one.probability <= 2 * _NEAR for one in of) / len(of)


def _chance(probabilities: Sequence[float]) -> float:
    """How likely an open source gives such probabilities, or smaller ones."""
    if not probabilities:
        return 1.0
    near = sum(one <= _NEAR for one in probabilities)
    found = min(_fisher(probabilities), _at_least(near, len(probabilities), _SAFETY * _NEAR))
    return min(1.0, 4.0 * found)


def _fisher(probabilities: Sequence[float]) -> float:
    """Fisher's combined probability: of a chi-square with twice as many degrees of freedom."""
    from scipy.special import gammaincc  # noqa: PLC0415  # start-up time

    of = [min(1.0, _SAFETY * max(_LEAST, one)) for one in probabilities]
    return float(gammaincc(len(of), -math.fsum(map(math.log, of))))


def _at_least(count: int, of: int, share: float) -> float:
    """The binomial distribution's upper tail."""
    from scipy.special import betainc  # noqa: PLC0415  # start-up time

    return float(betainc(count, of - count + 1, share)) if count else 1.0
