"""What cannot be true: stimuli that a core refuses before anything has changed.

Most stimuli are looked at where they are taken, which raises before it changes anything. But when
timers are due they fire first, and several stimuli of one instant are taken one after the other; so
those are looked at here, as a whole, before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from runtime.core import records as r
from runtime.core.errors import InvalidTransition, UnknownTask

if TYPE_CHECKING:
    from runtime.core.scheduler import Core

__all__ = ["NO_WORKERS", "check_legal"]

NO_WORKERS: Final = "a pool has at least 1 worker"


def check_legal(core: Core, stimulus: r.Stimulus) -> None:
    """Raise now what would raise later, when part of it has been taken.

    Args:
        core: who is to take it. It is not changed.
        stimulus: what is said to have happened.

    Raises:
        UnknownTask: a cancel names a task that was never submitted.
        InvalidTransition: it cannot be true.
    """
    parts = stimulus.stimuli if type(stimulus) is r.Simultaneous else (stimulus,)
    seen: set[tuple[int, int]] = set()
    submitted = {part.task for part in parts if isinstance(part, r.TaskSubmitted)}
    for part in parts:
        match part:
            case r.TaskSubmitted():
                key = (part.task, 0)
                if part.task < 1 or key in seen or core.state(part.task) is not None:
                    raise InvalidTransition(stimulus, "its number is taken", core.story(part.task))
                seen.add(key)
            case r.AttemptSucceeded() | r.AttemptFailed():
                key = (part.task, part.attempt)
                if key in seen or not core.still_runs(*key):
                    raise InvalidTransition(
                        stimulus, "no such attempt is running", core.story(part.task)
                    )
                seen.add(key)
            case r.CancelRequested():
                if core.state(part.task) is None:
                    raise UnknownTask(
                        stimulus,
                        "it is submitted only after this cancel"
                        if part.task in submitted
                        else "no task has this number",
                        core.story(part.task),
                    )
            case r.ResizeRequested():
                if part.max_workers < 1:
                    raise InvalidTransition(stimulus, NO_WORKERS, [])
            case r.AbortRequested() | r.DrainRequested() | r.TimeElapsed():
                pass
            case r.Simultaneous():
                raise InvalidTransition(stimulus, "it nests another Simultaneous", [])
            case _:
                assert_never(part)
