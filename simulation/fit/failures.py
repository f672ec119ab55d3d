"""How attempts fail, and what of that a scenario cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from simulation.models import Fails
from simulation.recording.read import Recording
from simulation.statistics import Interval, wilson

__all__ = ["FailureFit", "fit_failures"]

#: A p-value below this is worth a warning.
_WARNED: Final = 0.01


@dataclass(frozen=True)
class FailureFit:
    """How a group's attempts fail.

    Args:
        fails: for a scenario; ``None`` where none failed.
        failed: attempts that failed.
        ended: attempts that succeeded or failed; those that were abandoned are in neither.
        probability: of a failure, with its interval.
        notes: what the scenario leaves out.
    """

    fails: Fails | None
    failed: int
    ended: int
    probability: Interval
    notes: list[str]


def fit_failures(
    recording: Recording, tasks: Sequence[int], retries: bool | None = None
) -> FailureFit:
    """Count how a group's attempts fail.

    Args:
        recording: what was recorded.
        tasks: the group's tasks.
        retries: of their retries only, or of their first attempts only; of all by default.

    Returns:
        What was found.
    """
    wanted = set(tasks)
    all_ended = {
        key: did
        for key, did in recording.done.items()
        if key[0] in wanted and recording.fates.get(key) not in ("timeout", "cancelled")
    }
    ended = {key: did for key, did in all_ended.items() if retries in (None, key[1] > 1)}
    failures = [did.failure for did in ended.values() if did.failure is not None]
    probability = wilson(len(failures), len(ended))
    if not failures:
        return FailureFit(None, 0, len(ended), probability, [])
    kinds = Counter((one.error, one.retryable) for one in failures)
    (error, retryable), often = kinds.most_common(1)[0]
    waits = [one.retry_after_seconds for one in failures if one.retry_after_seconds is not None]
    # only what most of them carry is carried by all of the scenario's
    wait = median(waits) if 2 * len(waits) > len(failures) else None
    share = float(f"{len(failures) / len(ended):.6g}")
    notes = []
    if len(kinds) > 1:
        notes.append(
            f"failures are {len(kinds)} kinds of errors; all are taken for the commonest, {error} "
            f"({often} of {len(failures)})"
        )
    if waits and wait is None:
        notes.append(f"{len(waits)} of {len(failures)} failures asked to wait; that is left out")
    first = [did.failure is not None for (_, attempt), did in all_ended.items() if attempt == 1]
    later = [did.failure is not None for (_, attempt), did in all_ended.items() if attempt > 1]
    # where retries are by themselves, that they fail less often is in the scenario
    lasting = retries is None or (retries and sum(later) * len(first) > sum(first) * len(later))
    if lasting and _differ(first, later):
        notes.append(
            f"first attempts fail in {sum(first) / len(first):.1%}, retries in "
            f"{sum(later) / len(later):.1%}: failures have causes that last, and a scenario draws "
            f"each attempt by itself"
        )
    took = [did.duration_ns or 0 for did in ended.values() if did.failure is None]
    took_failed = [did.duration_ns or 0 for did in ended.values() if did.failure is not None]
    if _unlike(took, took_failed):
        notes.append(
            f"failures take {median(took_failed) / 1e9:.3g} s, successes "
            f"{median(took) / 1e9:.3g} s (medians); a scenario has one duration for both"
        )
    return FailureFit(
        Fails(share, error, retryable, wait), len(failures), len(ended), probability, notes
    )


def _differ(first: Sequence[bool], later: Sequence[bool]) -> bool:
    """Fisher's exact test of two shares."""
    if not first or not later:
        return False
    import numpy as np  # noqa: PLC0415  # start-up time
    from scipy.stats import fisher_exact  # noqa: PLC0415  # slow to import

    table = np.array([[sum(some), len(some) - sum(some)] for some in (first, later)])
    return float(fisher_exact(table).pvalue) < _WARNED


def _unlike(some: Sequence[int], others: Sequence[int]) -> bool:
    """Mann and Whitney's test of two samples."""
    if len(some) < 5 or len(others) < 5:
        return False
    from scipy.stats import mannwhitneyu  # noqa: PLC0415  # slow to import

    return float(mannwhitneyu(some, others).pvalue) < _WARNED
