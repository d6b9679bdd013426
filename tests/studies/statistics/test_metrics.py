import numpy as np
import pytest
from scipy import stats

from rl_tracking.studies.statistics import measures, metrics, survival
from rl_tracking.studies.statistics.survival import Times
from tests.studies.synthetic import cell, task

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
def test_many_resamples_at_once_are_each_alone(figure):
    rng = np.random.default_rng(4)
    samples = [rng.normal(size=(3, 5)), rng.normal(size=(3, 6))]
    alone = [figure([sample[row] for sample in samples]) for row in range(3)]
    np.testing.assert_allclose(figure(samples), alone, rtol=1e-12)


def test_final_area_and_drawdown_by_hand():
    run, plan = cell([0.0, 0.6, 0.2, 1.0]), task()
    assert measures.final(run, plan) == 1.0
    assert measures.drawdown(run, plan) == pytest.approx(0.4)
    budget = type("B", (), {"unit": "macro_steps", "amount": 300.0})
    assert measures.area(run, plan, budget) == pytest.approx((0.3 + 0.4 + 0.6) / 3)


def test_the_area_weighs_stretches_by_their_length():
    assert measures.mean_height(A([0.0, 1.0, 4.0]), A([0.0, 1.0, 1.0])) == pytest.approx((0.5 + 3) / 4)


def test_the_mean_of_an_update_skips_what_was_not_logged():
    run = cell([0, 0, 0], updates={"approx_kl": 0.02, "std": float("nan")})
    assert measures.update_mean(run, "approx_kl") == pytest.approx(0.02)
    assert np.isnan(measures.update_mean(run, "std"))
    assert np.isnan(measures.update_mean(run, "unheard_of"))


def test_scores_are_scaled_by_the_range_of_the_task():
    np.testing.assert_allclose(
        measures.normalised(A([-200.0, -50.0, 100.0]), task(low=-200.0, high=100.0)), [0, 0.5, 1]
    )


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ([0.0, 0.4, 0.9, 0.1], 0.8, (180.0, True)),  # 4/5 of the way from 0.4 to 0.9; that it falls again is drawdown
        ([0.0, 0.4, 0.8, 1.0], 0.8, (200.0, True)),
        ([0.9, 0.0, 0.0, 0.0], 0.8, (0.0, True)),
        ([0.0, 0.1, 0.2, 0.3], 0.8, (300.0, False)),
        ([-400.0, -100.0], -250.0, (50.0, True)),
    ],
)
def test_the_threshold_is_reached_between_two_evaluations_or_not_at_all(scores, threshold, expected):
    run = cell(scores)
    found = survival.time_to_threshold(run.along("macro_steps"), run.scores("score"), threshold)
    assert found == (pytest.approx(expected[0]), expected[1])


def test_times_have_the_unit_they_are_asked_in():
    runs = [cell([0.0, 0.8]), cell([0.0, 0.1])]
    for unit, scale in (("macro_steps", 1), ("simulator_steps", 8), ("seconds", 0.01)):
        times = measures.times(runs, task(), unit)
        np.testing.assert_allclose(times.values, [100 * scale, 100 * scale])
        assert times.reached.tolist() == [True, False]


def test_times_are_compared_where_all_of_them_are_known():
    fast = Times(A([10.0, 60.0, 20.0]), A([True, True, True]))
    slow = Times(A([30.0, 50.0, 70.0]), A([True, False, False]))  # one run ended at 50 without the threshold
    assert survival.horizon(fast) == np.inf
    assert survival.horizon(slow) == 50
    restricted = survival.restricted([fast, slow])
    np.testing.assert_array_equal(restricted[0], [10, 50, 20])
    np.testing.assert_array_equal(restricted[1], [30, 50, 50])


def median(values, reached):
    return survival.survival_median([Times(A(values, float), A(reached, bool)).sample])


def test_the_median_time_without_censoring_is_the_one_by_which_half_are_there():
    assert median([5, 1, 3, 2], [1, 1, 1, 1]) == 2
    assert median([5, 1, 3], [1, 1, 1]) == 3


def test_the_median_time_of_runs_that_mostly_fail_is_not_reached():
    assert median([5, 9, 9], [1, 0, 0]) == np.inf
    assert median([5, 9], [1, 0]) == 5


def test_the_median_time_by_kaplan_and_meier_by_hand():
    # 6 runs: 1 reaches at 2 (5/6 left), 1 ends at 3 unknown, 2 reach at 4 (5/6 * 2/4 = 5/12 left).
    assert median([2, 3, 4, 4, 9, 9], [1, 0, 1, 1, 0, 0]) == 4
    # The run that ends at 4 was still there when the other reached it: 5/6 * 3/4 = 0.625, then * 1/2 at 9.
    assert median([2, 3, 4, 4, 9, 9], [1, 0, 0, 1, 1, 0]) == 9


def test_the_median_time_agrees_with_scipys_survival_curve():
    rng = np.random.default_rng(6)
    for _ in range(30):
        values, reached = rng.integers(1, 12, size=9).astype(float), rng.random(9) < 0.7
        sample = stats.CensoredData.right_censored(values, ~reached)
        curve = stats.ecdf(sample).sf
        below = curve.quantiles[curve.probabilities <= 0.5 + 1e-12]
        assert median(values, reached) == (below[0] if len(below) else np.inf)
