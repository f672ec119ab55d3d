"""Which distribution durations come from, where some are only known to exceed a bound.

Candidates are fitted by maximum likelihood, a censored duration counting with the probability to
be longer (Lawless, 'Statistical Models and Methods for Lifetime Data', 2nd ed., section 2.2), and
the one with the smallest AIC is held against the data: its largest distance from the Kaplan-Meier
estimate, and how often data that really come from it, censored and fitted in the same way, are as
far away (a parametric bootstrap, since the fitted parameters make the plain Kolmogorov-Smirnov test
too lenient: Lilliefors, JASA 62, 1967). Where that is less than once in twenty the durations are
taken as they were seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import log_ndtr, ndtr

from simulation.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Uniform,
)
from simulation.statistics.survival import kaplan_meier

__all__ = ["DurationFit", "fit_durations"]

#: With fewer durations than this nothing can be told from anything.
FEWEST: Final = 20
#: Spread over median up to which durations are called constant.
_CONSTANT: Final = 0.02
#: A p-value below this speaks against a distribution.
REJECTED: Final = 0.05
_RESAMPLES: Final = 99
#: Values of an empirical distribution, so that a file stays readable.
_MOST_VALUES: Final = 200
_NEVER: Final = 1e-9  # seconds that stand for none, so that a logarithm has a value

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class DurationFit:
    """A distribution, and how well it fits.

    Args:
        distribution: what was taken.
        kind: its name in a scenario: ``constant``, ``exponential``, ``lognormal``, ``uniform`` or
            ``empirical``.
        attempts: durations that were seen.
        censored: attempts of which only a bound is known.
        aic: of each candidate.
        distance: the largest distance of the best candidate from what was seen, 0 to 1.
        p_value: how often true data are as far away; NaN where it was not tested.
        beyond: the share of attempts that are longer than all that were seen: there the
            distribution is an extrapolation.
    """

    distribution: Distribution
    kind: str
    attempts: int
    censored: int
    aic: dict[str, float]
    distance: float
    p_value: float
    beyond: float


def fit_durations(
    seen_ns: Sequence[int], censored_ns: Sequence[int] = (), seed: int = 0
) -> DurationFit:
    """Choose a distribution.

    Args:
        seen_ns: durations in nanoseconds.
        censored_ns: bounds of those that were longer than could be seen.
        seed: keys the bootstrap.

    Returns:
        The choice.

    Raises:
        ValueError: no duration was seen.
    """
    if not seen_ns:
        raise ValueError("no attempt came to its end, so there is no duration to fit")
    lifetimes = kaplan_meier([(value, None) for value in seen_ns], censored_ns)
    beyond = lifetimes.beyond if lifetimes.beyond > 1e-9 else 0.0
    seen = np.maximum(np.sort(np.asarray(seen_ns, dtype=float)) / 1e9, _NEVER)
    bounds = np.maximum(np.sort(np.asarray(censored_ns, dtype=float)) / 1e9, _NEVER)
    count = len(seen), len(bounds)
    median = float(np.median(seen))
    if not beyond and seen[-1] - seen[0] <= _CONSTANT * median:
        return DurationFit(Constant(_short(median)), "constant", *count, {}, 0.0, math.nan, 0.0)
    if not beyond and len(seen) < FEWEST:
        return DurationFit(_empirical(lifetimes), "empirical", *count, {}, 0.0, math.nan, 0.0)
    models = {kind: fitted for kind, fitted in _fits(seen, bounds).items() if fitted is not None}
    aic = {
        kind: 2 * len(fitted) - 2 * _log_likelihood(kind, fitted, seen, bounds)
        for kind, fitted in models.items()
    }
    best = min(aic, key=lambda kind: aic[kind])
    distance = _distance(best, models[best], seen, bounds)
    p_value = _p_value(best, models[best], seen, bounds, distance, seed)
    if p_value < REJECTED and not beyond:
        chosen: Distribution = _empirical(lifetimes)
        kind = "empirical"
    else:
        chosen, kind = _made(best, models[best]), best
    return DurationFit(chosen, kind, *count, aic, distance, p_value, beyond)


def _short(value: float) -> float:
    """Six digits: more are noise, and a file is read by people."""
    return float(f"{value:.6g}")


def _made(kind: str, parameters: Sequence[float]) -> Distribution:
    rounded = [_short(value) for value in parameters]
    if kind == "exponential":
        return Exponential(*rounded)
    return LogNormal(*rounded) if kind == "lognormal" else Uniform(*rounded)


def _empirical(lifetimes: Any) -> Empirical:
    """As it was seen, in equal parts of the Kaplan-Meier estimate."""
    count = min(_MOST_VALUES, len(lifetimes.values))
    if lifetimes.size == len(lifetimes.values) and count == lifetimes.size:
        return Empirical(tuple(_short(value / 1e9) for value in lifetimes.values))
    drawn = [lifetimes.draw((at + 0.5) / count) for at in range(count)]
    return Empirical(tuple(_short(one[0] / 1e9) for one in drawn if one is not None))


# ------------------------------------------------------------------------------------- candidates


def _fits(seen: _Array, bounds: _Array) -> dict[str, tuple[float, ...] | None]:
    spread = seen[-1] > seen[0]
    return {
        "exponential": ((float(seen.sum() + bounds.sum()) / len(seen)),),
        "lognormal": _fit_lognormal(seen, bounds) if spread else None,
        "uniform": (float(seen[0]), float(seen[-1])) if spread and not len(bounds) else None,
    }


def _fit_lognormal(seen: _Array, bounds: _Array) -> tuple[float, float]:
    """Median and sigma, by expectation and maximization where some are censored.

    Given a bound, the logarithm is a normal cut off below: its mean is ``mu + sigma * h`` and its
    variance ``sigma**2 * (1 + a * h - h * h)``, with ``a`` the standardized bound and ``h`` the
    hazard there.
    """
    logs, cut = np.log(seen), np.log(bounds)
    mu, sigma = float(logs.mean()), float(logs.std())
    if len(cut):
        everything = len(logs) + len(cut)
        for _ in range(500):
            a = (cut - mu) / sigma
            hazard = np.exp(-0.5 * a * a - 0.5 * math.log(2 * math.pi) - log_ndtr(-a))
            expected = mu + sigma * hazard
            scatter = sigma**2 * (1 + a * hazard - hazard * hazard)
            new = float(logs.sum() + expected.sum()) / everything
            square = ((logs - new) ** 2).sum() + (scatter + (expected - new) ** 2).sum()
            moved = abs(new - mu) + abs(math.sqrt(square / everything) - sigma)
            mu, sigma = new, math.sqrt(float(square) / everything)
            if moved < 1e-9 * (1 + abs(mu)):
                break
    return math.exp(mu), min(sigma, 20.0)


def _log_likelihood(kind: str, of: Sequence[float], seen: _Array, bounds: _Array) -> float:
    if kind == "exponential":
        (mean,) = of
        return -len(seen) * math.log(mean) - float(seen.sum() + bounds.sum()) / mean
    if kind == "uniform":
        return -len(seen) * math.log(of[1] - of[0])
    median, sigma = of
    z = (np.log(seen) - math.log(median)) / sigma
    inside = -0.5 * z * z - np.log(seen * sigma) - 0.5 * math.log(2 * math.pi)
    outside = log_ndtr(-(np.log(bounds) - math.log(median)) / sigma)
    return float(inside.sum() + outside.sum())


def _below(kind: str, of: Sequence[float], values: _Array) -> _Array:
    """The share of the distribution below each value."""
    if kind == "exponential":
        found = -np.expm1(-values / of[0])
    elif kind == "uniform":
        found = np.clip((values - of[0]) / (of[1] - of[0]), 0.0, 1.0)
    else:
        found = ndtr((np.log(values) - math.log(of[0])) / of[1])
    return np.asarray(found, dtype=float)


def _drawn(kind: str, of: Sequence[float], us: _Array) -> _Array:
    from scipy.special import ndtri  # noqa: PLC0415  # of this alone

    if kind == "exponential":
        return np.asarray(-of[0] * np.log1p(-us), dtype=float)
    if kind == "uniform":
        return np.asarray(of[0] + us * (of[1] - of[0]), dtype=float)
    return np.asarray(of[0] * np.exp(of[1] * ndtri(us)), dtype=float)


# --------------------------------------------------------------------------------- goodness of fit


def _distance(kind: str, of: Sequence[float], seen: _Array, bounds: _Array) -> float:
    """The largest distance from the Kaplan-Meier estimate, on either side of each step."""
    running = len(seen) + len(bounds) - np.arange(len(seen)) - np.searchsorted(bounds, seen)
    survival = np.cumprod(1.0 - 1.0 / running)
    below = _below(kind, of, seen)
    after, before = 1.0 - survival, np.concatenate([[0.0], 1.0 - survival[:-1]])
    return float(max(np.abs(after - below).max(), np.abs(before - below).max()))


def _p_value(
    kind: str, of: Sequence[float], seen: _Array, bounds: _Array, distance: float, seed: int
) -> float:
    """How often data from the distribution itself are as far from their own fit."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = len(seen) + len(bounds)
    # What censors is a limit that was set beforehand: the one that was met, for each in turn.
    limits = np.full(size, np.inf)
    if len(bounds):
        limits[:] = generator.choice(bounds, size)
    farther = 0
    for _ in range(_RESAMPLES):
        values = np.maximum(_drawn(kind, of, generator.random(size)), _NEVER)
        ended = values <= limits
        if ended.sum() < 2:
            continue
        new, cut = np.sort(values[ended]), np.sort(limits[~ended])
        again = _fits(new, cut)[kind]
        farther += again is None or _distance(kind, again, new, cut) >= distance
    return (1 + farther) / (1 + _RESAMPLES)
