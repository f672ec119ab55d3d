"""What the core raises. Nothing of the core has changed when one of these comes out of it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["InvalidTransition", "TimeWentBack", "UnknownTask"]


class InvalidTransition(RuntimeError):
    """A stimulus that cannot be true, with the story of the task that it names.

    Args:
        stimulus: what was handed in.
        why: what is wrong with it.
        story: what the core knows of the task, a line each.
    """

    def __init__(self, stimulus: object, why: str, story: Sequence[str]) -> None:
        self.stimulus = stimulus
        self.story = list(story)
        told = "".join(f"\n  {line}" for line in story)
        super().__init__(f"{stimulus!r}: {why}{told}")


class UnknownTask(InvalidTransition, KeyError):
    """A cancel that names a task that was never submitted."""

    __str__ = InvalidTransition.__str__


class TimeWentBack(ValueError):
    """A call with an instant before the last one's.

    Args:
        now_ns: the instant given.
        last_ns: the instant of the call before.
    """

    def __init__(self, now_ns: int, last_ns: int) -> None:
        super().__init__(f"now_ns={now_ns} lies before the last call's {last_ns}")
