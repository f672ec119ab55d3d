"""Processor sharing against its closed forms, and against sharing computed job by job."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.machine.machine import Cpu
from simulation.machine.sharing import NEVER, Sharing, cores_rate


def run(jobs: list[tuple[int, int]], cores: int = 1) -> list[int]:
    """When jobs end that come at some instants with some work."""
    cpu = Sharing(cores_rate(cores))
    ends = [0] * len(jobs)

    def take() -> None:
        at = cpu.next_at_ns
        ends[cpu.take(at)] = at

    for index, (at, work) in sorted(enumerate(jobs), key=lambda one: one[1][0]):
        while cpu.next_at_ns <= at:
            take()
        cpu.add(at, work, index)
    while cpu.next_at_ns != NEVER:
        take()
    return ends


def job_by_job(jobs: list[tuple[int, int]], cores: int) -> list[Fraction]:
    """The same, exactly, with what every job has left."""
    now = Fraction(0)
    left: dict[int, Fraction] = {}
    ends = [Fraction(0)] * len(jobs)
    coming = sorted(range(len(jobs)), key=lambda index: jobs[index][0])
    while coming or left:
        each = Fraction(min(len(left), cores), len(left)) if left else Fraction(0)
        next_end = now + min(left.values()) / each if left else None
        next_job = Fraction(jobs[coming[0]][0]) if coming else None
        at = min(t for t in (next_end, next_job) if t is not None)
        left = {job: work - (at - now) * each for job, work in left.items()}
        now = at
        for job in [job for job, work in left.items() if work <= 0]:
            ends[job] = now
            del left[job]
        while coming and jobs[coming[0]][0] <= now:
            job = coming.pop(0)
            left[job] = Fraction(jobs[job][1])
            if not left[job]:
                ends[job] = now
                del left[job]
    return ends


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 16])
def test_equal_jobs_share_equally_and_exactly(jobs: int) -> None:
    assert run([(0, 1_000_000_007)] * jobs) == [jobs * 1_000_000_007] * jobs


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_nobody_gets_more_than_one_core(cores: int) -> None:
    assert run([(0, 1000)] * cores, cores) == [1000] * cores
    assert run([(0, 1000)] * (2 * cores), cores) == [2000] * (2 * cores)


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 10_000)), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_it_is_what_sharing_job_by_job_gives(jobs: list[tuple[int, int]], cores: int) -> None:
    """To the nanosecond: a job ends at the first whole one at which it has had all of its work.

    What that rounds is up to a nanosecond's work an end, which those that stay get late.
    """
    exact = job_by_job(jobs, cores)
    for end, true in zip(run(jobs, cores), exact, strict=True):
        assert 0 <= end - true <= len(jobs) + 1


def test_work_is_conserved() -> None:
    """While somebody is there one core works, whoever comes: the busy time is the work."""
    draw = random.Random(4)
    jobs = [(draw.randrange(0, 10**9), draw.randrange(1, 10**8)) for _ in range(500)]
    ends = run(jobs)
    free_at = 0
    for at, work in sorted(jobs):  # first come, first served is busy at the same times
        free_at = max(free_at, at) + work
    assert abs(max(ends) - free_at) <= len(jobs)


def test_a_job_that_leaves_gives_its_share_back() -> None:
    cpu = Sharing(cores_rate(1))
    cpu.add(0, 1000, "stays")
    cpu.add(0, 1000, "goes")
    cpu.remove(500, "goes")  # each has had 250
    assert len(cpu) == 1
    assert cpu.next_at_ns == 500 + 750


@pytest.mark.parametrize("load", [0.7])
def test_the_mean_time_in_an_m_m_1_ps_queue(load: float) -> None:
    """It is the mean service over 1 - load, and a job's is its own service over 1 - load.

    Kleinrock, 'Queueing Systems', volume 2, section 4.4.
    """
    draw = random.Random(11)
    mean, count = 1_000_000, 40_000
    at, jobs = 0, []
    for _ in range(count):
        at += round(draw.expovariate(load / mean))
        jobs.append((at, max(1, round(draw.expovariate(1 / mean)))))
    ends = run(jobs)
    took = [end - at for end, (at, _) in zip(ends, jobs, strict=True)]
    assert math.isclose(sum(took) / count, mean / (1 - load), rel_tol=0.06)
    short = [t / work for t, (_, work) in zip(took, jobs, strict=True) if work < mean]
    long = [t / work for t, (_, work) in zip(took, jobs, strict=True) if work > 2 * mean]
    assert math.isclose(sum(long) / len(long), 1 / (1 - load), rel_tol=0.1)
    assert math.isclose(sum(short) / len(short), 1 / (1 - load), rel_tol=0.1)


def test_a_rate_that_falls_with_the_jobs() -> None:
    cpu = Sharing(Cpu(efficiency=(1.0, 0.5)).rate)
    cpu.add(0, 1000, "a")
    cpu.add(0, 1000, "b")
    assert cpu.next_at_ns == 4000
