"""What one sample leaves open: draw it again, and then draw the next from that.

One journal is one sample of what the work could have been. Two things make the next one another:
nobody knows the distribution exactly that the recorded tasks came from, and the next tasks are
other draws from it. So it is drawn in two stages:

* the *pool* is a resample of the recorded tasks, with replacement: a distribution that the
  recording may as well have come from (Efron, Annals of Statistics 7(1), 1979);
* the next run's tasks are drawn from the pool.

A mean over n such tasks varies by ``sqrt(2) * s / sqrt(n)``, which is what the error of predicting
one sample mean from another is. Resampling once would leave out the one or the other half.
(Within the simulation literature the first stage is the bootstrap for input uncertainty: Barton and
Schruben, Winter Simulation Conference 1993 and 2001.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["two_stages"]

Member = TypeVar("Member")


def two_stages(
    members: Sequence[Member], draw: Callable[[], float]
) -> tuple[list[Member], list[Member]]:
    """Draw a pool from a sample, and as many again from the pool.

    Args:
        members: the sample.
        draw: gives numbers from 0 to below 1, evenly.

    Returns:
        The pool, and what was drawn from it; each as long as the sample.

    Example:
        >>> from random import Random
        >>> pool, drawn = two_stages("abcdef", Random(1).random)
        >>> len(pool), set(drawn) <= set(pool) <= set("abcdef")
        (6, True)
    """
    count = len(members)
    pool = [members[int(draw() * count)] for _ in range(count)]
    return pool, [pool[int(draw() * count)] for _ in range(count)]
