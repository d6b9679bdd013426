import itertools

import numpy as np
import pytest
from scipy import stats

from rl_tracking.studies.statistics import metrics
from rl_tracking.studies.statistics.bootstrap import Interval, band, difference, interval, pair_interval, ratio

A = np.array


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_of_a_mean_of_two_runs_is_their_range():
    # Of the four equally likely resamples one has the mean 0 and one has the mean 1: 25 % each, so both are inside.
    assert interval([A([0.0, 1.0])], metrics.mean, rng()) == Interval(0.5, 0.0, 1.0)


def test_the_interval_is_that_of_all_resamples_when_there_are_enough():
    values = A([0.1, 0.4, 0.5, 0.9])
    every = [np.mean(drawn) for drawn in itertools.product(values, repeat=4)]
    found = interval([values], metrics.mean, rng(), resamples=40_000)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(np.quantile(every, 0.025, method="lower"), abs=0.026)
    assert found.high == pytest.approx(np.quantile(every, 0.975, method="higher"), abs=0.026)


@pytest.mark.parametrize("figure", [metrics.mean, metrics.interquartile_mean], ids=lambda f: f.__name__)
def test_one_sample_agrees_with_scipy(figure):
    values = rng(1).normal(size=20)
    theirs = stats.bootstrap(
        (values,), lambda x, axis: figure([x]), method="percentile", n_resamples=20_000, rng=rng(2)
    ).confidence_interval
    found = interval([values], figure, rng(3), resamples=20_000)
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=0.03), pytest.approx(theirs.high, abs=0.03))


def test_a_difference_agrees_with_scipy_on_two_unpaired_samples():
    x, y = rng(1).normal(1, 1, size=12), rng(2).normal(0, 2, size=9)
    theirs = stats.bootstrap(
        (x, y), lambda x, y, axis: x.mean(axis) - y.mean(axis), method="percentile", n_resamples=20_000, rng=rng(2)
    ).confidence_interval
    found = pair_interval([x], [y], difference(metrics.mean), rng(3), resamples=20_000)
    assert found.value == pytest.approx(x.mean() - y.mean())
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=0.05), pytest.approx(theirs.high, abs=0.05))


def test_seeds_are_drawn_within_their_task():
    # Two tasks far apart, each with equal runs: only drawing across tasks could change the mean.
    assert interval([A([0.0, 0.0, 0.0]), A([1.0, 1.0])], metrics.mean, rng()) == Interval(0.5, 0.5, 0.5)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw = rng(5)
    hits = 0
    for _ in range(200):
        found = interval([draw.normal(size=30)], metrics.mean, draw, resamples=500)
        hits += found.low <= 0 <= found.high
    assert 0.87 <= hits / 200 <= 0.99  # 0.93 is what 30 runs give


def test_ratios_of_tasks_are_averaged_geometrically():
    found = pair_interval([A([1.0, 1.0]), A([8.0])], [A([2.0, 2.0]), A([1.0])], ratio(metrics.mean), rng())
    assert found.value == pytest.approx((0.5 * 8) ** 0.5)
    assert found.low == pytest.approx(found.high)


def test_a_ratio_to_zero_is_infinite_and_without_sense_for_negative_figures():
    compared = ratio(metrics.mean)
    assert compared([A([1.0])], [A([0.0])]) == np.inf
    assert compared([A([0.0])], [A([2.0])]) == 0
    for x, y in ((0.0, 0.0), (-1.0, 2.0), (1.0, -2.0), (-1.0, -2.0)):
        assert np.isnan(compared([A([x])], [A([y])]))


def test_resamples_without_a_figure_widen_the_interval():
    # 0/0 in an eighth of the resamples and more.
    found = pair_interval([A([0.0, 1.0])], [A([0.0, 1.0])], ratio(metrics.mean), rng())
    assert found.value == 1
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_a_band_draws_whole_runs():
    # Two runs that mirror each other: their mean at the second point is 1 minus that at the first, in any resample.
    runs = A([[0.0, 0.2, 0.9], [1.0, 0.8, 0.1]])
    found = band(([runs],), metrics.mean, rng())
    assert found.value.shape == found.low.shape == (2,)
    assert found.low[1] == pytest.approx(1 - found.high[0])
    assert found.high[1] == pytest.approx(1 - found.low[0])


def test_a_generator_in_the_same_state_gives_the_same_interval():
    values = [rng(8).normal(size=9)]
    first, again, other = (interval(values, metrics.mean, rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
