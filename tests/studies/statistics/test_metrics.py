import numpy as np
import pytest
from scipy import stats

from rl_tracking.studies.statistics import metrics

A = np.array


def test_the_interquartile_mean_of_six_counts_half_of_the_edges():
    # A quarter of six runs is 1.5: the middle is half of 2, all of 3 and 4, half of 5.
    assert metrics.interquartile_mean([A([100.0, 2, 4, 3, 5, -7])]) == pytest.approx((1 + 3 + 4 + 2.5) / 3)


@pytest.mark.parametrize("seeds", [4, 8, 20])
def test_the_interquartile_mean_is_scipys_where_a_quarter_is_whole(seeds):
    values = np.random.default_rng(seeds).normal(size=seeds)
    assert metrics.interquartile_mean([values]) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interquartile_mean_of_one_or_two_runs_is_their_mean(seeds):
    assert metrics.interquartile_mean([A([1.0, 4.0][:seeds])]) == pytest.approx([1.0, 2.5][seeds - 1])


def test_the_interquartile_mean_pools_tasks_and_weighs_them_alike():
    # Two runs of weight 1/4 and four of 1/8: from .25 to .75 lie one 1, two 2 and two 3 of the weights below.
    few, many = A([0.0, 1.0]), A([2.0, 2.0, 3.0, 3.0])
    assert metrics.interquartile_mean([few, many]) == pytest.approx((0.25 * 1 + 0.25 * 2) / 0.5)
    # Were each run of the same weight: 1.5 cut off on each side, half of 1, two of 2, half of 3.
    assert metrics.interquartile_mean([np.concatenate([few, many])]) == pytest.approx((0.5 + 4 + 1.5) / 3)


def test_means_and_medians_are_over_tasks():
    samples = [A([0.0, 1.0]), A([1.0, 1.0, 1.0, 1.0]), A([0.0, 0.6])]
    assert metrics.mean(samples) == pytest.approx((0.5 + 1 + 0.3) / 3)
    assert metrics.median(samples) == pytest.approx(0.5)


def test_the_optimality_gap_does_not_reward_what_is_above_the_target():
    assert metrics.optimality_gap([A([0.5, 2.0]), A([1.0, 0.0])]) == pytest.approx((0.25 + 0.5) / 2)
    assert metrics.optimality_gap([A([0.5, 2.0])], target=2.0) == pytest.approx(0.75)


def test_the_performance_profile_is_the_share_strictly_above():
    profile = metrics.mean(
        [metrics.above(A([0.2, 0.5, 0.9]), A([0.0, 0.5, 1.0])), metrics.above(A([0.5]), A([0.0, 0.5, 1]))]
    )
    np.testing.assert_allclose(profile, [1.0, (1 / 3 + 0) / 2, 0.0])


def test_the_probability_of_improvement_counts_half_of_a_tie():
    assert metrics.probability_of_improvement([A([1.0, 2.0])], [A([1.0, 0.0])]) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    two = metrics.probability_of_improvement([A([1.0, 2.0]), A([0.0])], [A([1.0, 0.0]), A([1.0, 2.0, 3.0])])
    assert two == pytest.approx(0.875 / 2)


def test_the_probability_of_improvement_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(3)
    x, y = rng.integers(5, size=9).astype(float), rng.integers(5, size=7).astype(float)
    u = stats.mannwhitneyu(x, y).statistic
    assert metrics.probability_of_improvement([x], [y]) == pytest.approx(u / 63, rel=1e-12)


@pytest.mark.parametrize(
    "figure",
    [metrics.mean, metrics.median, metrics.interquartile_mean, metrics.optimality_gap],
    ids=lambda f: f.__name__,
)
def test_figures_of_many_resamples_equal_those_of_each(figure):
    rng = np.random.default_rng(4)
    samples = [rng.normal(size=(3, 5)), rng.normal(size=(3, 6))]
    alone = [figure([sample[row] for sample in samples]) for row in range(3)]
    np.testing.assert_allclose(figure(samples), alone, rtol=1e-12)
