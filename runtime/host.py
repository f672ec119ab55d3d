"""What a pool needs of the clock and the workers under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

from runtime.core.records import Instruction, Stimulus
from runtime.engine import Engine, Job, Watch
from runtime.observers import InContext, Relay

__all__ = ["Host"]

_T = TypeVar("_T")


class Host(Protocol):
    """Carries out the core's instructions and delivers stimuli to it.

    Attributes:
        engine: the core with its jobs.
        refusal: why nothing more is taken, ``None`` while it is; raised by the pool.
    """

    engine: Engine
    refusal: Exception | None

    @property
    def clock(self) -> Literal["wall", "virtual"]:
        """Which kind of clock it has."""

    @property
    def epoch_ns(self) -> int:
        """The epoch nanoseconds at which ``now_ns`` was 0."""

    def observe(self, relay: Relay, *, measure_cpu: bool, in_context: InContext | None) -> None:
        """Serve observers: measure each attempt's CPU time, and call those who have to be in the
        attempt's context, where they need it.
        """

    def now_ns(self) -> int:
        """Nanoseconds since the pool was made."""

    def epoch_seconds(self, at_ns: int) -> float:
        """An instant of ``now_ns`` as epoch seconds."""

    def deliver(self, stimulus: Stimulus, payload: Any) -> None:
        """Hand in a stimulus; it may be decided a little later, by another thread."""

    def decide(self, stimulus: Stimulus) -> list[Instruction]:
        """Hand in a stimulus and have it decided before this returns; what the core raises
        comes out here.
        """

    def decide_if(self, condition: Callable[[], bool], stimulus: Stimulus) -> bool:
        """Hand in a stimulus where a condition holds, with no decision between the two.

        Args:
            condition: looks at the engine.
            stimulus: what is then decided on.

        Returns:
            Whether the condition held.
        """

    def held(self, look: Callable[[], _T]) -> _T:
        """Have everything decided that was handed in, then call something while no decision is
        made: for looking at several things at one instant.

        Args:
            look: what is called.

        Returns:
            What it returned.
        """

    def wait(self, watch: Watch, timeout_ns: int | None) -> bool:
        """Block until the watch is done; ``False`` where the time was up before."""

    def sleep(self, job: Job, attempt: int, duration_ns: int) -> None:
        """Let the calling attempt sleep, at most until its token is set."""

    def close(self, timeout_ns: int | None) -> list[str]:
        """Let the workers go, once the core has said ``StopWorkers``, and finish what observers
        are owed; the names of workers that were still running a function when the time was up.
        """
