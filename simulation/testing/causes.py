"""Two runs of a test that differ: where first, and what is likely behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runtime.core.records import Transition
from runtime.core.stories import in_seconds, tell
from simulation.testing.bench import Seen

__all__ = ["explain"]

_BEFORE = 3


def explain(
    first: Sequence[Seen], second: Sequence[Seen], third: Sequence[Seen], *, random: bool
) -> str:
    """Say where two runs differ first, and why they may.

    Args:
        first: the run here.
        second: the run in the second process.
        third: another run there.
        random: whether the global random generator was used.

    Returns:
        Lines.
    """
    head = (
        "not deterministic: in a process of another hash seed and garbage collection, the same "
        "test takes another course"
    )
    if len(first) != len(second):
        where = [f"it made {len(first)} pools here, and {len(second)} there"]
    else:
        number = next(i for i, one in enumerate(first) if one.digest != second[i].digest)
        where = _first_difference(number, len(first), first[number], second[number])
    return "\n".join([head, *where, f"likely cause: {_cause(first, second, third, random)}"])


def _first_difference(number: int, pools: int, here: Seen, there: Seen) -> list[str]:
    ours, theirs = here.transitions, there.transitions
    at = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    which = f"pool {number + 1} of {pools}, " if pools > 1 else ""
    if at == len(ours) == len(theirs):
        return [f"{which}the same transitions, but other instants of their work or other numbers"]
    told = _told(here)
    common = [f"  both  {line}" for line in told[max(0, at - _BEFORE) : at]]
    return [
        f"{which}transition {at + 1} is the first that differs:",
        *common,
        f"  here  {told[at] if at < len(told) else 'nothing more happens'}",
        f"  there {_told(there)[at] if at < len(theirs) else 'nothing more happens'}",
    ]


def _told(seen: Seen) -> list[str]:
    return [
        f"{in_seconds(sentence.at_ns):>15}  {sentence.text}: task {sentence.task} "
        f"{seen.names.get(sentence.task, '')!r}"
        for sentence in tell(seen.transitions)
    ]


def _cause(
    first: Sequence[Seen], second: Sequence[Seen], third: Sequence[Seen], random: bool
) -> str:
    escaped = sorted({name for seen in (*first, *second) for name in seen.escaped})
    steady = [seen.digest for seen in second] == [seen.digest for seen in third]
    if escaped and not steady:
        return (
            f"a thread that escaped: {', '.join(escaped)} was started by the test itself and runs "
            f"in real time; let a task start it, or join it before the tasks go on"
        )
    if random and not steady:
        return "the global random generator, unseeded: random.seed(...) in the test, or a Random"
    if steady:
        return (
            "the order of a set, or of what else goes by hash(): the second process agrees with "
            "itself and not with this one; sort what tasks are made from"
        )
    if _order(first) != _order(second) and Counter(_order(first)) == Counter(_order(second)):
        return (
            "an id() or an address that something is sorted or kept by: the order is another one "
            "at each run"
        )
    if _order(first) == _order(second):
        return (
            "a real clock, or random bytes (uuid4, os.urandom): the same steps come at other "
            "instants at each run"
        )
    return "what differs from run to run: a real clock, random bytes, a file, the network"


def _order(seen: Sequence[Seen]) -> list[tuple[str, str]]:
    def key(one: Seen, t: Transition) -> tuple[str, str]:
        return one.names.get(t.task, ""), "" if t.cause is None else t.cause.name

    return [key(one, t) for one in seen for t in one.transitions]
