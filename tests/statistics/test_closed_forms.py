"""The statistics against closed forms, tables and scipy on cases that are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from scipy import stats

from simulation.statistics import (
    Precision,
    clustered_rate,
    enough,
    estimable,
    holm,
    least_sample,
    next_rate,
    paired,
    pooled_quantile,
    student,
    wilson,
)
from simulation.statistics.prediction import (
    expansion,
    least_replications,
    next_difference,
    next_value,
)
from simulation.statistics.quantiles import quantile
from simulation.statistics.tails import Curve, Tail, tail_of
from simulation.statistics.unseen import unseen_rate

NEARLY = 1e-9


def values(count: int, seed: int = 1) -> list[float]:
    draw = Random(seed)
    return [draw.gauss(10, 2) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 5, 30, 400])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_student_is_scipys(count: int, level: float) -> None:
    sample = values(count)
    low, high = stats.t.interval(level, count - 1, loc=sum(sample) / count, scale=stats.sem(sample))
    found = student(sample, level)
    assert (found.low, found.high) == pytest.approx((low, high), rel=NEARLY)


@pytest.mark.parametrize(("good", "n"), [(0, 10), (10, 10), (1, 30), (97, 100), (299, 300)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(good: int, n: int, level: float) -> None:
    theirs = stats.binomtest(good, n).proportion_ci(level, method="wilson")
    found = wilson(good, n, level)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=NEARLY)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_no_failure_is_no_proof_that_none_happen() -> None:
    """The rule of three: 0 of 300 leaves up to 1%."""
    assert wilson(300, 300).low == pytest.approx(1 - 3.84 / 303.84, abs=1e-4)
    assert next_rate(300, 300, 300).low == pytest.approx(0.99, abs=0.002)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


@pytest.mark.parametrize(("good", "n", "following"), [(300, 300, 300), (290, 300, 100), (5, 9, 40)])
def test_the_next_rate_is_beta_binomial(good: int, n: int, following: int) -> None:
    law = stats.betabinom(following, good + 0.5, n - good + 0.5)
    found = next_rate(good, n, following)
    assert found.low * following == pytest.approx(law.ppf(0.025), abs=NEARLY)
    assert found.high * following == pytest.approx(law.ppf(0.975), abs=NEARLY)


def test_pairs_are_scipys() -> None:
    first = values(30)
    second = [value + 0.3 + noise / 20 for value, noise in zip(first, values(30, 2), strict=True)]
    test = stats.ttest_rel(second, first)
    interval = test.confidence_interval(0.95)
    found = paired(first, second)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.correlation == pytest.approx(stats.pearsonr(first, second).statistic, rel=NEARLY)


def test_common_luck_narrows_the_difference_as_the_formula_says() -> None:
    """Var(b - a) = Var(a) + Var(b) - 2 Cov(a, b), so the width goes with sqrt(1 - rho)."""
    first = values(200)
    for noise in (0.1, 1.0, 4.0):
        second = [a + noise * b for a, b in zip(first, values(200, 3), strict=True)]
        found = paired(first, second)
        a, b = stats.tvar(first), stats.tvar(second)
        variance = a + b - 2 * found.correlation * math.sqrt(a * b)
        half = stats.t.ppf(0.975, 199) * math.sqrt(variance / 200)
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-9)


def test_pairs_that_do_not_vary() -> None:
    same = paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.low, same.high, same.p_value) == (0, 0, 1)
    shifted = paired([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert (shifted.low, shifted.high, shifted.p_value) == (1, 1, 0)
    assert math.isnan(paired([1.0, 1.0], [1.0, 2.0]).correlation)
    assert math.isnan(paired([1.0], [2.0]).p_value)
    with pytest.raises(ValueError, match="3 and 2 replications are no pairs"):
        paired([1.0, 2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        # the worked example of Wright, Biometrics 48(4), 1992, in another order
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.5, 0.001, 0.5], [1.0, 0.003, 1.0]),
        ([0.9, 0.9], [1.0, 1.0]),
    ],
)
def test_holm(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def test_holm_leaves_out_what_could_not_be_compared() -> None:
    adjusted = holm([0.02, math.nan, 0.01])
    assert adjusted[0] == adjusted[2] == 0.02
    assert math.isnan(adjusted[1])
    with pytest.raises(ValueError, match=r"p-value 1\.5"):
        holm([1.5])


@pytest.mark.parametrize(
    ("p", "level", "least"), [(0.99, 0.95, 299), (0.95, 0.95, 59), (0.5, 0.95, 5), (0.9, 0.99, 44)]
)
def test_the_least_sample_for_a_bound(p: float, level: float, least: int) -> None:
    """Hahn and Meeker, 'Statistical Intervals', table A.15a, has 59 and 299."""
    assert least_sample(p, level) == least
    assert 1 - p**least >= level > 1 - p ** (least - 1)
    assert estimable(p, least, level)
    assert not estimable(p, least - 1, level)


def test_a_quantile_is_the_least_value_that_a_share_does_not_exceed() -> None:
    ordered = [float(n) for n in range(1, 101)]
    assert [quantile(ordered, p) for p in (0.0, 0.01, 0.5, 0.95, 1.0)] == [1, 1, 50, 95, 100]
    assert math.isnan(quantile([], 0.5))


def test_a_pooled_quantile_is_that_of_all_values() -> None:
    runs = [values(40, seed) for seed in range(30)]
    found = pooled_quantile(runs, 0.95)
    pool = sorted(value for run in runs for value in run)
    assert found.mean == pool[math.ceil(0.95 * len(pool)) - 1]
    assert found.low < found.mean < found.high
    assert found.kind == "quantile"
    assert found == pooled_quantile(runs, 0.95)
    assert found != pooled_quantile(runs, 0.95, seed=1)


def test_the_mean_of_the_runs_quantiles_is_biased_where_that_of_the_pool_is_not() -> None:
    """20 exponential values a run: their 19th smallest has the mean H(20) - H(1) = 2.598."""
    draw = Random(5)
    runs = [[draw.expovariate(1) for _ in range(20)] for _ in range(2000)]
    truth = -math.log(0.05)
    mean = sum(quantile(sorted(run), 0.95) for run in runs) / len(runs)
    expected = sum(1 / n for n in range(2, 21))
    deviation = math.sqrt(sum(1 / n**2 for n in range(2, 21)) / len(runs))
    assert mean == pytest.approx(expected, abs=4 * deviation)
    assert abs(mean - truth) > 10 * deviation
    # a quantile of n values has the deviation sqrt(p (1 - p) / n) / f(q)
    error = math.sqrt(0.95 * 0.05 / 40_000) / 0.05
    assert pooled_quantile(runs, 0.95, resamples=99).mean == pytest.approx(truth, abs=4 * error)


def test_too_few_values_give_no_bound() -> None:
    few = pooled_quantile([values(50), values(50, 2)], 0.99)
    assert few.kind == "not estimable"
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    assert not math.isnan(few.mean)
    assert pooled_quantile([values(400)], 0.99).kind == "none"
    assert pooled_quantile([[], []], 0.5).kind == "not estimable"


def test_enough_is_never_said_before_thirty() -> None:
    same = [1.0] * 29
    assert not enough(same, 0.5)
    assert enough([*same, 1.0], 0.5)


@pytest.mark.parametrize("relative", [0.01, 0.05])
def test_a_relative_precision_is_that_of_the_true_mean(relative: float) -> None:
    """Law asks g / (1 + g) of the estimate, so that g holds for what is estimated."""
    sample = values(30)
    interval = student(sample)
    half = (interval.high - interval.low) / 2
    g = half / interval.mean
    just = g / (1 - g)
    assert enough(sample, just * 1.001)
    assert not enough(sample, just * 0.999)


def test_absolute_precision_and_the_cap() -> None:
    sample = values(40)
    assert enough(sample, Precision(None, absolute=10.0))
    assert not enough(sample, Precision(None, absolute=1e-6))
    assert enough(sample, Precision(None, absolute=1e-6, at_most=40))
    assert enough([math.nan] * 30, 0.01)
    for wrong in (
        {"relative": None},
        {"relative": 0.0},
        {"relative": 1.0},
        {"absolute": -1.0},
        {"at_least": 1},
        {"at_least": 50, "at_most": 40},
    ):
        with pytest.raises(ValueError, match=r"must be|needs"):
            Precision(**wrong)  # type: ignore[arg-type]


def test_clusters_that_hang_together_count_for_fewer() -> None:
    """10 runs of 100 tasks, in which all fail together or none, are 10 trials and not 1,000."""
    together = clustered_rate([100.0] * 7 + [0.0] * 3, [100.0] * 10)
    ten = wilson(7, 10)
    assert together.mean == 0.7
    assert together.high - together.low > 0.95 * (ten.high - ten.low)
    apart = clustered_rate([70.0] * 10, [100.0] * 10)
    thousand = wilson(700, 1000)
    assert apart.low == pytest.approx(thousand.low, abs=0.01)
    assert clustered_rate([5.0], [10.0]) == wilson(5, 10)
    assert clustered_rate([10.0, 10.0], [10.0, 10.0]) == wilson(20, 20)


def test_the_interval_of_the_next_value() -> None:
    assert least_replications(0.95) == 39
    assert least_replications(0.9) == 19
    ordered = [float(n) for n in range(1, 40)]
    found = next_value(ordered)
    assert (found.low, found.high, found.kind) == (1, 39, "next run")
    few = values(30)
    half = stats.t.ppf(0.975, 29) * math.sqrt(stats.tvar(few) * (1 + 1 / 30))
    assert next_value(few).high - next_value(few).mean == pytest.approx(half)
    assert next_value([3.0] * 40).low == next_value([3.0] * 40).high == 3
    assert next_value([3.0]).kind == "none"


def test_a_difference_of_the_next_pair_does_not_become_certain_by_more_replications() -> None:
    def p_value(count: int) -> float:
        first = values(count)
        second = [a + 0.3 + b - 10 for a, b in zip(first, values(count, 2), strict=True)]
        assert paired(first, second).p_value < 0.01
        return next_difference(first, second).p_value

    assert p_value(1000) > 0.5
    assert p_value(4000) == pytest.approx(p_value(1000), abs=0.1)


def nanoseconds(drawn: list[float]) -> list[int]:
    return sorted(round(value * 1e9) for value in drawn)


def drawn_curves(tail: Tail, count: int) -> list[Curve]:
    draw = Random(3).random
    return [tail.drawn(draw) for _ in range(count)]


def test_the_next_value_is_the_largest_as_often_as_any_other() -> None:
    """One in n + 1; of those longer than all but m, one in m + 1."""
    sample = nanoseconds(values(100))
    tail = tail_of(sample)
    assert tail.top == tuple(sample[89:])
    curves = drawn_curves(tail, 4000)
    for longer_than, m in ((-1, 100), (sample[49], 50), (sample[95], 4), (sample[98], 1)):
        chances = [curve.beyond(longer_than) for curve in curves]
        error = 4 * float(np.std(chances)) / math.sqrt(len(chances))
        assert sum(chances) / len(chances) == pytest.approx(1 / (m + 1), abs=error)
    assert {curve.beyond(sample[-1] + 5) for curve in curves} == {1.0}


def test_how_much_lies_beyond_is_the_same_unknown_share_for_all() -> None:
    """Beta(1, n): of m that follow, n / (n + m) times none is longer than all that were seen; not
    (n / (n + 1)) ** m times.
    """
    curves = drawn_curves(tail_of(nanoseconds(values(100))), 4000)
    for m in (10, 100, 300):
        none = sum((1 - curve.beyond()) ** m for curve in curves) / len(curves)
        assert none == pytest.approx(100 / (100 + m), abs=0.03)


def test_who_is_still_watched_leaves_more_beyond() -> None:
    sample = nanoseconds(values(100))
    beyond = [
        sum(curve.beyond() for curve in drawn_curves(tail_of(sample, watched), 2000)) / 2000
        for watched in ([], [sample[94]] * 5, [sample[-1] + 1] * 5)
    ]
    assert beyond[0] < beyond[1] < beyond[2]
    # five that outlasted all: 1 - 5.5 / 106 did not, give or take the half
    assert beyond[2] == pytest.approx(6 / 106, rel=0.1)


def test_what_exceeds_more_is_of_the_same_kind() -> None:
    """A generalised Pareto distribution has a scale that grows with what is exceeded (McNeil, Frey
    and Embrechts, 'Quantitative Risk Management', lemma 5.22).
    """
    tail = tail_of(nanoseconds(values(100)))
    for shape in (-0.4, 0.0, 0.3):
        curve = Curve(tail, (1.0,) * 11, shape, 2e9)
        for more in (0, 10**9):
            at = tail.top[-1] + more
            scale = 2e9 + shape * (at - tail.base)
            for u in (0.9, 0.1, 0.01):
                expected = stats.genpareto.isf(u, shape, at, max(0.0, scale) or 1e-9)
                assert curve.exceed(u, at) == pytest.approx(expected)


def test_a_heavier_tail_has_a_greater_shape() -> None:
    even = [(n + 0.5) / 2500 for n in range(2500)]
    exponential = [-math.log(1 - u) for u in even]
    pareto = [(1 - u) ** (-1 / 3) for u in even]
    shapes = []
    for sample in (even, exponential, pareto):
        curves = drawn_curves(tail_of(nanoseconds(sample)), 1000)
        shapes.append(sum(curve.shape for curve in curves) / 1000)
    assert shapes[0] < -0.5
    assert shapes[1] == pytest.approx(0.0, abs=0.1)
    assert 0.15 < shapes[2] < 1 / 3  # drawn towards the prior


@pytest.mark.parametrize(("sigma", "seen", "following"), [(0.5, 30, 90), (1.0, 100, 20)])
def test_the_longest_of_the_next_is_covered(sigma: float, seen: int, following: int) -> None:
    draw = Random(seen)
    held = 0
    for _ in range(100):
        sample = nanoseconds([draw.lognormvariate(0, sigma) for _ in range(seen)])
        tail = tail_of(sample)
        longest = max(draw.lognormvariate(0, sigma) for _ in range(following)) * 1e9
        drawn = []
        for _ in range(39):
            curve = tail.drawn(draw.random)
            # k + 1 of n + 1 gaps are above the foot; of so many shares, evenly drawn, the least
            above = draw.betavariate(len(tail.top), seen + 1 - len(tail.top))
            share = 1 - (1 - draw.random()) ** (1 / following)
            if share < above:
                drawn.append(curve.draw(share / above))
            else:
                drawn.append(sample[max(0, seen - 1 - int(share * seen))])
        held += min(drawn) <= longest <= max(drawn)
    assert held >= 88  # of 100 at 95%, fewer happen once in 200 (binomial)


def test_among_the_largest_a_value_lies_between_two() -> None:
    tail = tail_of([1, 2, 4, 7])
    assert tail.between(1, 0.3) == 1
    assert tail.between(2, 0.3) == 2  # the one before the largest
    assert tail.between(4, 0.5) == 3.0
    assert tail.between(7, 1.0) == 7.0
    assert tail.between(9, 0.5) == 9
    assert tail.between(7, 0.5, longer_than=6) == 6.5


def test_a_curve_goes_through_its_gaps() -> None:
    tail = tail_of([1, 2, 4, 7])
    curve = Curve(tail, (1.0, 0.5, 0.25), 0.0, 1.0)
    assert curve.draw(0.75) == 3.0
    assert curve.draw(0.5) == 4.0
    assert curve.draw(0.25 * 0.999) == pytest.approx(7.0, abs=0.01)
    assert curve.draw(0.25 / math.e) == pytest.approx(8.0)
    # of those longer than 4, one in two is longer than 7
    assert curve.draw(0.75, longer_than=4) == 5.5
    assert curve.draw(0.5 / math.e, longer_than=4) == pytest.approx(8.0)
    assert curve.draw(1.0, longer_than=20) == 20.0
    assert curve.draw(1 / math.e, longer_than=20) == pytest.approx(21.0)


@pytest.mark.parametrize("count", [1, 2, 3, 300])
def test_the_tail_of_a_constant_is_no_tail_where_there_are_more_than_two(count: int) -> None:
    for curve in drawn_curves(tail_of([2] * count), 20):
        assert curve.exceed(0.01) == 2 if count > 2 else curve.exceed(0.01) > 2


def test_who_has_outlasted_a_constant_goes_on() -> None:
    """Nobody knows for how long: about as long as he has outlasted them, more or less."""
    longer = [curve.exceed(0.5, 30) for curve in drawn_curves(tail_of([10] * 50, [30]), 200)]
    assert min(longer) > 30
    assert 31 < sorted(longer)[100] < 200


@pytest.mark.parametrize("n", [1, 30, 300])
def test_an_unseen_rate_is_jeffreys(n: int) -> None:
    for u in (0.0, 0.1, 0.5, 0.99):
        assert unseen_rate(n, u) == pytest.approx(stats.beta.ppf(u, 0.5, n + 0.5))


def held(trials: int, interval: Callable[[Random], bool]) -> float:
    return sum(interval(Random(seed)) for seed in range(trials)) / trials


def near(level: float, trials: int) -> tuple[float, float]:
    """Where the share of intervals that hold lies, 999 times in 1,000, if they hold at a level."""
    low, high = stats.binom.interval(0.999, trials, level)
    return low / trials, high / trials


def test_a_naive_interval_within_one_run_does_not_hold_and_one_over_runs_does() -> None:
    """Waiting times in a queue (Lindley's recursion, M/M/1 at 80% load) hang together."""

    def waits(draw: Random, count: int) -> list[float]:
        waited, out = 0.0, []
        for _ in range(count):
            waited = max(0.0, waited + draw.expovariate(1.25) - draw.expovariate(1.0))
            out.append(waited)
        return out

    truth = sum(sum(waits(Random(10**6 + n), 300)) / 300 for n in range(4000)) / 4000

    def naive(draw: Random) -> bool:
        found = student(waits(draw, 300))
        return found.low <= truth <= found.high

    def over_runs(draw: Random) -> bool:
        found = student([sum(waits(draw, 300)) / 300 for _ in range(30)])
        return found.low <= truth <= found.high

    assert held(200, naive) < 0.5
    low, _ = near(0.92, 200)  # skewed means cost Student a little
    assert held(200, over_runs) >= low


def test_the_interval_of_the_next_value_holds_whatever_the_distribution() -> None:
    for kind in (Random.gauss, lambda draw: draw.lognormvariate(0, 1.5)):

        def holds(draw: Random, kind: Callable[[Random], float] = kind) -> bool:
            *sample, following = (kind(draw) for _ in range(40))
            found = next_value(sample)
            return found.low <= following <= found.high

        low, high = near(0.95, 1500)
        assert low <= held(1500, holds) <= high


def test_a_mean_does_not_hold_for_the_next_value() -> None:
    def holds(draw: Random) -> bool:
        *sample, following = (draw.gauss(0, 1) for _ in range(40))
        found = student(sample)
        return found.low <= following <= found.high

    assert held(300, holds) < 0.5


@pytest.mark.parametrize("p", [0.5, 0.97])
def test_wilson_holds(p: float) -> None:
    """Exactly: the probabilities of all the counts whose interval holds p, added up."""
    law = stats.binom(60, p)
    holds = sum(
        law.pmf(good) for good in range(61) if wilson(good, 60).low <= p <= wilson(good, 60).high
    )
    assert 0.92 <= holds <= 0.98


def test_holm_is_wrong_about_any_at_most_as_often_as_it_says() -> None:
    """20 comparisons of nothing: unadjusted, two of three sweeps find something."""

    def finds(draw: Random, *, adjusted: bool) -> bool:
        p_values = [draw.random() for _ in range(20)]
        return min(holm(p_values) if adjusted else p_values) < 0.05

    _, high = near(0.05, 1000)
    assert held(1000, lambda draw: finds(draw, adjusted=True)) <= high
    assert held(1000, lambda draw: finds(draw, adjusted=False)) > 0.5


def test_a_cluster_bootstrap_holds_where_runs_hang_together_and_one_of_values_does_not() -> None:
    """Each run has a level of its own, so its values are no independent ones."""

    def runs(draw: Random) -> list[list[float]]:
        out = []
        for _ in range(30):
            level = draw.gauss(0, 1)
            out.append([level + draw.gauss(0, 1) for _ in range(20)])
        return out

    truth = stats.norm.ppf(0.9, scale=math.sqrt(2))

    def clusters(draw: Random) -> bool:
        found = pooled_quantile(runs(draw), 0.9, resamples=199)
        return found.low <= truth <= found.high

    def apart(draw: Random) -> bool:
        singles = [[value] for run in runs(draw) for value in run]
        found = pooled_quantile(singles, 0.9, resamples=199)
        return found.low <= truth <= found.high

    low, _ = near(0.92, 150)
    assert held(150, clusters) >= low
    assert held(150, apart) < held(150, clusters) - 0.1


def test_more_replications_narrow_a_mean_and_not_the_next_run() -> None:
    widths = []
    for count in (39, 399, 3999):
        sample = values(count)
        mean, following = student(sample), next_value(sample)
        widths.append((mean.high - mean.low, following.high - following.low))
    assert all(later[0] < earlier[0] / 2 for earlier, later in pairwise(widths))
    assert widths[-1][1] > 0.7 * widths[0][1]


@pytest.mark.parametrize(("n", "factor"), [(2, 9.168), (20, 1.0956), (10**6, 1.0)])
def test_few_values_widen_an_interval_from_resampling(n: int, factor: float) -> None:
    expected = math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
    assert expansion(n) == pytest.approx(expected) == pytest.approx(factor, rel=1e-3)
    assert expansion(1) == expansion(2)
