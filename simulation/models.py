"""Modelled tasks: how long an attempt takes and how it ends, without running anything.

What an attempt does depends on (seed, task, attempt) alone: duration and outcome are drawn by key,
or taken from a list by attempt number. So two variants of one run share their luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from runtime.config import LONGEST_SECONDS, check_seconds, plain_text, seconds_to_ns
from runtime.core.keyed import BLOCK, Purpose, block, uniform
from runtime.core.records import AttemptFailed, AttemptSucceeded
from simulation.distributions import Constant, Distribution, all_at, check_constant

__all__ = ["Behaviour", "Fails", "Modelled", "ended"]

#: Draws of a block that are made one by one before the rest of it is made at once.
_ONE_BY_ONE: Final = 4


@dataclass(frozen=True, slots=True)
class Fails:
    """An attempt that raises, always or sometimes.

    Args:
        probability: how often, 0 to 1.
        error: the exception's type as a journal has it.
        retryable: what ``retry_on`` would say of it.
        retry_after_seconds: a floor for the backoff that it carries.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: a probability outside 0 to 1, or seconds out of range.
    """

    probability: float = 1.0
    error: str = "RuntimeError"
    retryable: bool = True
    retry_after_seconds: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.probability, bool) or not isinstance(self.probability, int | float):
            raise TypeError(f"probability={self.probability!r}: must be a number, 0 to 1")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability={self.probability!r}: must be 0 to 1")
        plain_text("error", self.error)
        if not isinstance(self.retryable, bool):
            raise TypeError(f"retryable={self.retryable!r}: must be true or false")
        if self.retry_after_seconds is not None:
            check_seconds("retry_after_seconds", self.retry_after_seconds)


class Behaviour(msgspec.Struct, frozen=True, gc=False):
    """What one attempt does.

    Args:
        duration_ns: how long it runs; ``None`` for ever.
        failure: how it fails, ``None`` where it succeeds.
        heeds_after_ns: how long after it was abandoned it comes home, because it heeds its token;
            ``None`` for one that does not heed it.
        cpu_ns: how much of its duration it computes; the rest it waits. It matters only where a
            run has a machine, whose CPU attempts share; then the duration is what the attempt
            takes alone.
    """

    duration_ns: int | None
    failure: Fails | None = None
    heeds_after_ns: int | None = None
    cpu_ns: int = 0


@dataclass(frozen=True, slots=True)
class Modelled:
    """A task that is modelled, to be submitted to a ``SimulatedWorkerPool`` in a function's place.

    Args:
        duration: of an attempt: seconds, a distribution, or a list of those by attempt number, of
            which the last repeats. ``math.inf`` never ends.
        outcome: ``None`` always succeeds; ``Fails`` fails, always or sometimes; or a list of those
            by attempt number, of which the last repeats.
        value: what a success returns.
        cpu_share: how much of its duration an attempt computes, 0 to 1; the rest it waits. It
            matters in scenarios only, where attempts share a CPU (``docs/contention.md``).

    Example:
        >>> from simulation import SimulatedWorkerPool
        >>> pool = SimulatedWorkerPool()
        >>> twice = Modelled(duration=[5, 1], outcome=[Fails(), None], value="done")
        >>> pool.get_task_result(pool.submit_task("flaky", twice)).result, pool.now
        ('done', 7.0)
    """

    duration: float | Distribution | Sequence[float | Distribution]
    outcome: Fails | Sequence[Fails | None] | None = None
    value: Any = None
    cpu_share: float = 0.0

    def __post_init__(self) -> None:
        share = self.cpu_share
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise TypeError(f"cpu_share={share!r}: must be a number, 0 to 1")
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"cpu_share={share!r}: must be 0 to 1")
        durations = _by_attempt(self.duration)
        if not durations:
            raise ValueError("duration=[]: at least one is needed")
        for duration in durations:
            if isinstance(duration, bool) or not (
                isinstance(duration, int | float) or hasattr(duration, "at")
            ):
                raise TypeError(f"duration={duration!r}: must be seconds or a distribution")
            if isinstance(duration, int | float):
                check_constant(duration)
        outcomes = _by_attempt(self.outcome)
        if not outcomes:
            raise ValueError("outcome=[]: at least one is needed")
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, Fails):
                raise TypeError(f"outcome={outcome!r}: must be None or Fails(...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Only a virtual clock can run a model."""
        raise TypeError(
            "a Modelled task runs on a SimulatedWorkerPool only; give a WorkerPool a function"
        )

    def sampler(self, seed: int) -> Callable[[int, int], Behaviour]:
        """What attempts do.

        Args:
            seed: the run's seed.

        Returns:
            A function of the task's number and the attempt's number, from 1; it gives the same
            for the same arguments.
        """
        if self.outcome is None and not self.cpu_share and isinstance(self.duration, int | float):
            always = _succeeds(self.duration)
            return lambda task, attempt: always
        distributions = [
            Constant(d) if isinstance(d, int | float) else d for d in _by_attempt(self.duration)
        ]
        outcomes = _by_attempt(self.outcome)
        share = self.cpu_share
        if outcomes == [None] and len(distributions) == 1 and not share:
            return _always_succeeds(distributions[0], seed)
        durations = [distribution.at for distribution in distributions]

        def sample(task: int, attempt: int) -> Behaviour:
            at = durations[min(attempt, len(durations)) - 1]
            seconds = at(uniform(seed, task, attempt, Purpose.DURATION))
            outcome = outcomes[min(attempt, len(outcomes)) - 1]
            if (
                outcome is not None
                and outcome.probability < 1.0
                and uniform(seed, task, attempt, Purpose.OUTCOME) >= outcome.probability
            ):
                outcome = None
            took = _duration_ns(seconds)
            return Behaviour(took, outcome, None, int((took or 0) * share) if share else 0)

        return sample


def _always_succeeds(distribution: Distribution, seed: int) -> Callable[[int, int], Behaviour]:
    """A sampler that makes a block of behaviours at once where more than a few of it are asked for.

    A task with a model of its own asks for one, a workload for all of them; and a block costs a
    quarter of what its behaviours cost one by one.
    """
    index, asked = -1, 0
    behaviours: list[Behaviour] = []

    def sample(task: int, attempt: int) -> Behaviour:
        nonlocal index, asked, behaviours
        if attempt != 1:
            return _succeeds(distribution.at(uniform(seed, task, attempt, Purpose.DURATION)))
        if task // BLOCK != index:  # where the last block was worth making, so is this one
            index, asked, behaviours = task // BLOCK, _ONE_BY_ONE if behaviours else 0, []
        if not behaviours:
            draws = block(seed, 1, Purpose.DURATION, index)
            asked += 1
            if asked <= _ONE_BY_ONE:
                return _succeeds(distribution.at(draws[task % BLOCK]))
            behaviours = [_succeeds(seconds) for seconds in all_at(distribution, draws)]
        return behaviours[task % BLOCK]

    return sample


def _succeeds(seconds: float) -> Behaviour:
    return Behaviour(_duration_ns(seconds))


def _duration_ns(seconds: float) -> int | None:
    """What was drawn, cut off at 31 years."""
    return None if seconds == math.inf else round(min(seconds, LONGEST_SECONDS) * 1e9)


def _by_attempt(given: Any) -> list[Any]:
    if given is None or isinstance(given, int | float):  # most; to ask whether it is a list is slow
        return [given]
    return list(given) if isinstance(given, Sequence) else [given]


def ended(
    task: int, attempt: int, began_ns: int, now_ns: int, behaviour: Behaviour
) -> AttemptSucceeded | AttemptFailed:
    """The stimulus of a modelled attempt's end.

    Args:
        task: the task's number.
        attempt: the attempt's number.
        began_ns: when it began.
        now_ns: when it ended.
        behaviour: what it did.

    Returns:
        What the core is told.
    """
    failure = behaviour.failure
    if failure is None:
        return AttemptSucceeded(task, attempt, began_ns, began_ns, now_ns)
    after = failure.retry_after_seconds
    return AttemptFailed(
        task,
        attempt,
        began_ns,
        began_ns,
        now_ns,
        failure.error,
        failure.retryable,
        None if after is None else seconds_to_ns(after),
    )
