"""Runs of one setting, as many as it takes to tell whether it meets its targets.

Two questions look alike and are not. *Would these recorded runs have met them?* is a matter of the
mean over what has to be drawn: more runs settle it. *Will the next run meet them?* is a matter of
the spread between runs: it meets them when the whole interval of the next run does, and where that
reaches over the bound, no number of simulations makes it narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulation.statistics import Interval, intervals
from simulation.statistics.prediction import next_value
from simulation.whatif.compare import outcome_of, refusal, spanned
from simulation.whatif.measures import ALL_MEASURES
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Ask, Ends, Kind, Runs, Trial, replicate
from simulation.whatif.targets import Target, Verdict, verdict_of
from simulation.whatif.work import Work

__all__ = ["NEXT_ROUNDS", "RECORDED_ROUNDS", "Settled", "rounds_of", "settle"]

#: Replications after which it is looked whether the answer is clear. The next run's interval takes
#: 39 to be without a distribution, and 199 to hang on more than the two most extreme of them.
RECORDED_ROUNDS: Final = (10, 30, 120)
#: The first ten only find out what is hopeless.
NEXT_ROUNDS: Final = (10, 39, 199)
#: A setting of which fewer next runs meet the targets than this, after so many, is not worth more.
_WORTH_MORE: Final = {10: 0.5, 39: 0.9}


@dataclass(frozen=True)
class Settled:
    """What came of it.

    Args:
        outcome: the measures, of the kind that was asked for.
        verdict: whether all targets are met; ``unclear`` also where it was refused.
        share: of the runs, how many met all targets.
        runs: replications; 1 where nothing is random.
        refused: why the figures are not to be trusted, ``None`` where they are.
    """

    outcome: dict[str, Interval]
    verdict: Verdict
    share: float
    runs: int
    refused: str | None


def rounds_of(kind: Kind, runs: int | None) -> tuple[int, ...]:
    """Replications before each look.

    Args:
        kind: of runs.
        runs: the most, ``None`` for the default.
    """
    rounds = NEXT_ROUNDS if kind == "next" else RECORDED_ROUNDS
    return rounds if runs is None else (*(n for n in rounds if n < runs), runs)


def settle(
    workers: Workers[Work],
    work: Work,
    trial: Trial,
    targets: Sequence[Target],
    kind: Kind,
    rounds: Sequence[int],
    seed: int,
    tell: Callable[[int], Any],
) -> Settled:
    """Run a setting until it is clear whether it meets its targets.

    Args:
        workers: where.
        work: of what.
        trial: the setting.
        targets: what it is to meet.
        kind: whether the recorded runs are to meet them, or the next one.
        rounds: replications before each look; after the last it stays unclear.
        seed: the first seed; the others count up from it.
        tell: called with the runs done so far.

    Returns:
        The verdict, and what it was taken from.
    """
    done = 0

    def run(kind: Kind, first: int, up_to: int) -> list[Ends]:
        nonlocal done
        asks = [Ask(kind, seed + at, (trial,)) for at in range(first, up_to)]
        before = done
        found = workers.map(replicate, asks, lambda now: tell(before + now))
        done = before + len(asks)
        return [ends for (ends,) in found]

    recorded = run("recorded", 0, 1)
    reason = refusal(work, Runs(recorded, []))
    wanted = recorded if kind == "recorded" or work.kind == "scenario" else []
    verdict: Verdict = "unclear"
    outcome: dict[str, Interval] = {}
    share = 0.0
    for count in rounds:
        settled = bool(wanted) and not wanted[0].never.random
        wanted = wanted if settled else [*wanted, *run(kind, len(wanted), count)]
        reason = reason or refusal(work, Runs(wanted if kind == "recorded" else recorded, []))
        outcome = _outcome(work, kind, recorded, wanted)
        verdict = verdict_of(targets, outcome)
        met = [
            all(
                one.holds(side.measures[one.measure])
                for one in targets
                for side in (ends.never, ends.soonest)
            )
            for ends in wanted
        ]
        share = sum(met) / len(met)
        if settled or reason is not None:
            break
        if kind == "next" and count in _WORTH_MORE:
            clear = share < _WORTH_MORE[count] or (verdict == "met" and count > rounds[0])
        else:
            clear = verdict != "unclear"
        if clear:
            break
    return Settled(outcome, verdict if reason is None else "unclear", share, len(wanted), reason)


def _outcome(
    work: Work, kind: Kind, recorded: list[Ends], wanted: list[Ends]
) -> dict[str, Interval]:
    if kind == "recorded":
        ends = Runs(wanted, [])
        here, there = (
            intervals([side.measures for side in sides])
            for sides in (ends.never()[0], ends.soonest()[0])
        )
        return spanned(here, there) if ends.unknown else here
    if work.kind == "journal":
        return outcome_of(work, Runs(recorded, wanted if len(wanted) > 1 else []))
    sides = [ends.never for ends in wanted]
    return {name: next_value([side.measures[name] for side in sides]) for name in ALL_MEASURES}
