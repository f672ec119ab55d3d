"""Where a probability lies, given how often something happened.

Wilson's score interval (Wilson, JASA 22, 1927) stays within 0 to 1 and has a width where nothing or
everything failed; the textbook's ``p +- z sqrt(p (1 - p) / n)`` has none there (Brown, Cai and
DasGupta, Statistical Science 16(2), 2001). With 0 failures of n it says about the same as the rule
of three: at most 3 / n.

Its unit is an independent trial. Tasks of one run are not: an outage fails many at once. Where a
rate comes from replications, each run is a *cluster*, and what counts is the effective number of
trials: n over the design effect, which is the variance of the clusters' ratio over the one that
independent trials would have (Korn and Graubard, Survey Methodology 24(2), 1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulation.statistics.intervals import LEVEL, Interval, normal_quantile, t_quantile

__all__ = ["clustered_rate", "next_rate", "wilson"]


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Wilson's interval for a probability.

    Args:
        successes: of n trials; a fraction where n is an effective number.
        n: trials.
        level: how sure.

    Returns:
        The share of successes, and between which values their probability lies; NaN, and 0 to 1,
        for no trial.

    Raises:
        ValueError: not 0 <= successes <= n.

    Example:
        >>> found = wilson(300, 300)
        >>> found.mean, round(found.low, 4), found.high
        (1.0, 0.9874, 1.0)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: must be 0 to n")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, level, "rate")
    z = normal_quantile((1 + level) / 2)
    share = successes / n
    below = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / below
    half = z / below * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(share, low, high, level, "rate")


def clustered_rate(
    successes: Sequence[float], trials: Sequence[float], level: float = LEVEL
) -> Interval:
    """Wilson's interval for a probability from replications, each a cluster of trials.

    Args:
        successes: of each replication.
        trials: of each replication.
        level: how sure.

    Returns:
        The share over all, and between which values the probability lies. Clusters count as
        independent; trials within one as far as the clusters show. The design effect is never
        taken to be below 1, and the quantile is Student's, as few clusters estimate it badly.

    Raises:
        ValueError: the two are not of one length, or out of range.
    """
    if len(successes) != len(trials):
        raise ValueError(f"{len(successes)} and {len(trials)} replications")
    n, good = math.fsum(trials), math.fsum(successes)
    plain = wilson(good, n, level)
    count = len(trials)
    if count < 2 or not 0 < good < n:
        return plain
    share = good / n
    residuals = math.fsum((s - share * t) ** 2 for s, t in zip(successes, trials, strict=True))
    variance = count / (count - 1) * residuals / n**2
    effect = max(1.0, variance / (share * (1 - share) / n))
    ratio = normal_quantile((1 + level) / 2) / t_quantile((1 + level) / 2, count - 1)
    effective = n / effect * ratio**2
    return wilson(share * effective, effective, level)


def next_rate(successes: float, n: int, following: int, level: float = LEVEL) -> Interval:
    """Between which values the share of successes of the next trials lies.

    It is the beta-binomial prediction under Jeffreys' prior, Beta(1/2, 1/2): both what n trials
    leave open of the probability and the luck of the next ones are in it (Brown, Cai and DasGupta
    for the prior; Gelman and others, 'Bayesian Data Analysis', 3rd ed., section 2.4).

    Args:
        successes: of n trials.
        n: trials so far.
        following: trials that come.
        level: how sure.

    Returns:
        The share so far, and the interval of the share that comes.

    Raises:
        ValueError: not 0 <= successes <= n, or no trial.

    Example:
        >>> found = next_rate(300, 300, 300)
        >>> round(found.low, 4), found.high
        (0.99, 1.0)
    """
    if not 0 <= successes <= n or n < 1 or following < 1:
        raise ValueError(
            f"{successes} successes of {n}, then {following}: must be 0 to n, 1 or more"
        )
    import numpy as np  # noqa: PLC0415  # start-up time
    from scipy.special import betaln, gammaln  # noqa: PLC0415  # 0.1 s that only this needs

    a, b = successes + 0.5, n - successes + 0.5
    k = np.arange(following + 1)
    choose = gammaln(following + 1) - gammaln(k + 1) - gammaln(following - k + 1)
    up_to = np.cumsum(np.exp(choose + betaln(k + a, following - k + b) - betaln(a, b)))
    tail = (1 - level) / 2
    low = int(np.searchsorted(up_to, tail))
    high = min(following, int(np.searchsorted(up_to, 1 - tail)))
    return Interval(successes / n, low / following, high / following, level, "next run")
