"""The cheapest setting that meets its targets: searched for, and then held against fresh luck.

More workers are not always quicker (priorities, retries and shared services see to that), so the
search trusts an order of settings only as far as it has looked: it steps up from the cheapest in
doubling strides until a setting meets the targets, halves its way back to the last one that did
not, and then looks at the neighbours below. Where no stride meets them it closes in on the one
that came nearest. Why it is not an optimiser: docs/decisions/0022.

A setting meets a target when the *whole* interval of the next run does, at 95%: a mean that meets
it is of little use to who gets the next run. Where the interval reaches over the bound the setting
is not taken, and it is said that the next run may or may not meet it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from runtime.journal import Journal
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.scenario import Scenario
from simulation.statistics import Interval, estimable
from simulation.whatif.answer import DishonestError, Fidelity
from simulation.whatif.grid import grid
from simulation.whatif.measures import check_runs
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Trial, changed_trial
from simulation.whatif.settings import check_names
from simulation.whatif.settle import NEXT_ROUNDS, rounds_of, settle
from simulation.whatif.targets import Target, Verdict, parse_targets
from simulation.whatif.work import Work, open_work

__all__ = ["Recommendation", "Tried", "recommend"]

#: Neighbours below the found setting that are looked at, since the order is not to be trusted.
_BELOW: Final = 3
_MOST_WORKERS: Final = 1_000
_QUANTILES: Final = {"task_seconds_p50": 0.5, "task_seconds_p95": 0.95, "task_seconds_p99": 0.99}


@dataclass(frozen=True)
class Tried:
    """A setting that was tried.

    Args:
        changes: what makes it.
        outcome: the measures under it.
        verdict: whether the next run surely meets all targets (``met``), surely misses one
            (``missed``), or neither (``unclear``).
        share: of the simulated next runs, how many met all targets.
        runs: replications.
        refused: why its figures are not to be trusted, ``None`` where they are.
    """

    changes: dict[str, Any]
    outcome: dict[str, Interval]
    verdict: Verdict
    share: float
    runs: int
    refused: str | None


@dataclass(frozen=True)
class Recommendation:
    """What was found.

    Args:
        work: path and kind of what was asked.
        fidelity: how well the unchanged setting reproduces the journal; ``None`` for a scenario.
        targets: what was to be met, as written.
        minimize: the field that was to be small.
        changes: what was changed in every setting.
        found: the cheapest setting that meets all targets, on fresh seeds; ``None`` where none was
            found.
        below: the next cheaper value of the same field; ``None`` where there is none.
        nearest: where nothing was found, the setting that came nearest.
        tried: every setting that was looked at, the cheapest first.
        simulations: runs in all.
        seed: the first seed of the search.
        fresh_seed: the first seed of the confirmation.
        notes: what to bear in mind about the answer, each a sentence.
    """

    work: dict[str, str]
    fidelity: Fidelity | None
    targets: list[str]
    minimize: str
    changes: dict[str, Any]
    found: Tried | None
    below: Tried | None
    nearest: Tried | None
    tried: list[Tried]
    simulations: int
    seed: int
    fresh_seed: int
    notes: list[str]


def recommend(
    work: Work | Journal | Scenario | str | Path,
    targets: str | Iterable[str | Target],
    *,
    minimize: str = "max_workers",
    over: Mapping[str, Sequence[Any]] | None = None,
    changes: Mapping[str, Any] | None = None,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    processes: int | None = 1,
    client: Any = None,
    progress: Callable[[int, int], None] | None = None,
    arrivals: Arrivals | str = RECORDED,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] | str | Path = (),
) -> Recommendation:
    """Find the cheapest setting that meets all targets.

    Args:
        work: a journal or a scenario, or the path of either (a scenario's ends with ``.toml``).
        targets: such as ``"task_seconds_p95<30"``.
        minimize: the field of ``WorkerPoolConfig`` that is to be small.
        over: the values of each field that may be chosen; by default ``max_workers`` from 1 to the
            number of tasks, at most 1,000.
        changes: what is changed in every setting.
        runs: the most replications of a setting; by default 39, and 199 where those leave it open
            and in the confirmation.
        seed: the first seed of the search.
        force: whether to answer also where the answer would not be honest.
        processes: how many compute; ``None`` for one a processor. The answer is the same.
        client: computes in their place, see ``Workers``.
        progress: called with the runs done and, as far as that is known, their number.
        arrivals: when a journal's tasks come, as for ``what_if``.
        calibration: what a journal's machine costs, as for ``what_if``.
        backends: what a journal's attempts call, as for ``what_if``.

    Returns:
        What was found, confirmed on fresh seeds; or what came nearest.

    Raises:
        JournalError: the journal cannot be used.
        ScenarioError: the scenario cannot be used.
        NondeterminismError: the journal does not replay.
        DishonestError: the work does not support a prediction.
        WorkerLostError: a worker process was killed.
        ValueError: an unknown field or measure, or a value out of range.
        TypeError: a value of the wrong type.

    Example:
        >>> found = recommend("examples/outage.toml", "makespan_seconds<60", runs=10)
        >>> found.found.changes, found.below.verdict
        ({'max_workers': 33}, 'unclear')
    """
    wanted = parse_targets(targets)
    check_runs(runs, seed)
    if runs == 1:
        raise ValueError("runs=1: where the next run lies takes 2 runs or more to say, better 39")
    check_names([minimize])
    common = dict(changes or {})
    opened = open_work(
        work,
        arrivals=arrivals,
        calibration=calibration,
        backends=backends,
        workers=_MOST_WORKERS,
        force=force,
    )
    _check_estimable(wanted, opened, force=force)
    ranges = dict(over or {})
    if minimize not in ranges:
        if minimize != "max_workers":
            raise ValueError(f"{minimize}: say over which values, as in {minimize}=1:60")
        ranges[minimize] = range(1, max(1, min(_MOST_WORKERS, opened.tasks)) + 1)
    for name in common:
        if name in ranges:
            raise ValueError(f"{name}: is changed for all settings and searched over, too")
    values = _ascending(minimize, ranges.pop(minimize))
    others = grid(ranges) if ranges else [{}]
    with Workers(opened, processes=processes, client=client) as workers:
        lab = _Lab(workers, opened, wanted, common, runs, seed, progress)
        lab.check([{minimize: value, **other} for value in values[:1] for other in others])
        search = _Search(lab, minimize, values, others)
        found = search.run()
        fresh = seed + max(NEXT_ROUNDS[-1], runs or 0)
        confirmed = search.confirm(found, fresh) if found is not None else None
    tried = sorted(lab.tried.values(), key=lambda one: values.index(one.changes[minimize]))
    below = None
    if confirmed is not None:
        below = lab.seen(search.cheaper(confirmed.changes))
    refused = [one for one in tried if one.refused is not None]
    answer = Recommendation(
        work={"path": opened.path, "kind": opened.kind},
        fidelity=opened.fidelity,
        targets=[str(target) for target in wanted],
        minimize=minimize,
        changes=common,
        found=confirmed,
        below=below,
        nearest=None if confirmed is not None else lab.nearest(),
        tried=tried,
        simulations=lab.simulations,
        seed=seed,
        fresh_seed=fresh,
        notes=opened.notes,
    )
    if confirmed is None and refused and not force:
        raise DishonestError(
            f"{len(refused)} of the {len(tried)} settings that were looked at cannot be predicted, "
            f"and no other meets the target; the first: {refused[0].refused}",
            answer,
        )
    return answer


def _check_estimable(targets: Sequence[Target], work: Work, *, force: bool) -> None:
    """A journal is one sample of tasks: too few of them bound no quantile."""
    for target in targets:
        share = _QUANTILES.get(target.measure)
        if share is None or work.kind != "journal" or force:
            continue
        if not estimable(share, work.tasks):
            raise DishonestError(
                f"target {target}: {work.tasks} tasks are too few to say anything of the "
                f"{share:.0%} quantile with confidence"
            )


def _ascending(name: str, given: Sequence[Any]) -> list[Any]:
    grid({name: given})  # checks it
    values = list(given)
    if any(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: cannot be minimized, its values have no order")
    return sorted(values, key=lambda value: math.inf if value is None else value)


class _Lab:
    """Tries settings, remembers them, and makes more runs where an answer is unclear."""

    def __init__(
        self,
        workers: Workers[Work],
        work: Work,
        targets: Sequence[Target],
        common: Mapping[str, Any],
        runs: int | None,
        seed: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.tried: dict[tuple[Any, ...], Tried] = {}
        self.simulations = 0
        self._workers = workers
        self._work = work
        self._targets = targets
        self._common = common
        self._rounds = rounds_of("next", runs)
        self._seed = seed
        self._progress = progress
        self._expected = 0

    def check(self, many: Iterable[Mapping[str, Any]]) -> None:
        """Raise where a setting is no setting, before anything is run."""
        for changes in many:
            self._trial(changes)

    def _trial(self, changes: Mapping[str, Any]) -> Trial:
        return changed_trial(self._work, {**self._common, **changes})

    def meets(self, changes: Mapping[str, Any]) -> bool:
        """Whether a setting surely meets all targets."""
        return self.look(changes).verdict == "met"

    def seen(self, changes: Mapping[str, Any] | None) -> Tried | None:
        """A setting that was tried already."""
        return None if changes is None else self.tried.get(_key(changes))

    def look(self, changes: Mapping[str, Any]) -> Tried:
        """Try a setting."""
        key = _key(changes)
        if key not in self.tried:
            self.tried[key] = self.measure(changes, self._seed)
        return self.tried[key]

    def measure(self, changes: Mapping[str, Any], seed: int, *, fixed: bool = False) -> Tried:
        """Run a setting until it is clear whether it meets the targets.

        Args:
            changes: what makes it.
            seed: the first seed.
            fixed: whether to make all runs before the first look.
        """
        before = self.simulations
        self._expected = max(self._expected, before + self._rounds[0])

        def tell(done: int) -> None:
            self.simulations = before + done
            if self._progress is not None:
                self._progress(self.simulations, max(self._expected, self.simulations + 1))

        trial = self._trial(changes)
        rounds = self._rounds[-1:] if fixed else self._rounds
        found = settle(self._workers, self._work, trial, self._targets, "next", rounds, seed, tell)
        return Tried(
            dict(changes), found.outcome, found.verdict, found.share, found.runs, found.refused
        )

    def shortfall(self, tried: Tried) -> float:
        """How far a setting is from meeting all targets, the worst of them."""
        if tried.refused is not None:
            return math.inf
        return max(target.shortfall(tried.outcome[target.measure].mean) for target in self._targets)

    def nearest(self) -> Tried | None:
        """The setting that came nearest."""
        known = [one for one in self.tried.values() if one.refused is None]
        return min(known, key=self.shortfall) if known else None


def _key(changes: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(changes.items()))


class _Search:
    """Looks for the cheapest value of one field, for each combination of the others."""

    def __init__(
        self, lab: _Lab, field: str, values: Sequence[Any], others: Sequence[Mapping[str, Any]]
    ) -> None:
        self._lab = lab
        self._field = field
        self._values = values
        self._others = others

    def _at(self, index: int, other: Mapping[str, Any]) -> dict[str, Any]:
        return {self._field: self._values[index], **other}

    def _meets(self, index: int, other: Mapping[str, Any]) -> bool:
        return self._lab.meets(self._at(index, other))

    def run(self) -> dict[str, Any] | None:
        """The cheapest setting that meets the targets in the search."""
        best: tuple[int, Mapping[str, Any]] | None = None
        for other in self._others:
            most = len(self._values) if best is None else best[0]
            if best is not None and (most == 0 or not self._meets(most - 1, other)):
                continue  # no cheaper than what is there
            found = self._one(other, most)
            if found is not None:
                best = found, other
        return None if best is None else self._at(*best)

    def _one(self, other: Mapping[str, Any], most: int) -> int | None:
        """The cheapest of the first ``most`` values."""
        misses, meets = -1, None
        stride = 1
        at = 0
        while at < most:
            if self._meets(at, other):
                meets = at
                break
            misses = at
            at = min(at + stride, most - 1) if at < most - 1 else most
            stride *= 2
        if meets is None:
            meets = self._close_in(other, most)
            if meets is None:
                return None
            misses = max(
                at for at in range(-1, meets) if at < 0 or self._lab.seen(self._at(at, other))
            )
        return self._down(other, misses, meets)

    def _down(self, other: Mapping[str, Any], misses: int, meets: int) -> int:
        """Halve the way between one that misses and one that meets; then look below."""
        while meets - misses > 1:
            middle = (meets + misses) // 2
            if self._meets(middle, other):
                meets = middle
            else:
                misses = middle
        for below in range(meets - 1, max(-1, meets - 1 - _BELOW), -1):
            if self._meets(below, other):  # not in order: one that is cheaper meets them, too
                return self._down(other, -1 if below == 0 else below - 1, below)
        return meets

    def _close_in(self, other: Mapping[str, Any], most: int) -> int | None:
        """Where no stride met the targets: towards the one that came nearest, by halves."""
        looked = sorted(at for at in range(most) if self._lab.seen(self._at(at, other)) is not None)
        while True:
            nearest = min(
                looked, key=lambda at: self._lab.shortfall(self._lab.look(self._at(at, other)))
            )
            place = looked.index(nearest)
            sides = looked[max(0, place - 1) : place + 2]
            gaps = [(high + low) // 2 for low, high in pairwise(sides)]
            new = [at for at in gaps if at not in looked]
            if not new:
                return None
            for at in new:
                if self._meets(at, other):
                    return at
                looked.append(at)
            looked.sort()

    def cheaper(self, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """The next cheaper value of the field, all else the same."""
        at = self._values.index(changes[self._field])
        return {**changes, self._field: self._values[at - 1]} if at else None

    def confirm(self, found: dict[str, Any], seed: int) -> Tried | None:
        """The found setting on fresh seeds; where it fails, dearer ones in growing strides."""
        at, stride = self._values.index(found[self._field]), 1
        for step in range(len(self._values)):
            changes = {**found, self._field: self._values[at]}
            tried = self._lab.measure(changes, seed + step * NEXT_ROUNDS[-1], fixed=True)
            if tried.verdict == "met":
                return tried
            self._lab.tried[_key(changes)] = tried
            if at == len(self._values) - 1:
                break
            at = min(at + stride, len(self._values) - 1)
            stride *= 2
        return None
