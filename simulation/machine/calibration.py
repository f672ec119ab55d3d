"""What a machine costs: figures that a calibration run measures, and the file that keeps them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from runtime.files import FileError, read_file

__all__ = ["Calibration", "CalibrationError", "read_calibration"]

#: The version of the file's format.
FORMAT: Final = 1
_MOST_BYTES: Final = 1 << 20


class CalibrationError(ValueError):
    """A calibration file that cannot be used; the message says why."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured on one machine.

    Args:
        twinclock_calibration: the version of the format.
        python: the interpreter.
        cores: that the process may use.
        gil: whether the interpreter has one.
        pool_ns: CPU time that the pool itself takes for a task, journal and all, in nanoseconds.
        handover_ns: from the decision to start an attempt to its first instruction, in an idle
            process; recorded durations contain it.
        switch_ns: to hand the CPU (the GIL, where there is one) from a thread that begins to wait
            to one that waits for it; recorded durations contain it.
        timer_lag_ns: how much later than asked for a sleep is over; recorded durations contain it.
        scaling: work done a second by 1, 2, 4, ... threads that only compute, to that of one.
        load: the machine's load average when the run began; much of it makes the rest unsure.
    """

    twinclock_calibration: int
    python: str
    cores: int
    gil: bool
    pool_ns: int
    handover_ns: int
    switch_ns: int
    timer_lag_ns: int
    scaling: dict[int, float]
    load: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether something else ran that may have spoilt the figures."""
        return self.load > self.cores / 2

    def efficiency(self, processors: int) -> tuple[float, ...]:
        """What so many that compute at once get done, to what they would without any loss.

        Args:
            processors: how many compute at once.

        Returns:
            A share for 1, 2, 3, ... threads; between measured numbers of threads on a line. What is
            above 1 is noise, and is cut off; so is a share below that of more threads, since
            whatever else runs on the machine only ever makes a figure worse.

        Example:
            >>> scaling = {1: 1.0, 2: 0.98, 4: 0.94}
            >>> Calibration(1, "", 2, True, 0, 0, 0, 0, scaling).efficiency(1)
            (1.0, 0.98, 0.96, 0.94)
        """
        shares = [
            (threads, min(1.0, done / min(threads, processors)))
            for threads, done in sorted(self.scaling.items())
        ]
        most = 0.0
        for place in range(len(shares) - 1, -1, -1):
            most = max(most, shares[place][1])
            shares[place] = shares[place][0], most
        line = [shares[0][1]]
        for (low, at_low), (high, at_high) in pairwise(shares):
            step = (at_high - at_low) / (high - low)
            line += [round(at_low + step * n, 6) for n in range(1, high - low + 1)]
        return tuple(line)


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Args:
        path: what ``python -m simulation calibrate -o`` wrote.

    Returns:
        The calibration.

    Raises:
        CalibrationError: it is missing, or no calibration that this version can use.
    """
    try:
        name, data = read_file(path, most=_MOST_BYTES)
        read = msgspec.json.decode(data, type=Calibration)
    except FileError as error:
        hint = "" if Path(path).exists() else f"; python -m simulation calibrate -o {path} makes it"
        raise CalibrationError(f"{error}{hint}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CalibrationError(f"{name}: not a calibration file: {error}") from None
    wrong = _what_is_wrong(read)
    if wrong:
        raise CalibrationError(f"{path}: {wrong}")
    return read


def _what_is_wrong(read: Calibration) -> str | None:
    if read.twinclock_calibration != FORMAT:
        return (
            f"twinclock_calibration={read.twinclock_calibration}: this version reads {FORMAT}; "
            f"calibrate again"
        )
    for name in ("pool_ns", "handover_ns", "switch_ns", "timer_lag_ns"):
        if not 0 <= getattr(read, name) <= 1_000_000_000:
            return f"{name}={getattr(read, name)}: must be 0 to 1,000,000,000 nanoseconds"
    if read.cores < 1:
        return f"cores={read.cores}: must be 1 or more"
    if 1 not in read.scaling or not all(
        1 <= threads <= 1024 and 0.01 <= done <= threads for threads, done in read.scaling.items()
    ):
        return f"scaling={read.scaling}: must be work done by 1, 2, ... threads, to that of one"
    return None
