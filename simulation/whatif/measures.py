"""The measures by which settings are judged."""

from __future__ import annotations

import difflib
from typing import Final

from simulation.outcome import MEASURES

__all__ = ["ALL_MEASURES", "BETTER_HIGH", "check_measure", "check_runs"]

#: The measures of a run, and the attempts that a task took on average: what a retry policy costs
#: whoever is called.
ALL_MEASURES: Final = (*MEASURES, "amplification")
#: Measures of which more is better; of all others less is.
BETTER_HIGH: Final = frozenset({"success_rate", "completed", "utilization"})


def check_measure(name: str, *, of: str) -> None:
    """Raise unless this is a measure.

    Args:
        name: what was given.
        of: to what it was given, for the message.

    Raises:
        ValueError: it is none, with the nearest right name.
    """
    if name not in ALL_MEASURES:
        near = difflib.get_close_matches(name, ALL_MEASURES, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ALL_MEASURES)}"
        raise ValueError(f"{of} {name!r}: no measure of a run; {hint}")


def check_runs(runs: int | None, seed: int) -> None:
    """Raise unless these are a number of replications and a seed.

    Args:
        runs: replications, ``None`` for the default.
        seed: the first seed.

    Raises:
        ValueError: one is out of range.
    """
    if runs is not None and runs < 1:
        raise ValueError(f"runs={runs}: must be 1 or more")
    if seed < 0:
        raise ValueError(f"seed={seed}: must be 0 or more")
