"""Distributions to draw from by key: each is its inverse cumulative distribution function.

A draw is ``distribution.at(u)`` with a keyed u in [0, 1) (see ``runtime.core.keyed``), so one
attempt's duration depends on the seed, the task and the attempt alone, never on what else is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from runtime.config import LONGEST_SECONDS

__all__ = [
    "Constant",
    "Distribution",
    "Empirical",
    "Exponential",
    "LogNormal",
    "Uniform",
]


class Distribution(Protocol):
    """Something to draw seconds from. It may also have ``all_at(us)``, the list of ``at`` of each:
    where that is quicker.
    """

    def at(self, u: float) -> float:
        """The value below which a share ``u`` of draws lies; ``u`` in [0, 1)."""


def all_at(distribution: Distribution, us: Sequence[float]) -> list[float]:
    """The values of many draws.

    Args:
        distribution: what they are drawn from.
        us: the draws, each in [0, 1).

    Returns:
        ``distribution.at(u)`` for each.
    """
    quicker = getattr(distribution, "all_at", None)
    at = distribution.at
    return quicker(us) if quicker is not None else [at(u) for u in us]


def _check(
    name: str, value: float, *, positive: bool = False, most: float = LONGEST_SECONDS
) -> None:
    nan = isinstance(value, float) and math.isnan(value)
    if nan or not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be a number")
    if value > most:
        raise ValueError(f"{name}={value!r}: must be at most {most:g}")
    if value < 0 or (positive and value == 0):
        raise ValueError(f"{name}={value!r}: must be {'more than 0' if positive else '0 or more'}")


def check_constant(seconds: float) -> None:
    """Refuse what can be nobody's duration.

    Args:
        seconds: how long; ``math.inf`` never ends.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or too long.
    """
    _check("seconds", seconds, most=math.inf)
    if LONGEST_SECONDS < seconds < math.inf:
        raise ValueError(f"seconds={seconds!r}: at most {LONGEST_SECONDS:g}, or inf")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same.

    Args:
        seconds: the value; ``math.inf`` never ends.

    Example:
        >>> Constant(2.0).at(0.5)
        2.0
    """

    seconds: float

    def __post_init__(self) -> None:
        check_constant(self.seconds)

    def at(self, u: float) -> float:
        """The value."""
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly between two bounds.

    Args:
        low: the lower bound in seconds.
        high: the upper bound in seconds.

    Example:
        >>> Uniform(1.0, 3.0).at(0.5)
        2.0
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check("low", self.low)
        _check("high", self.high)
        if self.high < self.low:
            raise ValueError(f"high={self.high!r}: must not be below low={self.low!r}")

    def at(self, u: float) -> float:
        """``low + u * (high - low)``."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless.

    Args:
        mean: the mean in seconds.

    Example:
        >>> round(Exponential(mean=2.0).at(0.5), 3)  # the median is mean * ln 2
        1.386
    """

    mean: float

    def __post_init__(self) -> None:
        _check("mean", self.mean, positive=True)

    def at(self, u: float) -> float:
        """``-mean * ln(1 - u)``."""
        return -self.mean * math.log1p(-u)

    def all_at(self, us: Sequence[float]) -> list[float]:
        """``at`` of each."""
        scale, log1p = -self.mean, math.log1p
        return [scale * log1p(-u) for u in us]


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The usual shape of service times: most short, some long.

    Args:
        median: half of the draws are below it, in seconds.
        sigma: the standard deviation of the logarithm, at most 20; p95 is
            ``median * exp(1.645 * sigma)``.

    Example:
        >>> LogNormal(median=3.0, sigma=0.5).at(0.5)
        3.0
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        _check("median", self.median, positive=True)
        _check("sigma", self.sigma, most=20)  # of a logarithm: at 20, p95 is 10**14 medians

    def at(self, u: float) -> float:
        """``median * exp(sigma * z)`` with z the standard normal quantile."""
        if u <= 0.0:
            return 0.0 if self.sigma else self.median
        return self.median * math.exp(self.sigma * _STANDARD.inv_cdf(u))


_STANDARD = NormalDist()


@dataclass(frozen=True, slots=True)
class Empirical:
    """As observed: each value is drawn equally often.

    Args:
        values: seconds, at least one.

    Example:
        >>> Empirical((3.0, 1.0, 2.0)).at(0.4)
        2.0
    """

    values: Sequence[float]

    def __post_init__(self) -> None:
        if not isinstance(self.values, list | tuple):
            raise TypeError(f"values={self.values!r}: must be a list of seconds")
        if not self.values:
            raise ValueError("values=(): at least one is needed")
        for value in self.values:
            _check("values", value)
        object.__setattr__(self, "values", tuple(sorted(self.values)))

    def at(self, u: float) -> float:
        """The ``floor(u * n)``-th of the sorted values."""
        return self.values[int(u * len(self.values))]
