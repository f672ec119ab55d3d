"""How many replications are enough.

Replications are made until the half-width of the mean's interval is small enough, but at least 30
(Law, 'Simulation Modeling and Analysis', 5th ed., section 9.4.1, the sequential procedure). An
interval that stops as soon as it looks narrow covers less than it says, since it stops sooner
where the variance was underestimated by luck; with 30 to begin with that is lost in the noise.

A relative precision g is asked of the *estimated* mean, which is itself off by up to as much. So
``half <= g / (1 + g) * |mean|`` is asked, and then the *true* mean is within g of it (the same
section).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulation.statistics.intervals import LEVEL, student

__all__ = ["Precision", "enough"]


@dataclass(frozen=True)
class Precision:
    """How well a mean is to be known; whichever of the two is reached first counts.

    Args:
        relative: half-width over the mean, such as 0.02; ``None`` for not asked.
        absolute: half-width in the measure's own unit; ``None`` for not asked.
        at_least: replications before anything is judged.
        at_most: replications after which it is enough whatever was reached.
        level: of the interval.

    Raises:
        ValueError: a value out of range, or nothing is asked.
    """

    relative: float | None = 0.02
    absolute: float | None = None
    at_least: int = 30
    at_most: int = 1000
    level: float = LEVEL

    def __post_init__(self) -> None:
        if self.relative is None and self.absolute is None:
            raise ValueError("a precision needs relative or absolute")
        if self.relative is not None and not 0 < self.relative < 1:
            raise ValueError(f"relative={self.relative}: must be over 0 and below 1")
        if self.absolute is not None and not self.absolute > 0:
            raise ValueError(f"absolute={self.absolute}: must be over 0")
        if not 2 <= self.at_least <= self.at_most:
            raise ValueError(
                f"at_least={self.at_least}, at_most={self.at_most}: must be 2 or more, in order"
            )


def enough(replications: Sequence[float], precision: Precision | float) -> bool:
    """Whether a mean over replications is known well enough.

    Args:
        replications: one value of each so far.
        precision: what is asked; a number for a relative precision, with the usual limits.

    Returns:
        Whether to stop. A mean of exactly 0 that never varied is known; a NaN stays NaN however
        often it is asked, so it is enough, too.

    Example:
        >>> enough([10.0, 10.1] * 15, Precision(relative=0.01))
        True
        >>> enough([10.0, 10.1] * 14, Precision(relative=0.01))
        False
    """
    wanted = precision if isinstance(precision, Precision) else Precision(relative=precision)
    if len(replications) < wanted.at_least:
        return False
    if len(replications) >= wanted.at_most:
        return True
    interval = student(replications, wanted.level)
    half = (interval.high - interval.low) / 2
    if not half > 0:  # no width, or NaN
        return True
    if wanted.absolute is not None and half <= wanted.absolute:
        return True
    relative = wanted.relative
    return relative is not None and half <= relative / (1 + relative) * abs(interval.mean)
