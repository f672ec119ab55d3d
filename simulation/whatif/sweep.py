"""Sweeps: a grid of settings on the same work with the same luck, and what may be said of it.

Every cell is run with the same seeds (common random numbers) and compared with the baseline pair
by pair. A grid asks many questions at once, so the p-values of the judged measure are adjusted for
their number (Holm). The best cell looks better than it is, since it was chosen for its luck, too:
it is run again, with the baseline, on seeds that had no part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.journal import Journal
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.scenario import Scenario
from simulation.statistics import Difference, Interval, holm
from simulation.whatif.answer import DishonestError, Fidelity
from simulation.whatif.compare import difference_of, outcome_of, refusal
from simulation.whatif.grid import grid
from simulation.whatif.measures import BETTER_HIGH, check_measure, check_runs
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Runs, Trial, changed_trial, default_runs, run_all
from simulation.whatif.work import Work, open_work

__all__ = ["Cell", "Confirmation", "Sweep", "sweep"]

#: Adjusted p-values below this are called a difference.
SIGNIFICANT: Final = 0.05


@dataclass(frozen=True)
class Cell:
    """One setting of a sweep.

    Args:
        changes: what makes it, beside what all cells have changed.
        outcome: the measures under it.
        difference: it minus the baseline, replication by replication.
        p_value: of the judged measure's difference, as if this were the only cell; ``None`` where
            there is nothing to test: it is the baseline, or there is one run only.
        p_adjusted: the same for a grid of this size (Holm).
        verdict: ``better``, ``worse``, ``not told apart`` or ``same``, by the judged measure.
        near_best: whether it cannot be told from the best cell.
        refused: why its figures are not to be trusted, ``None`` where they are.
    """

    changes: dict[str, Any]
    outcome: dict[str, Interval]
    difference: dict[str, Difference]
    p_value: float | None
    p_adjusted: float | None
    verdict: str
    near_best: bool
    refused: str | None


@dataclass(frozen=True)
class Confirmation:
    """The best cell and the baseline again, on fresh seeds.

    Args:
        cell: which cell, from 0.
        outcome: the measures of the cell.
        baseline: those of the baseline.
        difference: the cell minus the baseline.
        seed: the first of the fresh seeds.
        runs: how many.
        holds: whether the judged measure is better than the baseline's on fresh seeds, too.
    """

    cell: int
    outcome: dict[str, Interval]
    baseline: dict[str, Interval]
    difference: dict[str, Difference]
    seed: int
    runs: int
    holds: bool


@dataclass(frozen=True)
class Sweep:
    """What came of a grid.

    Args:
        work: path and kind of what was asked.
        fidelity: how well the unchanged setting reproduces the journal; ``None`` for a scenario.
        best: the judged measure.
        baseline: ``recorded``, or ``first cell``.
        baseline_outcome: its measures.
        changes: what all cells have changed.
        cells: the settings, the last varied field first to change.
        confirmed: the best cell on fresh seeds; ``None`` where every cell was refused.
        runs: replications of each cell.
        seed: the first of their seeds.
        random: whether another seed would have given another answer.
        comparisons: how many p-values were adjusted together.
        notes: what to bear in mind about the answer, each a sentence.
    """

    work: dict[str, str]
    fidelity: Fidelity | None
    best: str
    baseline: str
    baseline_outcome: dict[str, Interval]
    changes: dict[str, Any]
    cells: list[Cell]
    confirmed: Confirmation | None
    runs: int
    seed: int
    random: bool
    comparisons: int
    notes: list[str]


def sweep(
    work: Work | Journal | Scenario | str | Path,
    vary: Mapping[str, Sequence[Any]],
    *,
    changes: Mapping[str, Any] | None = None,
    best: str = "makespan_seconds",
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    processes: int | None = 1,
    client: Any = None,
    progress: Callable[[int, int], None] | None = None,
    arrivals: Arrivals | str = RECORDED,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] | str | Path = (),
) -> Sweep:
    """Run every combination of some fields' values on the same work.

    Args:
        work: a journal or a scenario, or the path of either (a scenario's ends with ``.toml``).
        vary: the values of each varied field of ``WorkerPoolConfig``.
        changes: what every cell has changed.
        best: the measure by which cells are judged.
        runs: replications of each cell; by default 30 of a scenario and 39 of a journal. With 1
            there are no intervals.
        seed: the first replication's seed; the others count up from it.
        force: whether to answer also where the answer would not be honest.
        processes: how many compute; ``None`` for one a processor. The answer is the same.
        client: computes in their place, see ``Workers``.
        progress: called with the runs done and their number.
        arrivals: when a journal's tasks come, as for ``what_if``.
        calibration: what a journal's machine costs, as for ``what_if``.
        backends: what a journal's attempts call, as for ``what_if``.

    Returns:
        The cells, and the best again on fresh seeds.

    Raises:
        JournalError: the journal cannot be used.
        ScenarioError: the scenario cannot be used.
        NondeterminismError: the journal does not replay.
        DishonestError: the work does not support a prediction, or not one for every cell; in the
            second case its ``answer`` is the sweep, with the reason at each such cell.
        WorkerLostError: a worker process was killed.
        ValueError: an unknown field or measure, a value out of range, too large a grid.
        TypeError: a value of the wrong type.

    Example:
        >>> found = sweep("examples/outage.toml", {"max_workers": [10, 20]}, runs=5)
        >>> [round(cell.outcome["makespan_seconds"].mean) for cell in found.cells]
        [133, 73]
    """
    check_measure(best, of="best")
    check_runs(runs, seed)
    cells = grid(vary)
    common = dict(changes or {})
    for name in common:
        if name in vary:
            raise ValueError(f"{name}: is changed for all cells and varied, too; leave one out")
    opened = open_work(
        work,
        arrivals=arrivals,
        calibration=calibration,
        backends=backends,
        workers=_most([*vary.get("max_workers", ()), common.get("max_workers", 1)]),
        force=force,
    )
    trials = [changed_trial(opened, {**common, **cell}) for cell in cells]
    recorded = opened.kind == "journal"
    first = 0 if recorded else 1  # of the cells that are compared
    with Workers(opened, processes=processes, client=client) as workers:
        everything = [Trial(opened.settings, unchanged=True), *trials] if recorded else trials
        found = run_all(workers, opened, everything, runs, seed, progress)
        baseline, of_cells = (found[0], found[1:]) if recorded else (found[0], found)
        refusals = [refusal(opened, one) for one in of_cells]
        outcomes = [outcome_of(opened, one) for one in of_cells]
        winner = _winner(outcomes, refusals, best, force=force)
        count = runs or default_runs(opened)
        random = any(one.random for one in found)
        confirmed = None
        if winner is not None:
            pair = [baseline, of_cells[winner]]
            if random:
                again = [everything[0], trials[winner]]
                pair = run_all(workers, opened, again, runs, seed + count, progress)
            confirmed = _confirmation(
                winner, opened, pair, seed + count, count, best, random=random
            )
    differences = [difference_of(opened, baseline, one) for one in of_cells]
    unmoved = opened.arrivals.baseline == opened.arrivals
    same = [
        at < first or (unmoved and one.settings == everything[0].settings)
        for at, one in enumerate(trials)
    ]
    compared = _compare([one[best] for one in differences], refusals, same, best)
    near = _near(opened, of_cells, refusals, winner, best)
    answer = Sweep(
        work={"path": opened.path, "kind": opened.kind},
        fidelity=opened.fidelity,
        best=best,
        baseline="recorded" if recorded else "first cell",
        baseline_outcome=outcome_of(opened, baseline),
        changes=common,
        cells=[
            Cell(changes, outcome, difference, p_value, p_adjusted, verdict, near_best, reason)
            for changes, outcome, difference, (
                p_value,
                p_adjusted,
                verdict,
            ), near_best, reason in zip(
                cells, outcomes, differences, compared, near, refusals, strict=True
            )
        ],
        confirmed=confirmed,
        runs=count,
        seed=seed,
        random=random,
        comparisons=sum(p_value is not None for p_value, _, _ in compared),
        notes=opened.notes,
    )
    refused = [reason for reason in refusals if reason is not None]
    if refused and not force:
        raise DishonestError(
            f"{len(refused)} of {len(cells)} cells cannot be predicted; the first: {refused[0]}",
            answer,
        )
    return answer


def _most(values: Sequence[Any]) -> int:
    """The most of some numbers, which are not checked yet."""
    return max((value for value in values if isinstance(value, int)), default=1)


def _winner(
    outcomes: Sequence[Mapping[str, Interval]],
    refusals: Sequence[str | None],
    best: str,
    *,
    force: bool,
) -> int | None:
    """The cell with the best mean; the first of several."""
    sign = -1 if best in BETTER_HIGH else 1
    means = {
        at: sign * outcome[best].mean
        for at, outcome in enumerate(outcomes)
        if (refusals[at] is None or force) and not math.isnan(outcome[best].mean)
    }
    return min(means, key=lambda at: means[at]) if means else None


def _compare(
    differences: Sequence[Difference],
    refusals: Sequence[str | None],
    same: Sequence[bool],
    best: str,
) -> list[tuple[float | None, float | None, str]]:
    """Each cell against the baseline: p-value, adjusted p-value, verdict."""
    adjusted = _adjusted(
        differences, [not same[at] and refusals[at] is None for at in range(len(differences))]
    )
    found: list[tuple[float | None, float | None, str]] = []
    for at, difference in enumerate(differences):
        if refusals[at] is not None:
            found.append((None, None, "refused"))
        elif same[at]:
            found.append((None, None, "same"))
        elif difference.low == difference.high == difference.mean == 0:
            found.append((difference.p_value, adjusted[at], "same"))
        elif not math.isnan(adjusted[at]):
            told = adjusted[at] < SIGNIFICANT
            verdict = _direction(difference.mean, best) if told else "not told apart"
            found.append((difference.p_value, adjusted[at], verdict))
        elif difference.kind == "not estimable":
            found.append((None, None, "not told apart"))
        else:  # one run each
            found.append((None, None, _direction(difference.mean, best)))
    return found


def _adjusted(differences: Sequence[Difference], tested: Sequence[bool]) -> list[float]:
    """P-values for as many comparisons as are made; NaN where none is."""
    return holm(
        [one.p_value if test else math.nan for one, test in zip(differences, tested, strict=True)]
    )


def _direction(difference: float, best: str) -> str:
    if difference == 0 or math.isnan(difference):
        return "same" if difference == 0 else "not told apart"
    return "better" if (difference > 0) == (best in BETTER_HIGH) else "worse"


def _near(
    work: Work,
    of_cells: Sequence[Runs],
    refusals: Sequence[str | None],
    winner: int | None,
    best: str,
) -> list[bool]:
    """Which cells cannot be told from the best one."""
    if winner is None:
        return [False] * len(of_cells)
    differences = [difference_of(work, of_cells[winner], one)[best] for one in of_cells]
    adjusted = _adjusted(
        differences, [at != winner and reason is None for at, reason in enumerate(refusals)]
    )
    return [
        refusals[at] is None
        and (adjusted[at] >= SIGNIFICANT or (math.isnan(adjusted[at]) and difference.mean == 0))
        for at, difference in enumerate(differences)
    ]


def _confirmation(
    winner: int, work: Work, pair: Sequence[Runs], seed: int, runs: int, best: str, *, random: bool
) -> Confirmation:
    baseline, variant = pair
    difference = difference_of(work, baseline, variant)
    judged = difference[best]
    better = _direction(judged.mean, best) == "better"
    told = not random or judged.p_value < SIGNIFICANT
    return Confirmation(
        winner,
        outcome_of(work, variant),
        outcome_of(work, baseline),
        difference,
        seed,
        runs,
        better and told,
    )
