"""Many comparisons at once: of twenty that mean nothing, one looks as if it did."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number: Holm, Scandinavian Journal of Statistics 6(2), 1979.

    The smallest counts m times, the next m - 1 times and so on, and none less than one before it.
    Whoever takes those below 0.05 is wrong about any of them at most once in twenty sweeps,
    however the comparisons hang together.

    Args:
        p_values: of each comparison; NaN for one that could not be made.

    Returns:
        The adjusted ones in the same order, at most 1; NaN stays, and is not counted.

    Raises:
        ValueError: one is not 0 to 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for p_value in p_values:
        if not (math.isnan(p_value) or 0 <= p_value <= 1):
            raise ValueError(f"p-value {p_value}: must be 0 to 1")
    adjusted = [math.nan] * len(p_values)
    known = [index for index, p_value in enumerate(p_values) if not math.isnan(p_value)]
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(known) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
