"""What goes into the core and what comes out: stimuli, instructions, transitions.

Three nouns, and never 'event': a *stimulus* comes in and is named in the past tense, an
*instruction* goes out and is an imperative, a *transition* is what changed. All are frozen
``msgspec.Struct``s with a tag, so a journal is simply their typed encoding. Instants are integer
nanoseconds on the host's clock, counted from the moment the pool was made; ``_ns`` without
``_at_ns`` is a duration. ``UNSET`` means 'as the pool is configured', ``None`` means 'unlimited'.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from runtime.core.states import Cause, TaskState

__all__ = [
    "UNSET",
    "AbandonAttempt",
    "AbortRequested",
    "AttemptFailed",
    "AttemptSucceeded",
    "CancelRequested",
    "DelayTask",
    "DrainRequested",
    "DropResult",
    "FinishTask",
    "Instruction",
    "Outcome",
    "Reason",
    "ResizeRequested",
    "RetireSlot",
    "Simultaneous",
    "SimultaneousPart",
    "StartAttempt",
    "Stimulus",
    "StopWorkers",
    "TaskSubmitted",
    "TimeElapsed",
    "Transition",
    "UnsetType",
]

#: How a task or an attempt ended.
Outcome = Literal["ok", "error", "timeout", "cancelled"]

#: Why a task ended as it did, or why it is retried.
Reason = Literal[
    "",
    "error",
    "timeout",
    "not retryable",
    "retries exhausted",
    "retry would pass the deadline",
    "deadline passed",
    "cancelled",
    "aborted",
    "submitted while draining",
]


class _Record(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="kind"):
    pass


# ---------------------------------------------------------------- stimuli: what happened


class TaskSubmitted(_Record, frozen=True, tag="task_submitted", omit_defaults=True):
    """A task was handed in.

    Args:
        task: its number, chosen by the host, from 1, never used before.
        name: the user's name for it; for people only.
        priority: lower starts first.
        group: the group whose limits and metrics it shares.
        timeout_ns: limit of one attempt; ``UNSET`` takes the pool's, ``None`` is unlimited.
        max_retries: retries allowed after the first attempt; ``UNSET`` takes the pool's.
        deadline_at_ns: the instant by which the whole task must have ended, or ``None``.
        parent: the task of the same pool whose attempt submitted it, 0 where none did. It decides
            nothing; a what-if lets the one follow the other.
    """

    task: int
    name: str = ""
    priority: int = 0
    group: str = "default"
    timeout_ns: int | UnsetType | None = UNSET
    max_retries: int | UnsetType = UNSET
    deadline_at_ns: int | None = None
    parent: int = 0


class AttemptSucceeded(_Record, frozen=True, tag="attempt_succeeded", omit_defaults=True):
    """An attempt's function returned.

    Args:
        task: the task's number.
        attempt: the attempt's number, from 1.
        dispatched_at_ns: when the host handed the attempt to a worker.
        begun_at_ns: when its first instruction ran.
        ended_at_ns: when the function returned.
        cpu_ns: CPU time that its thread spent on it, ``None`` where it was not measured.
    """

    task: int
    attempt: int
    dispatched_at_ns: int
    begun_at_ns: int
    ended_at_ns: int
    cpu_ns: int | None = None


class AttemptFailed(_Record, frozen=True, tag="attempt_failed", omit_defaults=True):
    """An attempt's function raised.

    Args:
        task: the task's number.
        attempt: the attempt's number, from 1.
        dispatched_at_ns: when the host handed the attempt to a worker.
        begun_at_ns: when its first instruction ran.
        ended_at_ns: when the exception left the function.
        error: the exception's type, ``module.qualname`` (``qualname`` alone for a builtin).
        retryable: what the classifier said of it.
        retry_after_ns: a floor for the backoff that the exception carried, or ``None``.
        cpu_ns: CPU time that its thread spent on it, ``None`` where it was not measured.
    """

    task: int
    attempt: int
    dispatched_at_ns: int
    begun_at_ns: int
    ended_at_ns: int
    error: str
    retryable: bool = True
    retry_after_ns: int | None = None
    cpu_ns: int | None = None


class CancelRequested(_Record, frozen=True, tag="cancel_requested"):
    """Somebody wants one task stopped."""

    task: int


class AbortRequested(_Record, frozen=True, tag="abort_requested"):
    """Somebody wants all pending tasks stopped."""


class DrainRequested(_Record, frozen=True, tag="drain_requested"):
    """No more tasks will come; what is there is to be finished."""


class ResizeRequested(_Record, frozen=True, tag="resize_requested"):
    """Somebody wants another number of workers from now on.

    Args:
        max_workers: how many, at least 1.
    """

    max_workers: int


class TimeElapsed(_Record, frozen=True, tag="time_elapsed"):
    """The clock moved on. Early, late and repeated ones are harmless."""


#: What can happen at the same instant as other things.
SimultaneousPart = (
    TaskSubmitted
    | AttemptSucceeded
    | AttemptFailed
    | CancelRequested
    | AbortRequested
    | DrainRequested
    | ResizeRequested
)


class Simultaneous(_Record, frozen=True, tag="simultaneous"):
    """Several stimuli of one and the same instant; the core settles their order (see ``RANK``)."""

    stimuli: tuple[SimultaneousPart, ...]


Stimulus = SimultaneousPart | TimeElapsed | Simultaneous

# The order of things that happen at the same instant, by task and attempt within a rank; dispatch
# comes after all of them.
RANK_COMPLETION: Final = 0
RANK_TIMEOUT: Final = 1
RANK_STOP: Final = 2
RANK_BACKOFF: Final = 3
RANK_SUBMISSION: Final = 4
RANK_TIME: Final = 5

RANK: Final[dict[type, int]] = {
    AttemptSucceeded: RANK_COMPLETION,
    AttemptFailed: RANK_COMPLETION,
    CancelRequested: RANK_STOP,
    AbortRequested: RANK_STOP,
    DrainRequested: RANK_STOP,
    ResizeRequested: RANK_STOP,
    TaskSubmitted: RANK_SUBMISSION,
    TimeElapsed: RANK_TIME,
}


def order_of(part: SimultaneousPart) -> tuple[int, int, int]:
    """The written order of what happens at one instant: rank, task, attempt."""
    return RANK[type(part)], getattr(part, "task", 0), getattr(part, "attempt", 0)


# ---------------------------------------------------------------- instructions: what to do


class StartAttempt(_Record, frozen=True, tag="start_attempt", omit_defaults=True):
    """Run an attempt on a slot.

    Args:
        task: the task's number.
        attempt: the attempt's number, from 1.
        slot: the worker's slot, from 0; below the most workers that the pool has had.
        timeout_at_ns: when it will be abandoned if it still runs, or ``None``.
    """

    task: int
    attempt: int
    slot: int
    timeout_at_ns: int | None = None


class DelayTask(_Record, frozen=True, tag="delay_task"):
    """Keep a task for a retry.

    Args:
        task: the task's number.
        attempt: the attempt that has just ended.
        until_ns: when its backoff will have elapsed.
        reason: ``error`` or ``timeout``: what is being retried.
    """

    task: int
    attempt: int
    until_ns: int
    reason: Reason


class AbandonAttempt(_Record, frozen=True, tag="abandon_attempt"):
    """Set the cancellation token of a running attempt whose result no longer counts.

    Args:
        task: the task's number.
        attempt: the attempt's number.
        slot: the slot it held.
        freed: whether the slot goes to a replacement at once; where not, it stays taken until
            the attempt returns.
        outcome: what the attempt is counted as, ``timeout`` or ``cancelled``.
    """

    task: int
    attempt: int
    slot: int
    freed: bool
    outcome: Outcome


class FinishTask(_Record, frozen=True, tag="finish_task", omit_defaults=True):
    """Hand a task's end to whoever waits for it.

    Args:
        task: the task's number.
        outcome: how it ended.
        reason: why.
        attempts: attempts started.
        slot: the slot of the last attempt, -1 where none was started.
        submitted_at_ns: when it was submitted.
        started_at_ns: start of the first attempt, ``None`` where there was none.
        running_ns: time spent running, added over the attempts.
        queued_ns: time spent ready and waiting for a slot.
        delayed_ns: time spent in backoff.
    """

    task: int
    outcome: Outcome
    attempts: int
    reason: Reason = ""
    slot: int = -1
    submitted_at_ns: int = 0
    started_at_ns: int | None = None
    running_ns: int = 0
    queued_ns: int = 0
    delayed_ns: int = 0


class DropResult(_Record, frozen=True, tag="drop_result"):
    """Throw away what an abandoned attempt brought home; log it where it is an exception."""

    task: int
    attempt: int


class RetireSlot(_Record, frozen=True, tag="retire_slot"):
    """A free slot is in service no more: let one idle worker go.

    Args:
        slot: which; it may come back when the pool is given more workers.
    """

    slot: int


class StopWorkers(_Record, frozen=True, tag="stop_workers"):
    """No task is left and none will come: let the workers go. Abandoned attempts may still run;
    what they bring is dropped.
    """


Instruction = (
    StartAttempt | DelayTask | AbandonAttempt | FinishTask | DropResult | RetireSlot | StopWorkers
)


# ---------------------------------------------------------------- transitions: what changed


class Transition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One change of one task, as observers see it.

    Args:
        at_ns: when.
        task: the task's number.
        before: the state it left, ``None`` at its submission.
        after: the state it entered; the same as ``before`` where only a late result was dropped.
        cause: why, ``None`` at its submission.
        attempt: the attempt concerned, 0 where none was started yet.
        slot: the slot of that attempt, -1 where there is none.
        reason: the reason of an end or of a retry.
        until_ns: where a backoff begins, when it ends.
        detail: at a submission the task's stimulus, at a completion the attempt's.
        abandoned: whether the attempt was left running without its result counting.
        submitted_at_ns: of a marked task alone: when it was submitted.
        ready_at_ns: of a marked task alone: when it last became ready.
        started_at_ns: of a marked task alone: when its last attempt was started; no instant where
            it has had none or is in backoff.
    """

    at_ns: int
    task: int
    before: TaskState | None
    after: TaskState
    cause: Cause | None
    attempt: int = 0
    slot: int = -1
    reason: Reason = ""
    until_ns: int | None = None
    detail: TaskSubmitted | AttemptSucceeded | AttemptFailed | None = None
    abandoned: bool = False
    submitted_at_ns: int = 0
    ready_at_ns: int = 0
    started_at_ns: int = 0
