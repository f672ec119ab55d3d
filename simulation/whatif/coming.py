"""How the tasks of an answer come, and why: what every answer from a recording begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulation.recording.arrivals import Arrivals
from simulation.recording.following import Followed, Following, following_of
from simulation.recording.read import Recording

__all__ = ["Coming", "coming_of", "doubt_about", "doubted"]

#: How far apart the figures may lie that depend on whether submissions follow ends.
WIDEST_DOUBT: Final = 0.10
_JUDGED: Final = {"makespan_seconds": "makespan", "task_seconds_p95": "p95 of the tasks' times"}


@dataclass(frozen=True)
class Coming:
    """How tasks come in an answer.

    Args:
        asked: what was asked for: ``auto``, ``recorded``, ``closed`` or ``scaled=F``.
        used: what that came to: ``recorded``, ``following`` (ends, as the recording shows),
            ``closed`` or ``scaled``.
        why: both in words.
    """

    asked: str
    used: str
    why: str


def coming_of(recording: Recording, arrivals: Arrivals) -> Coming:
    """How tasks come, and why.

    Args:
        recording: what was recorded.
        arrivals: what was asked for.
    """
    judged = following_of(recording)
    asked = str(arrivals)
    if arrivals.kind == "closed":
        return Coming(asked, "closed", "tasks come when others end, as was asked (closed)")
    if arrivals.kind == "scaled":
        times = (
            f"tasks come {arrivals.factor:g} times as fast, as was asked; the figures of the "
            f"recorded setting are with arrivals as recorded"
        )
        return Coming(asked, "scaled", times + _although(judged))
    if arrivals.kind == "recorded":
        instants = "tasks come at their recorded instants, as was asked"
        return Coming(asked, "recorded", instants + _although(judged))
    if judged.verdict == "follows":
        return Coming(asked, "following", _following(judged))
    return Coming(asked, "recorded", _at_their_instants(recording, judged))


def doubted(recording: Recording, arrivals: Arrivals) -> Arrivals | None:
    """The other way in which tasks may come, where the recording does not tell.

    Args:
        recording: what was recorded.
        arrivals: what was asked for.

    Returns:
        As if submissions followed ends; ``None`` where there is no doubt.
    """
    if arrivals.kind != "auto" or not following_of(recording).doubtful:
        return None
    return replace(arrivals, doubted=True)


def doubt_about(here: dict[str, float], there: dict[str, float]) -> str | None:
    """Why an answer would not be honest that takes tasks to come at their recorded instants.

    Args:
        here: the measures where they do.
        there: those where submissions follow ends.

    Returns:
        The reason; ``None`` where both come to about the same.
    """
    for name, title in _JUDGED.items():
        low, high = sorted((here[name], there[name]))
        if high - low > WIDEST_DOUBT * high:
            return (
                f"whether submissions follow ends decides, and the recording has too few to tell: "
                f"the {title} would be {there[name]:,.3f} s if they do and {here[name]:,.3f} s if "
                f"they come at their recorded instants; say which: --arrivals closed, or "
                f"--arrivals recorded"
            )
    return None


def _although(judged: Following) -> str:
    if judged.verdict == "follows":
        return f", although {_evidence(judged)}; --arrivals auto lets them follow"
    return ""


def _following(judged: Following) -> str:
    if judged.barriers and not set(judged.leaders) - {one.index for one in judged.barriers}:
        return (
            f"each phase comes when the one before has ended, as it did then: {_evidence(judged)}"
        )
    return f"tasks come when others end, as they did then: {_evidence(judged)}"


def _evidence(judged: Following) -> str:
    told = []
    for of, where in (
        (
            [one for one in judged.barriers if one.index in judged.leaders],
            "found nothing in flight",
        ),
        (
            [one for one in judged.others if one.index in judged.leaders],
            "came with tasks in flight",
        ),
    ):
        if of:
            some = "one submission" if len(of) == 1 else f"{len(of):,} submissions"
            told.append(f"{some} that {where} came {_thinks(of)} after an end")
    return " and ".join(told) + ", too soon for chance"


def _thinks(of: Sequence[Followed]) -> str:
    thinks = sorted(one.think_ns / 1e6 for one in of)
    middle = f"{thinks[len(thinks) // 2]:,.3g} ms"
    if len(thinks) == 1:
        return middle
    return f"{middle} (median; {thinks[0]:,.3g} to {thinks[-1]:,.3g})"


def _at_their_instants(recording: Recording, judged: Following) -> str:
    instants = "tasks come at their recorded instants"
    if recording.parents:
        instants += " (those that tasks submit: when those do)"
    if not judged.submissions:
        return f"{instants}: all from outside came before the first had ended"
    if judged.verdict == "open":
        return f"{instants}: no more came soon after an end than chance explains"
    of = [*judged.barriers, *judged.others]
    return (
        f"{instants}; whether they followed ends is not clear ({len(of):,} came after an end, "
        f"{_thinks(of)} after it)"
    )
