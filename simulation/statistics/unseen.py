"""A failure that a sample has not shown.

Where n attempts have shown no failure, the rule of three bounds its probability by 3 / n (Hanley
and Lippman-Hand, JAMA 249(13), 1983). Half a failure is added to what was seen, which is Jeffreys'
prior: the probability of one that was not seen is Beta(1/2, n + 1/2).
"""

from __future__ import annotations

__all__ = ["unseen_rate"]


def unseen_rate(n: int, u: float) -> float:
    """A probability of what n trials have not shown.

    Args:
        n: trials.
        u: from 0 to below 1, drawn evenly.

    Returns:
        The u quantile of Beta(1/2, n + 1/2).

    Raises:
        ModuleNotFoundError: scipy is not there.
    """
    from scipy.special import betaincinv  # noqa: PLC0415  # 0.1 s that only this needs

    return float(betaincinv(0.5, n + 0.5, u))
