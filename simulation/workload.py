"""What a simulated run is given: when which task comes, and what each of its attempts does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runtime.config import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    check_group,
    check_int,
    check_seconds,
    plain_text,
    seconds_to_ns,
)
from runtime.core.keyed import BLOCK, Purpose, block
from runtime.core.records import Instruction, TaskSubmitted
from simulation.clock import Arrival
from simulation.distributions import Distribution, Exponential
from simulation.machine.machine import Machine
from simulation.models import Behaviour, Fails, Modelled

__all__ = ["Batch", "Modelled", "Reactive", "Sampler", "SyntheticWorkload", "Workload"]

#: What an attempt does, by the task's and the attempt's number.
Sampler = Callable[[int, int], Behaviour]


class Workload(Protocol):
    """What a simulated run is given. The same seed gives the same.

    Attributes:
        machine: what attempts meet while they run; ``None`` where each is alone.
    """

    machine: Machine | None

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        """What comes from outside, in the order of time."""

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: a function of the task's and the attempt's number."""

    @property
    def random(self) -> bool:
        """Whether another seed gives another run."""


@runtime_checkable
class Reactive(Workload, Protocol):
    """A workload that answers to the run: what comes next depends on what has become of the rest.

    It is told of each instruction before that is carried out, so a sampler knows the instant.
    """

    def react(self, now_ns: int, instruction: Instruction) -> Iterable[Arrival]:
        """Take note of an instruction.

        Args:
            now_ns: the present.
            instruction: what the core wants done.

        Returns:
            What comes from outside because of it, now or later.
        """


@dataclass(frozen=True)
class Batch:
    """Tasks of one kind.

    Args:
        tasks: how many.
        model: what their attempts do.
        name: what their names begin with; a number follows.
        rate_per_second: how many come a second, at random (a Poisson process); ``None`` for all
            at once.
        start_seconds: when the first may come.
        priority: as for ``submit_task``.
        group: as for ``submit_task``.
    """

    tasks: int
    model: Modelled
    name: str = "task"
    rate_per_second: float | None = None
    start_seconds: float = 0.0
    priority: int = 0
    group: str = "default"

    def __post_init__(self) -> None:
        check_int("tasks", self.tasks, 1, 100_000_000)
        plain_text("name", self.name)
        check_int("priority", self.priority, LOWEST_PRIORITY, HIGHEST_PRIORITY)
        check_group(self.group)
        check_seconds("start_seconds", self.start_seconds)
        rate = self.rate_per_second
        if rate is not None and not 1e-9 <= rate <= 1e9:
            raise ValueError(f"rate_per_second={rate!r}: must be 1e-9 to 1e9")


class SyntheticWorkload:
    """Batches of modelled tasks, numbered in the order of the batches.

    Args:
        batches: the batches.
        machine: what attempts meet while they run; ``None`` where each is alone.

    Example:
        >>> workload = SyntheticWorkload([Batch(3, Modelled(duration=2.0))])
        >>> [(at_ns, spec.name) for at_ns, spec in workload.arrivals(seed=0)]
        [(0, 'task-1'), (0, 'task-2'), (0, 'task-3')]
    """

    def __init__(self, batches: Iterable[Batch], machine: Machine | None = None) -> None:
        self.machine = machine
        self._batches = list(batches)
        self._ends: list[int] = []
        end = 0
        for batch in self._batches:
            end += batch.tasks
            self._ends.append(end)

    @classmethod
    def poisson(
        cls,
        tasks: int,
        rate_per_second: float,
        duration: Distribution,
        outcome: Fails | None = None,
    ) -> SyntheticWorkload:
        """One batch of tasks that come at random.

        Args:
            tasks: how many.
            rate_per_second: how many come a second.
            duration: how long an attempt takes.
            outcome: how attempts fail, ``None`` for never.

        Returns:
            The workload.
        """
        return cls([Batch(tasks, Modelled(duration, outcome), rate_per_second=rate_per_second)])

    @property
    def random(self) -> bool:
        """Whether another seed gives another run."""
        return True

    @property
    def tasks(self) -> int:
        """How many tasks come in all."""
        return self._ends[-1] if self._ends else 0

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        """What comes from outside, in the order of time."""
        if len(self._batches) == 1:
            return self._arrivals_of(self._batches[0], 0, seed)
        streams = [
            arrival
            for batch, end in zip(self._batches, self._ends, strict=True)
            for arrival in self._arrivals_of(batch, end - batch.tasks, seed)
        ]
        return iter(sorted(streams, key=lambda arrival: arrival[0]))

    @staticmethod
    def _arrivals_of(batch: Batch, first: int, seed: int) -> Iterator[Arrival]:
        at_ns = seconds_to_ns(batch.start_seconds)
        rate, name, priority, group = (
            batch.rate_per_second,
            batch.name,
            batch.priority,
            batch.group,
        )
        gap = None if rate is None else Exponential(1 / rate)
        gaps: list[int] = []
        for number in range(first + 1, first + batch.tasks + 1):
            if gap is not None:
                if not gaps or not number % BLOCK:
                    draws = block(seed, 0, Purpose.ARRIVAL, number // BLOCK)
                    gaps = [round(seconds * 1e9) for seconds in gap.all_at(draws)]
                at_ns += gaps[number % BLOCK]
            yield at_ns, TaskSubmitted(number, f"{name}-{number - first}", priority, group)

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: a function of the task's and the attempt's number."""
        samplers = [batch.model.sampler(seed) for batch in self._batches]
        if len(samplers) == 1:
            return samplers[0]
        ends = self._ends

        def sample(task: int, attempt: int) -> Behaviour:
            return samplers[bisect_left(ends, task)](task, attempt)

        return sample
