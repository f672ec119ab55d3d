"""The timeline's attempts as columns of 32-bit integers, packed for the page's script.

Of 100,000 attempts and several runs most is never looked at, so the page holds it as one compressed
block, and its script unpacks the columns of a run when that run is shown. Instants are ticks since
the run's first submission; a tick is a 2**31st of the longest run, or a nanosecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from simulation.timeline.attempts import Attempt, Timeline
from simulation.timeline.lateness import Link

__all__ = ["WHATS", "Columns"]

#: What a renderer of the timeline draws, in the order in which it is drawn.
WHATS: Final = (
    "abandoned", "ok", "error", "timeout", "cancelled", "running", "retry", "critical",
)  # fmt: skip
_MOST: Final = (1 << 31) - 1


class Columns:
    """Packs the runs of a page, one after the other.

    Args:
        longest_ns: how long the longest of them takes.

    Attributes:
        tick_ns: the length of a tick.
        errors: the types of exceptions; attempts have an index into it.
    """

    def __init__(self, longest_ns: int) -> None:
        self.tick_ns = max(1, -(-longest_ns // _MOST))
        self.errors: list[str] = [""]
        self._known: dict[str, int] = {"": 0}
        self._parts: list[bytes] = []
        self._length = 0

    def pack(self, timeline: Timeline, chain: Sequence[Link]) -> dict[str, Any]:
        """Pack a run.

        Args:
            timeline: the run.
            chain: its critical chain.

        Returns:
            By what is drawn the column names, each with its place in the block, in integers.
        """
        by_what: dict[str, list[Attempt]] = {what: [] for what in WHATS}
        for attempt in timeline.attempts:
            by_what[attempt.outcome].append(attempt)
            if attempt.abandoned:
                by_what["abandoned"].append(attempt)
            if attempt.number > 1:
                by_what["retry"].append(attempt)
        packed = {what: self._attempts(timeline, what, some) for what, some in by_what.items()}
        ran = [link for link in chain if link.slot >= 0]
        packed["critical"] = self._columns(
            y=[link.slot + 1 for link in ran],
            left=self._ticks(timeline, [link.from_ns for link in ran]),
            right=self._ticks(timeline, [link.to_ns for link in ran]),
        )
        return packed

    def _attempts(self, timeline: Timeline, what: str, some: Sequence[Attempt]) -> dict[str, Any]:
        if what == "abandoned":
            left = [a.end_at_ns for a in some]
            right = [timeline.last_ns if a.home_at_ns is None else a.home_at_ns for a in some]
            code = [int(a.home_at_ns is not None) for a in some]
        else:
            left = [a.start_at_ns for a in some]
            right = [a.end_at_ns for a in some]
            code = [2 * self._error(a.error) + bool(a.retry) for a in some]
        return self._columns(
            y=[a.slot + 1 for a in some],
            left=self._ticks(timeline, left),
            right=self._ticks(timeline, right),
            task=[a.task for a in some],
            attempt=[a.number for a in some],
            code=code,
        )

    def _error(self, error: str) -> int:
        index = self._known.setdefault(error, len(self.errors))
        if index == len(self.errors):
            self.errors.append(error)
        return index

    def _ticks(self, timeline: Timeline, instants: Sequence[int]) -> Any:
        return (np.array(instants, dtype=np.int64) - timeline.first_ns) // self.tick_ns

    def _columns(self, **columns: Any) -> dict[str, Any]:
        places: dict[str, Any] = {}
        for name, values in columns.items():
            column = np.asarray(values, dtype="<i4")
            places[name] = [self._length, len(column)]
            self._parts.append(column.tobytes())
            self._length += len(column)
        return places

    @property
    def block(self) -> bytes:
        """All columns, little-endian, one after the other."""
        return b"".join(self._parts)
