"""Runs on real threads, recorded, for a prediction to be held against."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from runtime.journal import read_journal
from simulation.outcome import measure
from simulation.recording.read import read_recording

__all__ = ["Job", "Machine", "computing", "make_run", "waits"]


@dataclass(frozen=True)
class Job:
    """What a task does, the same in every run of it.

    Args:
        waits: how long its attempts wait, in seconds; the last repeats.
        fails: whether each attempt fails; the last repeats.
        computes: how often the loop of pure Python goes round in each attempt.
    """

    waits: tuple[float, ...]
    fails: tuple[bool, ...] = (False,)
    computes: int = 0

    def __call__(self) -> None:
        attempt = current_attempt()
        number = attempt.number - 1
        _compute(self.computes // 2)
        attempt.sleep(self.waits[min(number, len(self.waits) - 1)])
        _compute(self.computes - self.computes // 2)
        if self.fails[min(number, len(self.fails) - 1)]:
            raise ConnectionError("drawn so")


def _compute(rounds: int) -> None:
    value = 0
    for number in range(rounds):
        value = (value * 31 + number) & 0xFFFF


def computing(seconds: float) -> int:
    """How many rounds of the loop take so much CPU time here; the least of a few tries counts.

    Args:
        seconds: of CPU time.
    """
    rounds = 200_000
    least = float("inf")
    for _ in range(7):
        began = time.thread_time()
        _compute(rounds)
        least = min(least, time.thread_time() - began)
    return round(rounds * seconds / least)


def waits(draw: Random, mean: float, shape: str) -> float:
    """How long to wait.

    Args:
        draw: where from.
        mean: in seconds.
        shape: ``even``, from a fifth of the mean to nine fifths, or ``skewed``, lognormal.
    """
    if shape == "even":
        return draw.uniform(0.2 * mean, 1.8 * mean)
    sigma = 0.6
    return mean * draw.lognormvariate(-sigma * sigma / 2, sigma)


class Machine:
    """Whether the measured threads go before all others, so that a busy machine disturbs less.

    Args:
        realtime: whether to ask the system for it.

    Attributes:
        realtime: whether it was granted.
    """

    def __init__(self, *, realtime: bool) -> None:
        self.realtime = realtime
        if realtime:
            with self.first():
                pass
        if realtime and not self.realtime:
            print("no real-time priority here: not permitted", file=sys.stderr)

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Within this block this thread and those that it starts go first."""
        if not self.realtime:
            yield
            return
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except (OSError, AttributeError):
            self.realtime = False
            yield
            return
        try:
            yield
        finally:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def make_run(
    machine: Machine,
    jobs: Sequence[Callable[[], Any]],
    journal: Path,
    phases: Sequence[int] = (),
    **config: Any,
) -> dict[str, float]:
    """Run jobs on real threads.

    Args:
        machine: on which.
        jobs: the tasks, submitted all at once.
        journal: where to record it.
        phases: how many of them are submitted at once; what is left when those have ended.
        **config: fields of ``WorkerPoolConfig``.

    Returns:
        The measures, as the journal has them.
    """
    settings = WorkerPoolConfig(enable_instrumentation=False, **config)
    with machine.first(), WorkerPool(settings, journal=journal) as pool:
        left = deque(enumerate(jobs, 1))
        for count in (*phases, len(jobs)):
            for number, job in [left.popleft() for _ in range(min(count, len(left)))]:
                pool.submit_task(f"Q{number:04d}", job)
            pool.wait_for_all()
    return measure(read_recording(read_journal(journal)).run)
