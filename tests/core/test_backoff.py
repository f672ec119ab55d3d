"""Backoffs: the written formulas, their bounds, and draws that are pinned."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.backoff import Jitter, backoff_ns, jitter_interval_ns
from runtime.core.keyed import Purpose, uniform
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from tests.core.helpers import failed

SECOND = 1_000_000_000
JITTERS = get_args(Jitter)
jitters = st.sampled_from(JITTERS)
durations = st.integers(0, 10**12)


def chain(jitter: Jitter, *, base: int, cap: int, seed: int = 1, task: int = 1) -> list[int]:
    """The backoffs of a task's first six retries."""
    backoffs: list[int] = []
    for retry in range(1, 7):
        previous = backoffs[-1] if backoffs else None
        backoffs.append(backoff_ns(jitter, base, cap, retry, previous, seed=seed, task=task))
    return backoffs


def test_a_base_of_two_seconds_gives_2_4_8() -> None:
    found = chain("none", base=2 * SECOND, cap=60 * SECOND)
    assert found == [n * SECOND for n in (2, 4, 8, 16, 32, 60)]


@pytest.mark.parametrize(
    ("jitter", "pinned"),
    [
        ("full", [14, 50, 1737, 6172, 12381, 11507]),
        ("equal", [507, 1025, 2869, 7086, 14191, 15754]),
        ("decorrelated", [1029, 1052, 1936, 4710, 11160, 19688]),
    ],
)
def test_draws_are_pinned(jitter: Jitter, pinned: list[int]) -> None:
    assert chain(jitter, base=1_000, cap=20_000) == pinned


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    jitter=jitters,
    base=durations,
    more=durations,
    retry=st.integers(1, 200),
    previous=st.none() | durations,
    seed=st.integers(0, 2**63 - 1),
    task=st.integers(1, 10_000),
)
def test_a_backoff_lies_in_its_interval(
    jitter: Jitter, base: int, more: int, retry: int, previous: int | None, seed: int, task: int
) -> None:
    cap = base + more
    low, high = jitter_interval_ns(jitter, base, cap, retry, previous)
    found = backoff_ns(jitter, base, cap, retry, previous, seed=seed, task=task)
    assert 0 <= low <= found <= high <= cap


@pytest.mark.parametrize("jitter", JITTERS)
def test_a_cap_below_the_base_holds(jitter: Jitter) -> None:
    assert all(backoff <= 3 for backoff in chain(jitter, base=10, cap=3))


@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize("retry", [62, 63, 64, 65, 1_000_000])
def test_a_far_retry_waits_the_cap_at_most(jitter: Jitter, retry: int) -> None:
    found = backoff_ns(jitter, SECOND, 60 * SECOND, retry, None, seed=0, task=1)
    assert 0 <= found <= 60 * SECOND


def test_the_formulas_in_the_documentation() -> None:
    base, cap, seed, task = 1_000, 50_000, 3, 9
    for retry in range(1, 8):
        u = uniform(seed, task, retry, Purpose.BACKOFF)
        plain = min(cap, base * 2 ** (retry - 1))
        previous = 1_500
        drawn = {
            jitter: backoff_ns(jitter, base, cap, retry, previous, seed=seed, task=task)
            for jitter in JITTERS
        }
        assert drawn["none"] == plain
        assert drawn["full"] == pytest.approx(u * plain, abs=1)
        assert drawn["equal"] == pytest.approx(plain / 2 + u * plain / 2, abs=1)
        top = 3 * previous - base
        assert drawn["decorrelated"] == pytest.approx(min(cap, base + u * top), abs=1)


@pytest.mark.parametrize("jitter", ["full", "equal"])
def test_jitter_uses_all_of_its_interval(jitter: Jitter) -> None:
    low, high = jitter_interval_ns(jitter, 8, 8, 1, None)
    drawn = [backoff_ns(jitter, 8, 8, 1, None, seed=0, task=task) for task in range(1, 2_000)]
    assert sorted(set(drawn)) == list(range(low, high + 1))


@pytest.mark.parametrize("jitter", JITTERS)
def test_the_core_waits_as_the_formula_says(jitter: Jitter) -> None:
    own = CoreSettings(
        max_workers=1,
        max_retries=6,
        backoff_base_ns=1_000,
        backoff_max_ns=20_000,
        jitter=jitter,
        seed=1,
    )
    core = Core(own)
    core.handle(0, r.TaskSubmitted(1))
    found, now = [], 0
    for attempt in range(1, 7):
        (delay,) = core.handle(now, failed(1, attempt, now))
        assert isinstance(delay, r.DelayTask)
        found.append(delay.until_ns - now)
        now = delay.until_ns
        core.handle(now, r.TimeElapsed())
    assert found == chain(jitter, base=1_000, cap=20_000)


@pytest.mark.parametrize(("asked", "waits"), [(None, 5), (0, 5), (4, 5), (5, 5), (6, 6), (99, 99)])
def test_retry_after_is_a_floor(asked: int | None, waits: int) -> None:
    """It may pass the cap; the next backoff does not grow from it."""
    core = Core(CoreSettings(max_workers=1, max_retries=2, backoff_base_ns=5, backoff_max_ns=10))
    core.handle(0, r.TaskSubmitted(1))
    (delay,) = core.handle(0, failed(1, 1, 0, retry_after_ns=asked))
    assert isinstance(delay, r.DelayTask)
    assert delay.until_ns == waits
    core.handle(waits, r.TimeElapsed())
    (delay,) = core.handle(waits, failed(1, 2, waits))
    assert isinstance(delay, r.DelayTask)
    assert delay.until_ns == waits + 10


def test_decorrelated_jitter_grows_from_what_was_drawn_not_from_retry_after() -> None:
    own = CoreSettings(
        max_workers=1,
        max_retries=6,
        backoff_base_ns=1_000,
        backoff_max_ns=20_000,
        jitter="decorrelated",
        seed=1,
    )
    core = Core(own)
    core.handle(0, r.TaskSubmitted(1))
    core.handle(0, failed(1, 1, 0, retry_after_ns=90_000))
    core.handle(90_000, r.TimeElapsed())
    (delay,) = core.handle(90_000, failed(1, 2, 90_000))
    assert isinstance(delay, r.DelayTask)
    assert delay.until_ns - 90_000 == chain("decorrelated", base=1_000, cap=20_000)[1]


@pytest.mark.parametrize(("asked", "ends"), [(7, False), (8, True), (9, True)])
def test_a_retry_after_that_passes_the_deadline_fails_now(asked: int, ends: bool) -> None:
    core = Core(CoreSettings(max_workers=1, max_retries=2, backoff_base_ns=1, backoff_max_ns=1))
    core.handle(0, r.TaskSubmitted(1, deadline_at_ns=10))
    (told,) = core.handle(2, failed(1, 1, 2, retry_after_ns=asked))
    assert isinstance(told, r.FinishTask if ends else r.DelayTask)
    if isinstance(told, r.FinishTask):
        assert (told.outcome, told.reason) == ("error", "retry would pass the deadline")
