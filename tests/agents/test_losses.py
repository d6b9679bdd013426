import math

import pytest
import torch

from rl_tracking.agents import losses


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def surrogate(ratio, advantage, eps=0.2):
    """Value and gradient with respect to the log-ratio, of one sample."""
    log_ratio = double(math.log(ratio)).requires_grad_()
    loss = losses.clipped_surrogate(log_ratio, double(advantage), eps)
    loss.backward()
    return float(loss.detach()), float(log_ratio.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # Within the range: -rho a, with the gradient -rho a.
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (0.9, -2.0, 1.8, 1.8),
        # Moved far in the good direction: clipped, no gradient.
        (1.5, 2.0, -2.4, 0.0),
        (0.5, -2.0, 1.6, 0.0),
        # Moved far in the bad direction: the way back stays open.
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_clipped_surrogate(ratio, advantage, loss, gradient):
    assert surrogate(ratio, advantage) == pytest.approx((loss, gradient), rel=1e-9, abs=1e-12)


def test_the_surrogate_is_a_mean_over_all_samples():
    log_ratio, advantage = double(1.0, 1.5, 0.5, 1.0).log().view(2, 2), double(1.0, 2.0, -2.0, 3.0).view(2, 2)
    assert float(losses.clipped_surrogate(log_ratio, advantage, 0.2)) == pytest.approx(-(1.0 + 2.4 - 1.6 + 3.0) / 4)


def test_value_loss_is_the_mean_squared_error():
    v, target = double(1.0, 2.0), double(0.0, 4.0)
    assert float(losses.value_loss(v, target, double(9.0, 9.0), None)) == pytest.approx((1 + 4) / 2)


def test_a_clipped_value_moves_no_further_than_its_range():
    v = double(2.0, 0.95, -3.0).requires_grad_()
    loss = losses.value_loss(v, double(5.0, 0.0, 0.0), double(1.0, 1.0, 1.0), 0.1)
    # 2 counts as 1.1, .95 as itself, -3 as .9.
    assert float(loss.detach()) == pytest.approx((3.9**2 + 0.95**2 + 0.9**2) / 3)
    loss.backward()
    assert v.grad.tolist() == pytest.approx([0.0, 2 * 0.95 / 3, 0.0])


def test_kl_estimate_of_two_gaussians():
    """KL(N(0, 1) || N(m, s)) = log s + (1 + m^2) / (2 s^2) - 1/2."""
    m, s = 0.3, 1.2
    old, new = torch.distributions.Normal(double(0.0), 1.0), torch.distributions.Normal(double(m), s)
    torch.manual_seed(0)
    sample = old.sample((400_000,))
    estimate = float(losses.kl_estimate(new.log_prob(sample) - old.log_prob(sample)))
    assert estimate == pytest.approx(math.log(s) + (1 + m**2) / (2 * s**2) - 0.5, rel=0.02)


def test_kl_estimate_is_never_negative_even_for_one_sample():
    log_ratio = torch.linspace(-3, 3, 61, dtype=torch.float64)
    each = torch.stack([losses.kl_estimate(value) for value in log_ratio])
    assert float(each.min()) >= 0.0
    assert float(losses.kl_estimate(torch.zeros(5))) == 0.0
    # log 2: 2 - 1 - log 2.
    assert float(losses.kl_estimate(double(math.log(2.0)))) == pytest.approx(1 - math.log(2.0))


def test_clip_fraction_counts_both_sides():
    log_ratio = double(1.0, 1.19, 1.21, 0.81, 0.79, 3.0).log()
    assert float(losses.clip_fraction(log_ratio, 0.2)) == pytest.approx(3 / 6)


def test_normalize():
    a = double(1.0, 2.0, 6.0).view(3, 1)
    deviation = math.sqrt((4 + 1 + 9) / 2)
    assert losses.normalize(a).flatten().tolist() == pytest.approx([-2 / deviation, -1 / deviation, 3 / deviation])
    assert losses.normalize(double(5.0)).tolist() == [5.0]
    assert losses.normalize(torch.full((4,), 3.0)).tolist() == [0.0] * 4
