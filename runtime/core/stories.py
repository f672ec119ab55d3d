"""Transitions in words: the one teller of what happens to a task.

Each transition is one sentence, and every message, test and command that tells of a task uses
these. A *story* is one task's sentences in order, such as: submitted; started; failed with
ConnectionError; ready again; retried after 2 s; succeeded.

A backoff is told with the retry that it led to, as it was decided (``until_ns`` of the transition
that began it), so a story is the same on every clock; the wait for a free slot is not in it. What
may or may not be there on a real clock, or says nothing new, is an *aside*: the submission, the
end of a backoff before the retry starts, and a late result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, assert_never

from runtime.core.records import AttemptFailed, Reason, Transition
from runtime.core.states import Cause, TaskState
from runtime.core.task import Task

__all__ = ["Sentence", "ended", "in_seconds", "outline", "started", "tell"]

_SECOND: Final = 1_000_000_000


class Sentence(NamedTuple):
    """What one transition says.

    Args:
        at_ns: when, in nanoseconds on the pool's clock.
        task: the task's number.
        attempt: the attempt concerned, 0 where none was started yet.
        text: the words.
        aside: whether a story can do without it.
    """

    at_ns: int
    task: int
    attempt: int
    text: str
    aside: bool

    def line(self) -> str:
        """The sentence with its instant, for a list of them.

        Example:
            >>> Sentence(2_500_000_000, 1, 1, "started", False).line()
            '       2.5 s  started'
        """
        return f"{in_seconds(self.at_ns):>12}  {self.text}"


def tell(transitions: Iterable[Transition]) -> Iterator[Sentence]:
    """Put transitions into words.

    Args:
        transitions: of one task or of many, in order.

    Returns:
        A sentence for each.

    Example:
        >>> from runtime.core.states import TaskState as S
        >>> story = [
        ...     Transition(0, 1, None, S.READY, None),
        ...     Transition(0, 1, S.READY, S.RUNNING, Cause.STARTED, 1),
        ...     Transition(5, 1, S.RUNNING, S.CANCELLED, Cause.CANCEL_REQUESTED, 1),
        ... ]
        >>> [sentence.text for sentence in tell(story)]
        ['submitted', 'started', 'cancelled']
    """
    delays: dict[int, int] = {}  # of each task that is retried, its last backoff
    for t in transitions:
        if t.after == TaskState.DELAYED and t.until_ns is not None:
            delays[t.task] = t.until_ns - t.at_ns
        text, aside = _words(t, delays.get(t.task))
        yield Sentence(t.at_ns, t.task, t.attempt, text, aside)


def _words(t: Transition, delay_ns: int | None) -> tuple[str, bool]:
    cause = t.cause
    match cause:
        case None:
            return "submitted", True
        case Cause.STARTED:
            return started(t.attempt, delay_ns), False
        case Cause.BACKOFF_ELAPSED:
            return "ready again", True
        case Cause.LATE_COMPLETION:
            return f"late result of attempt {t.attempt} dropped", True
        case _:
            error = t.detail.error if isinstance(t.detail, AttemptFailed) else ""
            last = t.after != TaskState.DELAYED
            return ended(cause, error, t.reason if last else ""), False


def started(attempt: int, delay_ns: int | None = None) -> str:
    """How the start of an attempt is told.

    Args:
        attempt: its number, from 1.
        delay_ns: the backoff before it, in nanoseconds; ``None`` where it is not known.

    Returns:
        The words.

    Example:
        >>> started(1), started(2, 2_000_000_000), started(2, 0)
        ('started', 'retried after 2 s', 'retried at once')
    """
    if attempt <= 1:
        return "started"
    if delay_ns is None:
        return "retried"
    return f"retried after {in_seconds(delay_ns)}" if delay_ns else "retried at once"


def ended(cause: Cause, error: str = "", reason: Reason = "") -> str:
    """How the end of an attempt or of a task is told.

    Args:
        cause: why it ended.
        error: the exception's type, as ``AttemptFailed`` has it.
        reason: why no retry follows, where none does.

    Returns:
        The words.

    Example:
        >>> ended(Cause.FAILED_FINALLY, "shop.errors.Busy", "retries exhausted")
        'failed with Busy: retries exhausted'
    """
    match cause:
        case Cause.SUCCEEDED:
            return "succeeded"
        case Cause.FAILED_RETRYABLE | Cause.FAILED_FINALLY:
            kind = error.rpartition(".")[2]
            text = f"failed with {kind}" if kind else "failed"
            return f"{text}: {reason}" if reason not in {"", "error"} else text
        case Cause.TIMED_OUT_RETRYABLE | Cause.TIMED_OUT_FINALLY:
            return f"timed out: {reason}" if reason not in {"", "timeout"} else "timed out"
        case Cause.DEADLINE_PASSED:
            return "deadline passed"
        case Cause.CANCEL_REQUESTED:
            return "cancelled"
        case Cause.ABORT_REQUESTED:
            return f"refused: {reason}" if reason == "submitted while draining" else "aborted"
        case Cause.STARTED:
            return "started"
        case Cause.BACKOFF_ELAPSED:
            return "ready again"
        case Cause.LATE_COMPLETION:
            return "late result dropped"
        case _:
            assert_never(cause)


def in_seconds(duration_ns: int) -> str:
    """Nanoseconds as exact seconds, for people.

    Args:
        duration_ns: how many, 0 or more.

    Returns:
        The seconds, without zeros at their end.

    Example:
        >>> in_seconds(600_000_000_000), in_seconds(1_500_000_000)
        ('600 s', '1.5 s')
    """
    whole, part = divmod(duration_ns, _SECOND)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".") + " s" if part else f"{whole} s"


def outline(
    number: int, state: TaskState, task: Task | None, abandoned: Mapping[tuple[int, int], int]
) -> list[str]:
    """What a core still knows of a task, which is no whole story: the past is in a journal.

    Args:
        number: the task's number.
        state: the state it is in.
        task: what is remembered of it, where it has not ended.
        abandoned: the core's abandoned attempts with the slots that they hold, -1 for none.
    """
    lines = [f"task {number} is {state.name}"]
    if task is not None:
        lines.append(f"named {task.spec.name!r}")
        if task.attempt:
            at, delay = task.attempt_at_ns, task.backoff_ns
            words = started(task.attempt, None if state is TaskState.DELAYED else delay)
            lines.append(
                f"{in_seconds(at)}: {words}, as attempt {task.attempt} on slot {task.slot}"
            )
        if state is TaskState.DELAYED:
            lines.append(f"{in_seconds(task.due_at_ns)}: its backoff will have elapsed")
        elif state is TaskState.READY:
            lines.append(f"{in_seconds(task.ready_at_ns)}: ready")
    lines.extend(
        f"attempt {attempt} is abandoned" + (f" and holds slot {slot}" if slot >= 0 else "")
        for (owner, attempt), slot in abandoned.items()
        if owner == number
    )
    return lines
