"""The answer to a what-if, and its refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulation.statistics.intervals import Interval

__all__ = ["DishonestError", "Fidelity", "WhatIf"]


class DishonestError(Exception):
    """A prediction was refused, because the recording does not support it.

    Args:
        message: what is missing.
        answer: what it would have been.
    """

    def __init__(self, message: str, answer: WhatIf) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class Fidelity:
    """How well the unchanged setting reproduces the recording.

    Args:
        makespan_error: (simulated - recorded) / recorded.
        recorded_makespan_seconds: in the recording.
        simulated_makespan_seconds: simulated under the recorded setting, with its own seed.
    """

    makespan_error: float
    recorded_makespan_seconds: float
    simulated_makespan_seconds: float


@dataclass(frozen=True)
class WhatIf:
    """The answer to a what-if.

    Args:
        fidelity: how well the unchanged setting reproduces the recording.
        baseline: the measures under the recorded setting.
        variant: the measures under the changed setting.
        difference: variant minus baseline, run by run.
        changes: what was changed.
        runs: replications; 1 where nothing is random.
        seed: the first of their seeds.
        drawn_attempts: attempts a run that the recording does not have, so they were drawn.
        unknown_attempts: attempts of which the recording cannot know how long they take.
        random: whether another seed would have given another answer.
    """

    fidelity: Fidelity
    baseline: dict[str, Interval]
    variant: dict[str, Interval]
    difference: dict[str, Interval]
    changes: dict[str, Any]
    runs: int
    seed: int
    drawn_attempts: float
    unknown_attempts: int
    random: bool
