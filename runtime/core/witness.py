"""What a core's transitions tell, held against the table and against its instructions.

Observers see transitions only: spans, metrics and log lines are made from them. So each must be a
step through the published table from where the one before it left the task, and together they must
tell of the starts, retries, ends, losses and dropped results that were instructed, in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, assert_never

from runtime.core import records as r
from runtime.core.states import TABLE, TERMINAL, Cause, Ignored, TaskState
from runtime.core.stories import tell

__all__ = ["InvariantBroken", "Witness"]

_Told = tuple[object, ...]
_READY, _DELAYED = TaskState.READY, TaskState.DELAYED
_STARTED, _LATE = Cause.STARTED, Cause.LATE_COMPLETION


class InvariantBroken(AssertionError):
    """An invariant does not hold: a bug of the core's, or a journal that no core has written.

    Args:
        number: the invariant's number.
        expected: what must hold.
        found: what is the case.
        story: what is known of the task concerned.
    """

    def __init__(self, number: int, expected: str, found: str, story: Sequence[str] = ()) -> None:
        self.number = number
        self.expected = expected
        self.found = found
        self.story = list(story)
        told = "".join(f"\n  {line}" for line in self.story)
        super().__init__(f"invariant {number}: expected {expected}; found {found}{told}")


class Witness:
    """Listens to every transition of a run.

    Attributes:
        states: where the transitions have left each task.
    """

    def __init__(self) -> None:
        self.states: dict[int, TaskState] = {}
        self._stories: dict[int, list[r.Transition]] = {}

    def hear(
        self,
        now_ns: int,
        instructions: Sequence[r.Instruction],
        transitions: Sequence[r.Transition],
    ) -> None:
        """Take in one step of the core.

        Args:
            now_ns: when, in nanoseconds.
            instructions: what came out.
            transitions: all that were recorded in this step.

        Raises:
            InvariantBroken: a transition is none of the table's, or does not tell what was
                instructed.
        """
        told: list[_Told] = []
        for t in transitions:
            self._walk(now_ns, t)
            cause = t.cause
            if t.abandoned:
                told.append(("abandon", t.task, t.attempt))
            if cause == _STARTED:
                told.append(("start", t.task, t.attempt, t.slot))
            elif cause == _LATE:
                told.append(("drop", t.task, t.attempt))
            elif t.after == _DELAYED:
                told.append(("delay", t.task, t.attempt, t.until_ns, t.reason))
            elif t.after in TERMINAL:
                told.append(("finish", t.task, t.attempt, t.reason))
        done = [words for words in map(_brief, instructions) if words]
        if told != done:
            raise InvariantBroken(20, f"transitions that tell {done}", f"{told} at {now_ns} ns")

    def _walk(self, now_ns: int, t: r.Transition) -> None:
        """Follow one transition through the table."""
        task, cause, after = t.task, t.cause, t.after
        before = self.states.get(task)
        if before is None:
            self._stories[task] = [t]
        else:
            self._stories[task].append(t)
        if t.at_ns != now_ns or t.before != before:
            self._broken(f"a move from {before!r} at {now_ns} ns", t)
        if before is None or cause is None:
            if before is not None or cause is not None or after != _READY:
                self._broken("a birth as READY", t)
        else:
            cell = TABLE[before][cause]
            follows = before if isinstance(cell, Ignored) else cell
            if after != follows:
                self._broken(f"{follows!r} after it", t)
        self.states[task] = after

    def _broken(self, expected: str, t: r.Transition) -> NoReturn:
        """Stories are put into words only here: most are never told."""
        story = [
            f"{sentence.line()} ({one.before!s} -> {one.after!s})"
            for one in self._stories[t.task]
            for sentence in tell([one])
        ]
        raise InvariantBroken(2, expected, f"{t!r}", story)


def _brief(i: r.Instruction) -> _Told:
    """What a transition must tell of an instruction."""
    match i:
        case r.StartAttempt():
            return ("start", i.task, i.attempt, i.slot)
        case r.AbandonAttempt():
            return ("abandon", i.task, i.attempt)
        case r.DelayTask():
            return ("delay", i.task, i.attempt, i.until_ns, i.reason)
        case r.FinishTask():
            return ("finish", i.task, i.attempts, i.reason)
        case r.DropResult():
            return ("drop", i.task, i.attempt)
        case r.RetireSlot() | r.StopWorkers():
            return ()
        case _:
            assert_never(i)
