"""What the tests of the core share.

Short stimuli, a copy of everything a core knows, and a small host on a virtual clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.ready import ReadyOrder
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from runtime.core.states import TaskState


def ok(task: int, attempt: int, at_ns: int, begun_ns: int | None = None) -> r.AttemptSucceeded:
    begun = at_ns if begun_ns is None else begun_ns
    return r.AttemptSucceeded(task, attempt, begun, begun, at_ns)


def failed(
    task: int,
    attempt: int,
    at_ns: int,
    *,
    retryable: bool = True,
    retry_after_ns: int | None = None,
    begun_ns: int | None = None,
) -> r.AttemptFailed:
    begun = at_ns if begun_ns is None else begun_ns
    return r.AttemptFailed(
        task, attempt, begun, begun, at_ns, "ValueError", retryable, retry_after_ns
    )


def together(*stimuli: r.SimultaneousPart) -> r.Simultaneous:
    return r.Simultaneous(stimuli)


def snapshot(core: Core) -> Any:
    """All of a core's state as plain values: two snapshots are equal iff nothing has changed."""
    return _plain(core.__dict__)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return [(_plain(key), _plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_plain(item) for item in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, ReadyOrder):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.astuple(value))
    return value


# ---------------------------------------------------------------- a small host


@dataclass(frozen=True)
class Work:
    """Tasks with the instants of their arrival, and what their attempts do.

    Attributes:
        arrivals: instant and submission, in the order of both.
        lasts_ns: how long attempts last, by task's place and attempt, over and over.
        ends: how they end, ``ok``, ``retryable`` or ``final``, in the same way.
        cancels: how long after its arrival a task is cancelled, and its place.
    """

    arrivals: list[tuple[int, r.TaskSubmitted]]
    lasts_ns: list[int]
    ends: list[str]
    cancels: list[tuple[int, int]]


class Listening(Core):
    """A core that remembers every step: when, what came in and what came out, what changed.

    Attributes:
        steps: them, in order.
    """

    def __init__(self, own: CoreSettings) -> None:
        super().__init__(own, record="all")
        self.steps: list[
            tuple[int, r.Stimulus, list[r.Instruction], list[r.Transition], dict[TaskState, int]]
        ] = []

    def handle(self, now_ns: int, stimulus: r.Stimulus) -> list[r.Instruction]:
        out = super().handle(now_ns, stimulus)
        self.steps.append((now_ns, stimulus, out, self.take_transitions(), self.counts()))
        return out


def play(
    own: CoreSettings, work: Work, extra_wakes: Sequence[int] = (), core: Core | None = None
) -> list[tuple[int, r.Instruction]]:
    """Let a core do the work on a virtual clock; every instruction with its instant.

    What happens at one instant is told at once. Extra wakes come after it.
    """
    core = Core(own) if core is None else core
    place = {spec.task: index for index, (_, spec) in enumerate(work.arrivals)}
    numbers = list(place)
    arrived = {spec.task: at for at, spec in work.arrivals}
    to_come: list[tuple[int, r.SimultaneousPart]] = list(work.arrivals)
    for after, index in work.cancels:
        number = numbers[index % len(numbers)]
        to_come.append((arrived[number] + after, r.CancelRequested(number)))
    wakes = sorted(extra_wakes)
    log: list[tuple[int, r.Instruction]] = []
    while True:
        instants = [at for at, _ in to_come]
        due = core.next_deadline_ns()
        if not instants and due is None:
            return log
        now = min(instants if due is None else [*instants, due])
        while wakes and wakes[0] < now:
            early = core.handle(wakes.pop(0), r.TimeElapsed())
            assert early == [], "nothing was due yet"
        told = [part for at, part in to_come if at == now]
        to_come = [(at, part) for at, part in to_come if at != now]
        out = core.handle(now, together(*told) if told else r.TimeElapsed())
        while wakes and wakes[0] == now:
            again = core.handle(wakes.pop(0), r.TimeElapsed())
            assert again == [], "all that was due has been done"
        for instruction in out:
            log.append((now, instruction))
            if isinstance(instruction, r.StartAttempt):
                number, attempt = instruction.task, instruction.attempt
                key = place[number] + 5 * attempt
                until = now + work.lasts_ns[key % len(work.lasts_ns)]
                end = work.ends[key % len(work.ends)]
                to_come.append(
                    (
                        until,
                        ok(number, attempt, until, now)
                        if end == "ok"
                        else failed(
                            number, attempt, until, retryable=end == "retryable", begun_ns=now
                        ),
                    )
                )


@st.composite
def works(draw: st.DrawFn) -> Work:
    arrivals = []
    now = 0
    for number in range(1, draw(st.integers(2, 8)) + 1):
        now += draw(st.integers(0, 6))
        deadline = draw(st.none() | st.integers(1, 40))
        spec = r.TaskSubmitted(
            number,
            name=f"task {number}",
            priority=draw(st.integers(0, 2)),
            timeout_ns=draw(st.sampled_from([r.UNSET, None, 4, 7])),
            max_retries=draw(st.sampled_from([r.UNSET, 0, 3])),
            deadline_at_ns=None if deadline is None else now + deadline,
        )
        arrivals.append((now, spec))
    ends = st.sampled_from(["ok", "retryable", "retryable", "final"])
    return Work(
        arrivals,
        draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)),
        draw(st.lists(ends, min_size=1, max_size=4)),
        draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 7)), max_size=2)),
    )


#: Settings whose backoffs are drawn from nothing.
plain_settings = st.builds(
    CoreSettings,
    max_workers=st.integers(1, 3),
    timeout_ns=st.sampled_from([None, 5, 8]),
    max_retries=st.integers(0, 2),
    backoff_base_ns=st.sampled_from([1, 2, 5, 0]),
    backoff_max_ns=st.sampled_from([5, 12]),
    ageing_ns=st.sampled_from([None, 3]),
    max_abandoned=st.integers(0, 2),
)
