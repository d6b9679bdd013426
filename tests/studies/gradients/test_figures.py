"""Noise, cosine and alignment: numbers by hand, and Gaussian gradients whose figures are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from rl_tracking.errors import UsageError
from rl_tracking.studies.gradients.figures import Products, figures, noise_ratio, signal

_FEW = 200  # resamples


def _gaussian(count, mean, deviation, seed):
    noise = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean + deviation * noise


MEAN = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)  # of length 3
EXACT = MEAN.repeat(2, 1)


def test_two_gradients_by_hand():
    # g = (3, 1), (1, 1): mean (2, 1); g0 . g1 = 4 stands for |E g|^2; mean of |g|^2 is 6, so the spread is 2.
    gradients = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    products = Products.of(gradients, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    found = figures(products, np.random.default_rng(0), _FEW)
    assert signal(products.gram) == 4.0
    assert found["noise"].value == pytest.approx(2 / 4)
    assert found["cosine"].value == pytest.approx(2 / math.sqrt(4))
    assert found["alignment"].value == pytest.approx((3 / math.sqrt(10) + 1 / math.sqrt(2)) / 2)


def test_the_noise_of_gaussian_gradients_is_the_trace_of_their_covariance_over_the_square_of_their_mean():
    products = Products.of(_gaussian(4000, MEAN, 1.5, 0), EXACT)
    found = figures(products, np.random.default_rng(0), 20)
    assert found["noise"].value == pytest.approx(3 * 1.5**2 / 9, rel=0.05)
    assert found["cosine"].value == pytest.approx(1.0, abs=0.02)


def test_the_signal_of_few_noisy_gradients_is_unbiased():
    squares = [signal((g @ g.T).numpy()) for g in (_gaussian(4, MEAN, 3.0, seed) for seed in range(2000))]
    error = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - 9.0) < 4 * error
    naive = np.mean([float(_gaussian(4, MEAN, 3.0, seed).mean(0).square().sum()) for seed in range(2000)])
    assert naive > 9.0 + 4 * error  # what the pairs of different rollouts are for


def test_multiplying_an_estimator_changes_no_figure():
    gradients = _gaussian(20, MEAN, 1.0, 1)
    plain, larger = (
        figures(Products.of(factor * gradients, EXACT), np.random.default_rng(0), _FEW) for factor in (1.0, 7.0)
    )
    for name, figure in plain.items():
        assert dataclasses.astuple(larger[name]) == pytest.approx(dataclasses.astuple(figure))


def test_the_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = 3 * 1.0 / 9
    covered = 0
    for seed in range(100):
        products = Products.of(_gaussian(40, MEAN, 1.0, seed), EXACT)
        noise = figures(products, np.random.default_rng(seed), _FEW)["noise"]
        covered += noise.low <= truth <= noise.high
    assert 84 <= covered <= 100


def test_the_ratio_of_two_noises():
    quiet, loud = (Products.of(_gaussian(400, MEAN, deviation, 3), EXACT) for deviation in (0.5, 1.0))
    found = noise_ratio(quiet, loud, np.random.default_rng(0), scale=2.0, resamples=_FEW)
    assert found.value == pytest.approx(2.0 * 4.0, rel=0.1)
    assert found.low < 8.0 < found.high


def test_gradients_without_a_mean_have_infinite_noise_and_no_direction():
    products = Products.of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(2, 2))
    found = figures(products, np.random.default_rng(0), _FEW)
    assert found["noise"].value == math.inf
    assert math.isnan(found["cosine"].value)
    assert (found["cosine"].low, found["cosine"].high) == (-math.inf, math.inf)


def test_one_gradient_is_not_enough():
    with pytest.raises(UsageError, match="2 rollouts or more"):
        Products.of(torch.ones(1, 3), torch.ones(2, 3))
