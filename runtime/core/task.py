"""What the core remembers of a live task."""

from __future__ import annotations

import msgspec

from runtime.core.records import TaskSubmitted
from runtime.core.states import TaskState
from runtime.core.tally import GroupTally

__all__ = ["Task"]


class Task(msgspec.Struct, gc=False):
    """A live task. Ended tasks leave one byte behind, so that memory does not grow with them.

    Args:
        spec: what was submitted.
        timeout_ns: limit of one attempt, ``None`` for none.
        retries_left: retries it may still have; an abort sets it to 0.
        submitted_at_ns: when it was submitted.
        ready_at_ns: when it last became ready.
        state: where it is, as an int of ``TaskState``.
        attempt: the last attempt started, 0 before the first.
        slot: the slot of that attempt, -1 before the first.
        started_at_ns: start of the first attempt.
        attempt_at_ns: start of the last attempt.
        timeout_at_ns: when the running attempt is abandoned.
        due_at_ns: when its backoff elapses.
        backoff_ns: its last backoff.
        running_ns: time spent running, of attempts that ended.
        queued_ns: time spent ready, of waits that ended.
        delayed_ns: time spent in backoff, of backoffs that ended.
        deadline_kept: whether the deadline stands among the timers.
        tally: where what happens to it is counted, ``None`` for nowhere.
        mark: what somebody wants it remembered by, ``None`` for nothing.
    """

    spec: TaskSubmitted
    timeout_ns: int | None
    retries_left: int
    submitted_at_ns: int
    ready_at_ns: int
    state: int = int(TaskState.READY)
    attempt: int = 0
    slot: int = -1
    started_at_ns: int | None = None
    attempt_at_ns: int = 0
    timeout_at_ns: int | None = None
    due_at_ns: int = 0
    backoff_ns: int | None = None
    running_ns: int = 0
    queued_ns: int = 0
    delayed_ns: int = 0
    deadline_kept: bool = False
    tally: GroupTally | None = None
    mark: object = None
