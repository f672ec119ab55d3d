"""An incident: a few tasks, what their attempts did, who stopped them; and the plot of one of them.

An incident runs on a ``SimulatedWorkerPool``, by the very calls that the test
written from it makes.

The *plot* of a task is what shrinking keeps: for each attempt whether it waited for a worker, how
it ended and why. Attempts in a row that went alike count as one, so that a task that failed seven
times may become one that fails twice. It waited if its wait took a tenth or more of the task's
whole life. Late results of abandoned attempts are no part of it: they change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.core import CoreSettings
from runtime.core.records import UNSET, Transition, UnsetType
from runtime.core.states import Cause, TaskState
from runtime.core.stories import tell
from simulation.models import Fails, Modelled
from simulation.pool import SimulatedWorkerPool
from simulation.world.errors import NothingLeftError

__all__ = ["Attempt", "Incident", "Plot", "Stop", "Submission", "config_of", "perform", "plot_of"]

#: For each attempt the steps that it took.
Plot = tuple[tuple[str, ...], ...]

_A_TENTH: Final = 10


class Attempt(msgspec.Struct, frozen=True):
    """What one attempt did.

    Args:
        took_ns: how long it ran.
        fails: how it failed, ``None`` where it succeeded.
    """

    took_ns: int
    fails: Fails | None = None


class Submission(msgspec.Struct, frozen=True):
    """One task.

    Args:
        name: its name.
        at_ns: when it came.
        attempts: what they did; the last repeats.
        order: its place among what came at the same instant.
        priority: lower starts first.
        group: its group.
        timeout_ns: as in ``TaskSubmitted``.
        max_retries: as in ``TaskSubmitted``.
        deadline_after_ns: how long after it came it must have ended.
    """

    name: str
    at_ns: int
    attempts: tuple[Attempt, ...]
    order: int
    priority: int = 0
    group: str = "default"
    timeout_ns: int | UnsetType | None = UNSET
    max_retries: int | UnsetType = UNSET
    deadline_after_ns: int | None = None

    def model(self) -> Modelled:
        """The task to submit."""
        fails = [attempt.fails for attempt in self.attempts]
        return Modelled(
            _one_or_all([attempt.took_ns / 1e9 for attempt in self.attempts]),
            fails[0] if len(set(fails)) == 1 else fails,
        )


class Stop(msgspec.Struct, frozen=True):
    """Somebody cancels one task, aborts everything, or gives the pool other workers.

    Args:
        at_ns: when.
        order: its place among what came at the same instant.
        task: the number of the cancelled one, ``None`` where it is no cancel.
        workers: how many workers there are to be, ``None`` where it is no resize.
    """

    at_ns: int
    order: int
    task: int | None = None
    workers: int | None = None


class Incident(msgspec.Struct, frozen=True):
    """What happened, as far as it is kept.

    Args:
        settings: what the core is set up with.
        tasks: by number.
        stops: in order.
        target: the number of the task whose plot is told.
        seed: of the pool on which it happens again.
    """

    settings: CoreSettings
    tasks: dict[int, Submission]
    stops: tuple[Stop, ...]
    target: int
    seed: int = 0

    def calls(self) -> Iterator[tuple[int, int | Stop]]:
        """What is called, in order: how long after the call before, and the task or the stop."""
        timeline: list[tuple[int, int, int | Stop]] = [
            *((task.at_ns, task.order, number) for number, task in self.tasks.items()),
            *((s.at_ns, s.order, s) for s in self.stops if s.task in {None, *self.tasks}),
        ]
        before = 0
        for at_ns, _, what in sorted(timeline, key=lambda entry: entry[:2]):
            yield at_ns - before, what
            before = at_ns


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else values


def config_of(settings: CoreSettings) -> WorkerPoolConfig:
    """The public form of a core's settings.

    Args:
        settings: those of a core.

    Returns:
        The configuration that gives them.
    """
    timeout, ageing = settings.timeout_ns, settings.ageing_ns
    return WorkerPoolConfig(
        max_workers=settings.max_workers,
        task_timeout_seconds=None if timeout is None else timeout / 1e9,
        max_retries=settings.max_retries,
        backoff_base_seconds=settings.backoff_base_ns / 1e9,
        backoff_max_seconds=settings.backoff_max_ns / 1e9,
        jitter=settings.jitter,
        ageing_seconds=None if ageing is None else ageing / 1e9,
        max_abandoned_threads=settings.max_abandoned,
        seed=settings.seed,
        enable_instrumentation=False,
    )


def perform(incident: Incident) -> list[Transition]:
    """Let it happen again.

    Args:
        incident: what happened.

    Returns:
        The transitions of its target until it has ended, as far as it did; none where a task is
        cancelled that is not there yet.
    """
    with SimulatedWorkerPool(config_of(incident.settings), incident.seed) as pool:
        ids: dict[int, str] = {}
        for after_ns, what in incident.calls():
            if after_ns:
                pool.advance(after_ns / 1e9)
            if isinstance(what, Stop):
                if what.workers is not None:
                    pool.resize(what.workers)
                elif what.task is None:
                    pool.abort_pending_tasks()
                elif what.task in ids:
                    pool.cancel(ids[what.task])
                else:
                    return []
                continue
            task = incident.tasks[what]
            timeout, deadline = task.timeout_ns, task.deadline_after_ns
            ids[what] = pool.submit_task(
                task.name,
                task.model(),
                priority=task.priority,
                group=task.group,
                timeout=timeout / 1e9 if isinstance(timeout, int) else timeout,
                max_retries=task.max_retries,
                deadline=None if deadline is None else pool.now + deadline / 1e9,
            )
        try:
            pool.get_task_result(ids[incident.target])
        except NothingLeftError:
            pool.abort_pending_tasks()
        number = list(ids).index(incident.target) + 1
        told = [t for t in pool.transitions if t.task == number]
        for task_id in ids.values():
            pool.cancel(task_id)
    return told


def plot_of(transitions: Iterable[Transition]) -> Plot:
    """What shrinking keeps of a task's story.

    Args:
        transitions: the task's, in order.

    Returns:
        The plot.
    """
    story = [t for t in transitions if t.cause != Cause.LATE_COMPLETION]
    life_ns = story[-1].at_ns - story[0].at_ns
    attempts: list[list[str]] = [[]]
    ready_at_ns = story[0].at_ns
    for t in story:
        if t.before == TaskState.READY and (t.at_ns - ready_at_ns) * _A_TENTH > life_ns:
            attempts[-1].append("waited for a worker")
        if t.cause == Cause.BACKOFF_ELAPSED:
            ready_at_ns = t.at_ns
            attempts.append([])
        elif t.cause == Cause.STARTED:
            attempts[-1].append("started")  # however long the backoff was
        elif t.cause is not None:
            attempts[-1] += [sentence.text for sentence in tell([t])]
    plot: list[tuple[str, ...]] = []
    for attempt in map(tuple, attempts):
        if not plot or attempt != plot[-1]:
            plot.append(attempt)
    return tuple(plot)


#: Whether an incident still shows what is to be kept.
Shows = Callable[[Incident], bool]
