"""Targets, as they are written: ``task_seconds_p95<30``; and whether an interval meets one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from simulation.statistics import Interval
from simulation.whatif.measures import check_measure

__all__ = ["Target", "Verdict", "parse_target", "parse_targets", "verdict_of"]

#: ``met`` and ``missed`` by the whole interval; ``unclear`` where it reaches over the bound.
Verdict = Literal["met", "unclear", "missed"]

_WRITTEN: Final = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*$")
_SHARES: Final = ("success_rate", "utilization")


@dataclass(frozen=True)
class Target:
    """A bound on a measure.

    Args:
        measure: which.
        sign: ``<``, ``<=``, ``>`` or ``>=``.
        bound: in the measure's unit: seconds, a share of 1, or a number.

    Raises:
        ValueError: an unknown measure or sign, or a bound that no run can be held against.
    """

    measure: str
    sign: str
    bound: float

    def __post_init__(self) -> None:
        check_measure(self.measure, of="target")
        if self.sign not in ("<", "<=", ">", ">="):
            raise ValueError(f"target {self.measure}: {self.sign!r} is none of <, <=, >, >=")
        if not 0 <= self.bound < math.inf:
            raise ValueError(f"target {self}: the bound must be a number, 0 or more")
        if self.measure in _SHARES and self.bound > 1:
            raise ValueError(
                f"target {self}: {self.measure} is a share, 0 to 1; write {self.bound / 100:g} "
                f"for {self.bound:g} %"
            )

    def __str__(self) -> str:
        return f"{self.measure}{self.sign}{self.bound:g}"

    @property
    def below(self) -> bool:
        """Whether the measure is to be below the bound."""
        return self.sign.startswith("<")

    def holds(self, value: float) -> bool:
        """Whether a value meets it; NaN does not.

        Args:
            value: of the measure.
        """
        if self.sign == "<":
            return value < self.bound
        if self.sign == "<=":
            return value <= self.bound
        return value > self.bound if self.sign == ">" else value >= self.bound

    def verdict(self, interval: Interval) -> Verdict:
        """Whether all of an interval meets it, or none.

        Args:
            interval: of the measure.

        Returns:
            ``unclear`` where only a part does, or nothing is known.
        """
        low, high = self.holds(interval.low), self.holds(interval.high)
        if low and high:
            return "met"
        unknown = math.isnan(interval.low) or math.isnan(interval.high)
        return "unclear" if low or high or unknown else "missed"

    def shortfall(self, value: float) -> float:
        """How far a value is on the wrong side, in the bound's own size; below 0 on the right one.

        Args:
            value: of the measure.
        """
        if math.isnan(value):
            return math.inf
        wrong = value - self.bound if self.below else self.bound - value
        return wrong / (self.bound or 1.0)


def parse_target(text: str) -> Target:
    """Read a target.

    Args:
        text: such as ``task_seconds_p95<30`` or ``success_rate>=0.99``.

    Raises:
        ValueError: it is none; the message says what is wrong.

    Example:
        >>> parse_target("task_seconds_p95 < 30")
        Target(measure='task_seconds_p95', sign='<', bound=30.0)
    """
    found = _WRITTEN.match(text)
    if found is None:
        raise ValueError(
            f"target {text!r}: must be MEASURE<NUMBER, or with <=, > or >=, such as "
            f"task_seconds_p95<30"
        )
    measure, sign, bound = found.groups()
    try:
        number = float(bound)
    except ValueError:
        raise ValueError(f"target {text!r}: {bound!r} is no number") from None
    return Target(measure, sign, number)


def parse_targets(given: Iterable[str | Target]) -> list[Target]:
    """Read several.

    Args:
        given: targets, or how they are written; one alone is taken as such.

    Returns:
        The targets.

    Raises:
        ValueError: there is none, or one is none.
    """
    one = [given] if isinstance(given, str | Target) else list(given)
    targets = [text if isinstance(text, Target) else parse_target(text) for text in one]
    if not targets:
        raise ValueError("no target: give one, such as task_seconds_p95<30")
    return targets


def verdict_of(targets: Iterable[Target], outcome: Mapping[str, Interval]) -> Verdict:
    """Whether an outcome meets all of some targets.

    Args:
        targets: the targets.
        outcome: the measures' intervals.

    Returns:
        ``met`` where all are, ``missed`` where one is, else ``unclear``.
    """
    verdicts = {target.verdict(outcome[target.measure]) for target in targets}
    if "missed" in verdicts:
        return "missed"
    return "unclear" if "unclear" in verdicts else "met"
