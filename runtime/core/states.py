"""The transition table: every task state, every cause, and what follows.

The rules, in words:

* A task is born ``READY``. A free slot takes it to ``RUNNING``; a slot carries one attempt.
* An attempt ends by its own success or failure, or because its time is up. A retryable failure
  and an attempt's timeout lead to ``DELAYED`` (backoff) while retries are left, and from there,
  when the backoff has elapsed, back to ``READY``. Whether a retry is left is decided before the
  table is asked: ``FAILED_RETRYABLE`` and ``FAILED_FINALLY`` are two causes.
* A deadline, a cancel and an abort end a task wherever it waits. A deadline and a cancel end it
  while it runs, too (its attempt is abandoned); an abort lets a running attempt finish.
* The four terminal states absorb whatever comes after them.

The table is data and the only place where 'what follows' is written; the core moves tasks through
it, the documentation's diagram is drawn from it (``diagram``), and a test walks every cell.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "ILLEGAL",
    "NEXT",
    "TABLE",
    "TERMINAL",
    "Cause",
    "Ignored",
    "Illegal",
    "TaskState",
    "diagram",
]


class TaskState(enum.IntEnum):
    """Where a task is. The first three are live, the last four terminal."""

    READY = 0
    RUNNING = 1
    DELAYED = 2
    SUCCEEDED = 3
    FAILED = 4
    TIMED_OUT = 5
    CANCELLED = 6


class Cause(enum.IntEnum):
    """Why a task moves: a stimulus from outside or one of the core's own timers and rules."""

    STARTED = 0
    SUCCEEDED = 1
    FAILED_RETRYABLE = 2
    FAILED_FINALLY = 3
    TIMED_OUT_RETRYABLE = 4
    TIMED_OUT_FINALLY = 5
    DEADLINE_PASSED = 6
    BACKOFF_ELAPSED = 7
    CANCEL_REQUESTED = 8
    ABORT_REQUESTED = 9
    LATE_COMPLETION = 10


class Ignored(str):
    """A cell in which nothing changes, with the reason."""

    __slots__ = ()


class Illegal(str):
    """A cell that a correct host and core can never reach, with the reason."""

    __slots__ = ()


_S = TaskState
_C = Cause
TERMINAL: Final = (_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.CANCELLED)

_not_running = Illegal("no attempt of this task is running")
_not_ready = Illegal("only a ready task starts")
_not_delayed = Illegal("no backoff of this task is pending")
_late = Ignored("the result of an abandoned attempt is dropped and counted")
_over = Ignored("the task has ended already")
_timers_die = Illegal("a task's timers die with it")

TABLE: Final[dict[TaskState, dict[Cause, TaskState | Ignored | Illegal]]] = {
    _S.READY: {
        _C.STARTED: _S.RUNNING,
        _C.SUCCEEDED: _not_running,
        _C.FAILED_RETRYABLE: _not_running,
        _C.FAILED_FINALLY: _not_running,
        _C.TIMED_OUT_RETRYABLE: _not_running,
        _C.TIMED_OUT_FINALLY: _not_running,
        _C.DEADLINE_PASSED: _S.TIMED_OUT,
        _C.BACKOFF_ELAPSED: _not_delayed,
        _C.CANCEL_REQUESTED: _S.CANCELLED,
        _C.ABORT_REQUESTED: _S.CANCELLED,
        _C.LATE_COMPLETION: _late,
    },
    _S.RUNNING: {
        _C.STARTED: _not_ready,
        _C.SUCCEEDED: _S.SUCCEEDED,
        _C.FAILED_RETRYABLE: _S.DELAYED,
        _C.FAILED_FINALLY: _S.FAILED,
        _C.TIMED_OUT_RETRYABLE: _S.DELAYED,
        _C.TIMED_OUT_FINALLY: _S.TIMED_OUT,
        _C.DEADLINE_PASSED: _S.TIMED_OUT,
        _C.BACKOFF_ELAPSED: _not_delayed,
        _C.CANCEL_REQUESTED: _S.CANCELLED,
        _C.ABORT_REQUESTED: Ignored("a running attempt finishes; it will not be retried"),
        _C.LATE_COMPLETION: _late,
    },
    _S.DELAYED: {
        _C.STARTED: _not_ready,
        _C.SUCCEEDED: _not_running,
        _C.FAILED_RETRYABLE: _not_running,
        _C.FAILED_FINALLY: _not_running,
        _C.TIMED_OUT_RETRYABLE: _not_running,
        _C.TIMED_OUT_FINALLY: _not_running,
        _C.DEADLINE_PASSED: _S.TIMED_OUT,
        _C.BACKOFF_ELAPSED: _S.READY,
        _C.CANCEL_REQUESTED: _S.CANCELLED,
        _C.ABORT_REQUESTED: _S.CANCELLED,
        _C.LATE_COMPLETION: _late,
    },
    **{
        state: {
            _C.STARTED: _not_ready,
            _C.SUCCEEDED: _not_running,
            _C.FAILED_RETRYABLE: _not_running,
            _C.FAILED_FINALLY: _not_running,
            _C.TIMED_OUT_RETRYABLE: _timers_die,
            _C.TIMED_OUT_FINALLY: _timers_die,
            _C.DEADLINE_PASSED: _timers_die,
            _C.BACKOFF_ELAPSED: _timers_die,
            _C.CANCEL_REQUESTED: _over,
            _C.ABORT_REQUESTED: _over,
            _C.LATE_COMPLETION: _late,
        }
        for state in TERMINAL
    },
}

ILLEGAL: Final = -1
#: The table for the hot path: ``NEXT[state][cause]`` is the next state, the state itself where the
#: cell is ignored, ``ILLEGAL`` where it cannot be reached.
NEXT: Final[tuple[tuple[int, ...], ...]] = tuple(
    tuple(
        ILLEGAL if isinstance(cell, Illegal) else int(state if isinstance(cell, Ignored) else cell)
        for cell in (TABLE[state][cause] for cause in Cause)
    )
    for state in TaskState
)


def diagram() -> str:
    """Draw the table as a Mermaid state diagram.

    Returns:
        The source of a ``stateDiagram-v2``; the documentation holds exactly this text.

    Example:
        >>> print(diagram().splitlines()[0])
        stateDiagram-v2
    """
    lines = ["stateDiagram-v2", "    [*] --> READY: SUBMITTED"]
    for state, row in TABLE.items():
        for cause, cell in row.items():
            if isinstance(cell, TaskState):
                lines.append(f"    {state.name} --> {cell.name}: {cause.name}")
    lines.extend(f"    {state.name} --> [*]" for state in TERMINAL)
    return "\n".join(lines) + "\n"
