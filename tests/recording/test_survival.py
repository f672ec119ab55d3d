"""The product-limit estimator: against scipy, against Efron's construction, and on edges."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from scipy import stats

from simulation.statistics.survival import kaplan_meier


def sample(seed: int, size: int = 40) -> tuple[list[tuple[int, str]], list[int]]:
    """Durations with ties, some stopped at a bound."""
    draw = Random(seed)
    seen, censored = [], []
    for _ in range(size):
        took, bound = draw.randrange(1, 30), draw.randrange(1, 40)
        if took <= bound:
            seen.append((took, draw.choice(["ok", "error"])))
        else:
            censored.append(bound)
    return seen, censored


@pytest.mark.parametrize("seed", range(8))
def test_the_survival_function_is_scipys(seed: int) -> None:
    seen, censored = sample(seed)
    lifetimes = kaplan_meier(seen, censored)
    data: Any = stats.CensoredData(uncensored=[value for value, _ in seen], right=censored)
    theirs: Any = stats.ecdf(data).sf
    for value in range(max(seen)[0] + 1):
        expected = float(theirs.evaluate(value))
        assert lifetimes.share_longer_than(value) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_each_weight_is_efrons_redistribution_to_the_right(seed: int) -> None:
    seen, censored = sample(seed)
    lifetimes = kaplan_meier(seen, censored)
    everyone = sorted(
        [(value, 0, nth) for nth, (value, _) in enumerate(sorted(seen, key=lambda one: one[0]))]
        + [(bound, 1, -1) for bound in censored]
    )
    weights = [1 / len(everyone)] * len(everyone)
    beyond = 0.0
    for place, (_, stopped, _) in enumerate(everyone):
        if stopped:
            later = len(everyone) - place - 1
            for other in range(place + 1, len(everyone)):
                weights[other] += weights[place] / later
            beyond += 0.0 if later else weights[place]
            weights[place] = 0.0
    mine = lifetimes.weights
    for weight, (_, stopped, nth) in zip(weights, everyone, strict=True):
        assert stopped or mine[nth] == pytest.approx(weight, abs=1e-12)
    assert lifetimes.beyond == pytest.approx(beyond, abs=1e-12)


def test_without_censoring_each_has_the_same_weight() -> None:
    lifetimes = kaplan_meier([(3, "c"), (1, "a"), (2, "b")])
    assert lifetimes.values == (1, 2, 3)
    assert lifetimes.marks == ("a", "b", "c")
    assert lifetimes.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert lifetimes.cumulative[-1] == 1.0
    assert [lifetimes.draw(u) for u in (0.0, 0.34, 0.999999)] == [(1, "a"), (2, "b"), (3, "c")]


def test_a_bound_that_equals_a_duration_is_longer_than_it() -> None:
    assert kaplan_meier([(5, None)], [5]).share_longer_than(5) == 0.5


def test_beyond_what_was_seen_there_is_no_answer() -> None:
    lifetimes = kaplan_meier([(1, None), (2, None)], [7, 9])
    assert lifetimes.beyond == 0.5
    assert lifetimes.bound == 9
    assert lifetimes.draw(0.49) == (2, None)
    assert lifetimes.draw(0.51) is None
    assert lifetimes.draw(0.0, longer_than=2) is None
    assert kaplan_meier([], [3]).draw(0.5) is None
    assert kaplan_meier([]).beyond == 1.0


def test_a_draw_is_longer_than_it_must_be_and_grows_with_the_place() -> None:
    for seed in range(20):
        seen, censored = sample(seed)
        lifetimes = kaplan_meier(seen, censored)
        for longer_than in range(30):
            drawn = [lifetimes.draw(place / 50, longer_than) for place in range(50)]
            values = [one[0] for one in drawn if one is not None]
            assert values == sorted(values)
            assert all(value > longer_than for value in values)
            assert drawn[len(values) :] == [None] * (50 - len(values))


def test_competing_outcomes_keep_their_shares() -> None:
    """Aalen and Johansen: failures within a second, successes after five, a timeout at six.

    To take the quick failures for all there is, because the slow successes were stopped, would be
    the error.
    """
    draw = Random(7)
    seen, censored = [], []
    for _ in range(4000):
        took, mark = (
            (draw.expovariate(1), "error")
            if draw.random() < 0.3
            else (
                5 + draw.expovariate(1),
                "ok",
            )
        )
        bound = draw.choice([3, 6, 20])
        if took <= bound:
            seen.append((round(took * 1e9), mark))
        else:
            censored.append(round(bound * 1e9))
    lifetimes = kaplan_meier(seen, censored)
    failed = sum(
        weight
        for weight, mark in zip(lifetimes.weights, lifetimes.marks, strict=True)
        if mark == "error"
    )
    assert failed == pytest.approx(0.3, abs=0.025)
    assert sum(mark == "error" for _, mark in seen) / len(seen) > 0.4  # the naive share


def test_outcomes_can_be_made_more_or_less_frequent() -> None:
    lifetimes = kaplan_meier([(1, "error"), (2, "ok"), (3, "ok")], [9])
    more = lifetimes.with_share(lambda mark: mark == "error", 0.8)
    assert more.weights == pytest.approx((0.8 * 0.75, 0.1 * 0.75, 0.1 * 0.75))
    assert more.beyond == pytest.approx(lifetimes.beyond)
    assert lifetimes.with_share(lambda mark: mark == "other", 0.8) is lifetimes
