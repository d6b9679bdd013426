import numpy as np
import pytest
from scipy import stats

from rl_tracking.studies.statistics import measures
from rl_tracking.studies.statistics.measures import Times
from tests.studies.synthetic import cell, task

A = np.array


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


def test_times_have_the_unit_they_are_asked_in():
    runs = [cell([0.0, 0.8]), cell([0.0, 0.1])]
    for unit, scale in (("macro_steps", 1), ("simulator_steps", 8), ("seconds", 0.01)):
        times = measures.times(runs, task(), unit)
        np.testing.assert_allclose(times.values, [100 * scale, 100 * scale])
        assert times.reached.tolist() == [True, False]


def test_measures_are_reversed_where_less_is_better():
    plan = task(threshold=0.5, low=0.0, high=10.0, better="down")
    run = cell([9.0, 3.0, 5.0, 1.0])
    assert measures.drawdown(run, plan) == 2.0  # from 3 up to 5
    np.testing.assert_allclose(measures.normalised(A([10.0, 2.5, 0.0]), plan), [0, 0.75, 1])
    reached = measures.times([run, cell([9.0, 0.0])], plan, "macro_steps")
    assert reached.reached.tolist() == [False, True]
    assert reached.values[1] == pytest.approx(100 * 8.5 / 9)


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
    found = measures.time_to_threshold(run.along("macro_steps"), run.scores("score"), threshold)
    assert found == (pytest.approx(expected[0]), expected[1])


def test_times_are_compared_where_all_of_them_are_known():
    fast = Times(A([10.0, 60.0, 20.0]), A([True, True, True]))
    slow = Times(A([30.0, 50.0, 70.0]), A([True, False, False]))  # one run ended at 50 without the threshold
    assert measures.horizon(fast) == np.inf
    assert measures.horizon(slow) == 50
    restricted = measures.restricted([fast, slow])
    np.testing.assert_array_equal(restricted[0], [10, 50, 20])
    np.testing.assert_array_equal(restricted[1], [30, 50, 50])


def median(values, reached):
    return measures.survival_median([Times(A(values, float), A(reached, bool)).sample])


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
