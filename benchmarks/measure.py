"""How the suite measures: contestants take turns, and what counts is the ratio in one round.

A machine that other programs share is sometimes twice as slow as a minute before. So the
contestants of a benchmark run one after the other in each round (A B C, A B C, ...), a comparison
is worked out within each round, and the median of those is what the suite reports.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Benchmark",
    "Comparison",
    "Contestant",
    "Figures",
    "Key",
    "Outcome",
    "Size",
    "Spread",
    "run",
]

#: What one run of a contestant gives: values by the name of the figure.
Figures = Mapping[str, float]
#: One figure of one contestant: (contestant, figure).
Key = tuple[str, str]


@dataclass(frozen=True)
class Size:
    """How much to measure.

    Args:
        quick: whether a rough answer within a minute will do.
    """

    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        """Choose between two amounts."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Contestant:
    """Something that is measured.

    Args:
        name: what tables call it.
        run: is given the number of the round, for a seed, and returns its figures. Raises
            ``ImportError`` where a part is not there, another error where what it did is wrong.
    """

    name: str
    run: Callable[[int], Figures]


@dataclass(frozen=True)
class Comparison:
    """A question to the figures, asked anew in each round.

    Args:
        label: the question in words.
        of: the figure.
        to: what it is divided by: another figure, a constant, or ``None`` for the figure itself.
        at_most: the goal, if any.
        at_least: the goal, if any.
    """

    label: str
    of: Key
    to: Key | float | None
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """Contestants that take turns.

    Args:
        name: what ``--only`` calls it.
        about: what is measured, in a sentence or two.
        units: the unit of each figure.
        rounds: how often each contestant runs.
        contestants: in the order in which they take turns.
        comparisons: what is asked of the figures.
    """

    name: str
    about: str
    units: Mapping[str, str]
    rounds: int
    contestants: Sequence[Contestant]
    comparisons: Sequence[Comparison]


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """Sum up the rounds; at least one."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Outcome:
    """What a benchmark gave.

    Args:
        benchmark: which.
        values: each figure, round by round.
        absent: contestants that could not run because a part is not there, and which part.
        broken: contestants that failed, and how.
    """

    benchmark: Benchmark
    values: dict[Key, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def answer(self, comparison: Comparison) -> Spread | None:
        """The answer to a comparison; ``None`` where a figure is missing."""
        of = self.values.get(comparison.of)
        to = comparison.to
        if of is None:
            return None
        if to is None:
            return Spread.over(of)
        if not isinstance(to, tuple):
            return Spread.over([value / to for value in of])
        peer = self.values.get(to)
        if peer is None:
            return None
        return Spread.over([value / base for value, base in zip(of, peer, strict=True)])


def run(benchmark: Benchmark, progress: Callable[[str], None]) -> Outcome:
    """Run a benchmark.

    A contestant that fails leaves the benchmark with all its figures; the others go on.

    Args:
        benchmark: what to run.
        progress: is told what runs at present.

    Returns:
        What it gave.
    """
    outcome = Outcome(benchmark)
    running = list(benchmark.contestants)
    for number in range(benchmark.rounds):
        for contestant in list(running):
            progress(f"{benchmark.name} {number + 1}/{benchmark.rounds}: {contestant.name}")
            gc.collect()  # nobody pays for the garbage of the one before
            try:
                figures = contestant.run(number)
            except ImportError as error:
                outcome.absent[contestant.name] = str(error)
            except Exception as error:  # the other contestants go on
                outcome.broken[contestant.name] = f"{type(error).__name__}: {error}"
            else:
                for figure, value in figures.items():
                    outcome.values.setdefault((contestant.name, figure), []).append(value)
                continue
            running.remove(contestant)
            for key in [key for key in outcome.values if key[0] == contestant.name]:
                del outcome.values[key]
    return outcome
