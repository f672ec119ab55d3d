"""Runs of one setting, as many as it takes to tell whether it meets its targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.core import CoreSettings
from simulation.statistics import Interval
from simulation.whatif.parallel import Workers
from simulation.whatif.targets import Target, Verdict, verdict_of
from simulation.whatif.work import Ask, Replication, Work, outcome_of, refusal, replicate

__all__ = ["ROUNDS", "Settled", "rounds_of", "settle"]

#: Replications after which it is looked whether the answer is clear. Looking more than once makes
#: an interval a little less sure than it says, which is why what counts (a confirmation, a gate) is
#: looked at as late as can be.
ROUNDS: Final = (10, 30, 120)


@dataclass(frozen=True)
class Settled:
    """What came of it.

    Args:
        replications: the runs.
        outcome: their measures.
        verdict: whether all targets are met; ``unclear`` also where it was refused.
        refused: why the figures are not to be trusted, ``None`` where they are.
    """

    replications: list[Replication]
    outcome: dict[str, Interval]
    verdict: Verdict
    refused: str | None

    @property
    def random(self) -> bool:
        """Whether another seed would have given another answer."""
        return any(one.random for one in self.replications)


def rounds_of(runs: int | None) -> tuple[int, ...]:
    """Replications before each look.

    Args:
        runs: the most, ``None`` for the default.
    """
    return ROUNDS if runs is None else (*(n for n in ROUNDS if n < runs), runs)


def settle(
    workers: Workers[Work],
    settings: CoreSettings,
    targets: Sequence[Target],
    rounds: Sequence[int],
    seed: int,
    tell: Callable[[int], Any],
) -> Settled:
    """Run a setting until it is clear whether it meets its targets.

    Args:
        workers: where.
        settings: the setting.
        targets: what it is to meet.
        rounds: replications before each look; after the last it stays unclear.
        seed: the first seed; the others count up from it.
        tell: called with the runs done so far.

    Returns:
        The runs and the verdict; a single run where nothing is random.
    """
    found = workers.map(replicate, [Ask(settings, seed)])
    tell(1)
    for asked in rounds if found[0].random else (1,):
        before = len(found)
        asks = [Ask(settings, seed + at) for at in range(before, asked)]
        found += workers.map(replicate, asks, lambda done, before=before: tell(before + done))
        reason = refusal(found)
        outcome = outcome_of(found)
        verdict = verdict_of(targets, outcome)
        if reason is not None:
            return Settled(found, outcome, "unclear", reason)
        if verdict != "unclear":
            break
    return Settled(found, outcome, verdict, None)
