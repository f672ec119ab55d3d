"""Past predictions against later journals: how far off they were, and whether intervals held.

Nothing has to be stored for it. Two journals of a folder that did the same work (the same groups,
as many tasks of each) were recorded one before the other. What the earlier one predicts for the
setting of the later one is what ``replay --set`` would have said at the time, and the later one is
what happened. Of several earlier journals under one setting the newest is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.core import CoreSettings
from runtime.journal import JournalError, read_journal
from simulation.outcome import measure
from simulation.replay import NondeterminismError
from simulation.statistics import Interval, wilson
from simulation.statistics.prediction import least_replications
from simulation.whatif.answer import DishonestError
from simulation.whatif.compare import outcome_of, refusal
from simulation.whatif.gate import journals_in
from simulation.whatif.measures import check_runs
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Trial, run_all
from simulation.whatif.settings import differing_fields
from simulation.whatif.work import Work, open_work

__all__ = ["JUDGED", "Backtest", "Judged", "Pair", "Unused", "backtest"]

#: Measures that are held against the later journal.
JUDGED: Final = ("makespan_seconds", "success_rate", "attempts", "task_seconds_p95")


@dataclass(frozen=True)
class Judged:
    """A measure of one pair.

    Args:
        measure: which.
        predicted: from the earlier journal.
        happened: in the later one.
        error: (predicted - happened) / happened; of a rate, predicted - happened.
        held: whether the interval of the next run has what happened in it; ``None`` where there is
            none.
    """

    measure: str
    predicted: Interval
    happened: float
    error: float
    held: bool | None


@dataclass(frozen=True)
class Pair:
    """An earlier and a later journal of the same work.

    Args:
        earlier: predicted from.
        later: what happened.
        changes: what the later setting has changed.
        judged: the measures; empty where it was refused.
        refused: why the prediction would have been refused, ``None`` where it would not.
    """

    earlier: str
    later: str
    changes: dict[str, Any]
    judged: list[Judged]
    refused: str | None


@dataclass(frozen=True)
class Unused:
    """A journal that took no part.

    Args:
        path: which.
        reason: why.
        broken: whether it cannot be read or does not replay.
    """

    path: str
    reason: str
    broken: bool


@dataclass(frozen=True)
class Backtest:
    """How well a folder's journals predict each other.

    Args:
        folder: which.
        pairs: each earlier and later journal.
        unused: journals that took no part.
        median_error: of a measure, over the pairs, without sign.
        worst_error: the same, the largest.
        coverage: of a measure, how often its interval held, with Wilson's interval of that share;
            without those that had none.
        runs: replications of each prediction.
        seed: the first seed.
    """

    folder: str
    pairs: list[Pair]
    unused: list[Unused]
    median_error: dict[str, float]
    worst_error: dict[str, float]
    coverage: dict[str, Interval]
    runs: int
    seed: int


def backtest(
    folder: str | Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    processes: int | None = 1,
    client: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Predict each later journal of the same work from each earlier one.

    Args:
        folder: with journals (``*.jsonl``).
        runs: replications of each prediction; by default 39.
        seed: the first seed.
        force: whether to judge also predictions that would have been refused.
        processes: how many compute; ``None`` for one a processor. The answer is the same.
        client: computes in their place, see ``Workers``.
        progress: called with the predictions done and their number.

    Returns:
        The errors, and how often the intervals held.

    Raises:
        ValueError: no journal, or no two of the same work.
        WorkerLostError: a worker process was killed.
    """
    check_runs(runs, seed)
    used: list[_Past] = []
    unused: list[Unused] = []
    for path in journals_in(folder):
        try:
            used.append(_past(path, force=force))
        except DishonestError as error:
            unused.append(Unused(str(path), str(error).removeprefix(f"{path}: "), broken=False))
        except (JournalError, NondeterminismError, ValueError) as error:
            unused.append(Unused(str(path), str(error).removeprefix(f"{path}: "), broken=True))
    used.sort(key=lambda one: (one.epoch_ns, one.work.path))
    plan = [
        (earlier, [later for later in used[at + 1 :] if _would_ask(used, earlier, later)])
        for at, earlier in enumerate(used)
    ]
    total = sum(len(laters) for _, laters in plan)
    if not total:
        raise ValueError(
            f"{folder}: no two of its {len(used)} usable journals did the same work (the same "
            f"groups, as many tasks of each): there is nothing to compare"
            + (f"; {unused[0].path}: {unused[0].reason}" if unused else "")
        )
    pairs: list[Pair] = []
    for earlier, laters in plan:
        if not laters:
            continue
        with Workers(earlier.work, processes=processes, client=client) as workers:
            for later in laters:
                if progress is not None:
                    progress(len(pairs), total)
                pairs.append(_pair(workers, earlier, later, runs, seed, force=force))
    if progress is not None:
        progress(total, total)
    judged = {
        name: [one for p in pairs for one in p.judged if one.measure == name] for name in JUDGED
    }
    return Backtest(
        str(folder),
        pairs,
        unused,
        {name: _median([abs(one.error) for one in of]) for name, of in judged.items()},
        {
            name: max((abs(one.error) for one in of), default=math.nan)
            for name, of in judged.items()
        },
        {name: _coverage(of) for name, of in judged.items()},
        runs or least_replications(),
        seed,
    )


@dataclass(frozen=True)
class _Past:
    work: Work
    epoch_ns: int
    kind: tuple[tuple[str, int], ...]
    measures: dict[str, float]


def _would_ask(used: Sequence[_Past], earlier: _Past, later: _Past) -> bool:
    """Whether this was the newest journal of the same work under its setting at the time.

    All pairs of a hundred journals would be thousands, and nobody asks an old recording where a new
    one of the same setting is there.
    """
    if later.kind != earlier.kind:
        return False
    between = used[used.index(earlier) + 1 : used.index(later)]
    settings = _as_later(earlier.work.settings, earlier.work.settings)
    return not any(
        one.kind == earlier.kind and _as_later(earlier.work.settings, one.work.settings) == settings
        for one in between
    )


def _past(path: Path, *, force: bool) -> _Past:
    journal = read_journal(path)
    work = open_work(journal, force=force)
    assert work.recording is not None
    groups = Counter(spec.group for spec in work.recording.specs.values())
    return _Past(
        work, journal.header.epoch_ns, tuple(sorted(groups.items())), measure(work.recording.run)
    )


def _pair(
    workers: Workers[Work],
    earlier: _Past,
    later: _Past,
    runs: int | None,
    seed: int,
    *,
    force: bool,
) -> Pair:
    settings = _as_later(earlier.work.settings, later.work.settings)
    changes = differing_fields(earlier.work.settings, later.work.settings)
    found = run_all(workers, earlier.work, [Trial(settings)], runs, seed)[0]
    reason = refusal(earlier.work, found)
    paths = earlier.work.path, later.work.path
    if reason is not None and not force:
        return Pair(*paths, changes, [], reason)
    outcome = outcome_of(earlier.work, found)
    return Pair(
        *paths,
        changes,
        [_judge(name, outcome[name], later.measures[name]) for name in JUDGED],
        None,
    )


def _as_later(earlier: CoreSettings, later: CoreSettings) -> CoreSettings:
    """The later setting; its seed is luck, and nobody knew it before."""
    import msgspec  # noqa: PLC0415  # of this alone

    return msgspec.structs.replace(later, seed=earlier.seed)


def _judge(name: str, predicted: Interval, happened: float) -> Judged:
    if name.endswith("_rate"):
        error = predicted.mean - happened
    elif happened:
        error = (predicted.mean - happened) / happened
    else:
        error = 0.0 if predicted.mean == 0 else math.inf
    known = not math.isnan(predicted.low)
    held = predicted.low <= happened <= predicted.high if known else None
    return Judged(name, predicted, happened, error, held)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    if not ordered:
        return math.nan
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _coverage(judged: Sequence[Judged]) -> Interval:
    held = [one.held for one in judged if one.held is not None]
    return wilson(sum(held), len(held))
