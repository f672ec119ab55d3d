"""PromQL, put together from the metrics that there are: a name that is none does not get here."""

from __future__ import annotations

from typing import Final

from telemetry.names import METRICS, PREFIX

__all__ = ["attempts_a_task", "failure_ratio", "gauge", "quantile", "rate", "ratio", "selector"]

#: What every query of a dashboard is narrowed to by the variables at its top.
VARIABLES: Final = 'job=~"$job", instance=~"$instance", pool=~"$pool"'
_WINDOW: Final = "$__rate_interval"


def full_name(name: str) -> str:
    """A metric's name as Prometheus has it.

    Args:
        name: its name in ``telemetry.names``.

    Returns:
        The name with its prefix, a counter's with ``_total``.

    Raises:
        KeyError: there is no such metric.
    """
    return f"{PREFIX}{name}" + ("_total" if METRICS[name].kind == "counter" else "")


def selector(name: str, part: str = "", where: str = "", common: str = VARIABLES) -> str:
    """The series of a metric.

    Args:
        name: its name in ``telemetry.names``.
        part: of a histogram: ``_bucket``, ``_sum`` or ``_count``.
        where: matchers of its own, such as ``outcome="ok"``.
        common: matchers that every selector has.

    Returns:
        The selector.

    Raises:
        ValueError: a part of what is no histogram, or none of one.
    """
    if (METRICS[name].kind == "histogram") != bool(part):
        raise ValueError(f"{name} is a {METRICS[name].kind}: part={part!r}")
    matchers = ", ".join(m for m in (common, where) if m)
    return f"{full_name(name)}{part}" + (f"{{{matchers}}}" if matchers else "")


def _by(labels: str) -> str:
    return f"sum by ({labels}) " if labels else "sum"


def rate(
    name: str, by: str = "", where: str = "", window: str = _WINDOW, common: str = VARIABLES
) -> str:
    """How much a counter grows a second.

    Args:
        name: a counter.
        by: labels to tell apart.
        where: matchers of its own.
        window: over which time.
        common: matchers that every selector has.

    Returns:
        The query.
    """
    return f"{_by(by)}(rate({selector(name, where=where, common=common)}[{window}]))"


def gauge(name: str, by: str = "", where: str = "", function: str = "sum") -> str:
    """A gauge now.

    Args:
        name: a gauge.
        by: labels to tell apart.
        where: matchers of its own.
        function: how series are put together.

    Returns:
        The query.
    """
    head = f"{function} by ({by}) " if by else function
    return f"{head}({selector(name, where=where)})"


def quantile(
    share: float,
    name: str,
    by: str = "",
    where: str = "",
    window: str = _WINDOW,
    common: str = VARIABLES,
) -> str:
    """A quantile of a histogram.

    Args:
        share: 0 to 1.
        name: a histogram.
        by: labels to tell apart.
        where: matchers of its own.
        window: over which time.
        common: matchers that every selector has.

    Returns:
        The query.
    """
    labels = f"le, {by}" if by else "le"
    series = selector(name, "_bucket", where, common)
    return f"histogram_quantile({share}, sum by ({labels}) (rate({series}[{window}])))"


def ratio(above: str, below: str) -> str:
    """One query over another; nothing where the other is 0, rather than a NaN.

    Args:
        above: the numerator.
        below: the denominator.

    Returns:
        The query.
    """
    return f"{above} / ({below} > 0)"


def failure_ratio(by: str = "", window: str = _WINDOW, common: str = VARIABLES) -> str:
    """The share of tasks that failed or timed out, of those that ended other than by a cancel.

    Args:
        by: labels to tell apart.
        window: over which time.
        common: matchers that every selector has.

    Returns:
        The query.
    """
    bad = rate("tasks_finished", by, 'outcome=~"error|timeout"', window, common)
    return ratio(bad, rate("tasks_finished", by, 'outcome!="cancelled"', window, common))


def attempts_a_task(by: str = "") -> str:
    """How many attempts a task takes, of those that end now.

    Args:
        by: labels to tell apart.

    Returns:
        The query.
    """
    return ratio(rate("attempts_finished", by), rate("tasks_finished", by))
