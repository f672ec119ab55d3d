"""The answer to a what-if, and its refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from simulation.statistics.intervals import Interval
from simulation.statistics.paired import Difference
from simulation.whatif.coming import Coming
from simulation.whatif.contention import Contention

__all__ = ["DishonestError", "Fidelity", "WhatIf"]


class DishonestError(Exception):
    """A prediction was refused, because the recording does not support it.

    Args:
        message: what is missing.
        answer: what it would have been (a ``WhatIf``, a ``Sweep`` ...); ``None`` where the refusal
            came before there was one.
    """

    def __init__(self, message: str, answer: Any = None) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class Fidelity:
    """How well the unchanged setting reproduces the recording.

    Each error is (simulated - recorded) / recorded, 0 where both are 0, and NaN where only what was
    recorded is.

    Args:
        makespan_error: of the makespan.
        recorded_makespan_seconds: in the recording.
        simulated_makespan_seconds: simulated under the recorded setting, with its own seed.
        task_seconds_p95_error: of the 95% quantile of the tasks' times.
        recorded_task_seconds_p95: in the recording.
        simulated_task_seconds_p95: simulated.
        attempts_error: of the number of attempts.
        recorded_attempts: in the recording.
        simulated_attempts: simulated.
    """

    makespan_error: float
    recorded_makespan_seconds: float
    simulated_makespan_seconds: float
    task_seconds_p95_error: float = 0.0
    recorded_task_seconds_p95: float = math.nan
    simulated_task_seconds_p95: float = math.nan
    attempts_error: float = 0.0
    recorded_attempts: float = math.nan
    simulated_attempts: float = math.nan


@dataclass(frozen=True)
class WhatIf:
    """The answer to a what-if.

    The ``mean`` of a figure is what the recorded tasks themselves would have come to; its ``low``
    and ``high`` are where the next run of tasks like these lies. Each figure says in ``kind`` what
    its interval is about.

    Args:
        fidelity: how well the unchanged setting reproduces the recording.
        baseline: the measures under the recorded setting.
        variant: the measures under the changed setting.
        difference: variant minus baseline, each pair of runs with the same luck.
        changes: what was changed.
        runs: replications.
        seed: the first of their seeds.
        drawn_attempts: attempts a run that the recording does not have, so they were drawn.
        unknown_attempts: attempts of which the recording cannot know how long they take.
        random: whether anything of the recorded tasks themselves had to be drawn.
        tasks: tasks in the recording that ended.
        notes: what to bear in mind about this answer, each a sentence.
        span: where nobody knows how long an attempt takes, a measure's figure where it ends as soon
            as it can and where it never does, the smaller first; measures that differ only.
        contention: what was done about the CPU that attempts share.
        backends: the declared backends that attempts call in the changed setting.
        coming: how tasks come in the changed setting, and why.
    """

    fidelity: Fidelity
    baseline: dict[str, Interval]
    variant: dict[str, Interval]
    difference: dict[str, Difference]
    changes: dict[str, Any]
    runs: int
    seed: int
    drawn_attempts: float
    unknown_attempts: int
    random: bool
    tasks: int = 0
    notes: list[str] = field(default_factory=list)
    span: dict[str, tuple[float, float]] = field(default_factory=dict)
    contention: Contention = field(default_factory=lambda: Contention("unmeasured"))
    backends: tuple[str, ...] = ()
    coming: Coming | None = None
