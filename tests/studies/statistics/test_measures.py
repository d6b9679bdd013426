import numpy as np
import pytest

from rl_tracking.studies.statistics import measures
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
