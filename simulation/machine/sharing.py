"""Processor sharing in virtual time: jobs that are there at once share a rate equally.

With n jobs present, each gets ``rate(n) / n``. Rather than to shorten what every job has left at
each arrival and each departure, which takes O(n), one *credit* is kept: what a job would have got
that was there from the beginning. It grows at the rate of a single job. A job that comes when the
credit is v, with work w, is done when the credit reaches v + w, whoever else comes and goes; so the
jobs leave in the order of a heap, and an arrival or a departure costs O(log n). The idea is the
virtual time of fair queueing (Parekh and Gallager, 'A generalized processor sharing approach to
flow control', IEEE/ACM Transactions on Networking 1(3), 1993).

All of it is in integers. A unit of credit is ``1 / UNIT`` of a nanosecond's work, and a single
job's rate is rounded down to whole units a nanosecond: for a total rate of 1 it is exact up to 16
jobs, and 1 part in 10**8 off at 10,000. A job ends at the first nanosecond at which it has had
all of its work.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import Any, Final

__all__ = ["NEVER", "Sharing", "cores_rate"]

NEVER: Final = 1 << 63

#: Units of credit in a nanosecond of work. Divisible by 1 to 16, so that equal shares are exact.
UNIT: Final = 720_720 << 20

#: The rate of all jobs together, by how many there are: 1 is one processor.
Rate = Callable[[int], Fraction]


def cores_rate(cores: int) -> Rate:
    """The rate of so many processors, of which a job uses one at a time.

    Args:
        cores: how many.

    Returns:
        ``min(n, cores)``.

    Example:
        >>> [int(cores_rate(2)(jobs)) for jobs in (1, 2, 3)]
        [1, 2, 2]
    """
    return lambda jobs: Fraction(min(jobs, cores))


class Sharing:
    """Jobs that share a rate.

    Args:
        rate: of all jobs together, by how many there are.

    Attributes:
        next_at_ns: when the next job ends if none comes before; ``NEVER`` without jobs.

    Example:
        >>> cpu = Sharing(cores_rate(1))
        >>> cpu.add(0, 3_000, "long")
        >>> cpu.add(1_000, 1_000, "short")
        >>> cpu.next_at_ns, cpu.take(3_000)
        (3000, 'short')
        >>> cpu.next_at_ns, cpu.take(4_000)
        (4000, 'long')
    """

    def __init__(self, rate: Rate) -> None:
        self.next_at_ns = NEVER
        self._rate = rate
        self._each: list[int] = [0]  # units a nanosecond that each of n jobs gets, by n
        self._now_ns = 0
        self._credit = 0
        self._jobs: list[tuple[int, int, Any]] = []  # heap: the credit at its end, count, job
        self._count = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        return any(one is job for _, _, one in self._jobs)

    def add(self, now_ns: int, work_ns: int, job: Any) -> None:
        """A job comes.

        Args:
            now_ns: the present.
            work_ns: how long it takes alone.
            job: what is handed back at its end.
        """
        jobs = self._jobs
        self._credit += (now_ns - self._now_ns) * self._each[len(jobs)]
        self._now_ns = now_ns
        self._count = count = self._count + 1
        heappush(jobs, (self._credit + work_ns * UNIT, count, job))
        self._plan()

    def take(self, now_ns: int) -> Any:
        """The job that ends now leaves.

        Args:
            now_ns: the present, ``next_at_ns``.

        Returns:
            The job.
        """
        jobs = self._jobs
        self._credit += (now_ns - self._now_ns) * self._each[len(jobs)]
        self._now_ns = now_ns
        job = heappop(jobs)[2]
        self._plan()
        return job

    def remove(self, now_ns: int, job: Any) -> None:
        """A job leaves before its end; this takes O(n), but then it hardly ever happens.

        Args:
            now_ns: the present.
            job: which.
        """
        self._credit += (now_ns - self._now_ns) * self._each[len(self._jobs)]
        self._now_ns = now_ns
        self._jobs = [one for one in self._jobs if one[2] is not job]
        heapify(self._jobs)
        self._plan()

    def _plan(self) -> None:
        """When does the next one end?"""
        jobs, each = self._jobs, self._each
        if not jobs:
            self.next_at_ns = NEVER
            return
        while len(jobs) >= len(each):
            each.append(int(self._rate(len(each)) * UNIT / len(each)))
        left = jobs[0][0] - self._credit
        self.next_at_ns = self._now_ns - (-left // each[len(jobs)]) if left > 0 else self._now_ns
