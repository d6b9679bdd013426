import math

import pytest
import torch

from rl_tracking.agents.maths import losses


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
    almost = torch.full((4,), 3.1)
    almost[0] = torch.nextafter(almost[0], torch.tensor(torch.inf))
    assert losses.normalize(almost).tolist() == [0.0] * 4


# -- divergence from a reference --------------------------------------------------------------------------------------

# KL of N(0, 1) from N(.3, 1.2): log 1.2 + (1 + .09) / 2.88 - 1/2.
GAUSSIAN_KL = math.log(1.2) + 1.09 / 2.88 - 0.5


@pytest.fixture(scope="module")
def gaussian_log_ratio():
    """``log pi_ref - log pi_theta`` of many samples of pi_theta."""
    mine, reference = torch.distributions.Normal(double(0.0), 1.0), torch.distributions.Normal(double(0.3), 1.2)
    torch.manual_seed(0)
    sample = mine.sample((400_000,))
    return reference.log_prob(sample) - mine.log_prob(sample)


@pytest.mark.parametrize(("estimator", "tolerance"), [("k1", 0.03), ("k3", 0.01)])
def test_reference_kl_of_two_gaussians(estimator, tolerance, gaussian_log_ratio):
    estimate = float(losses.reference_kl(gaussian_log_ratio, estimator))
    assert estimate == pytest.approx(GAUSSIAN_KL, rel=tolerance)


def test_k2_of_two_gaussians_is_biased_by_what_is_known():
    """Equal variances: x is Gaussian with mean -KL and variance 2 KL, so that the mean of x^2 / 2 is KL + KL^2 / 2."""
    torch.manual_seed(0)
    sample = torch.randn(400_000, dtype=torch.float64)
    shift = 1.2
    log_ratio = shift * sample - shift**2 / 2
    kl = shift**2 / 2
    assert float(losses.reference_kl(log_ratio, "k2")) == pytest.approx(kl + kl**2 / 2, rel=0.02)


def test_k3_has_less_noise_than_k1():
    """Near the reference, that is: N(0, 1) and N(.3, 1), 4000 estimates from 100 samples each."""
    torch.manual_seed(0)
    groups = 0.3 * torch.randn(4000, 100, dtype=torch.float64) - 0.3**2 / 2
    spread = {k: torch.stack([losses.reference_kl(group, k) for group in groups]).std() for k in ("k1", "k3")}
    assert float(spread["k3"]) < 0.5 * float(spread["k1"])


# Draws in the very proportions of the policy: a mean over them is an exact expectation.
DRAWS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
POLICY, REFERENCE = double(0.4, 0.2, 0.4), double(0.1, 0.6, 0.3)


def categorical(estimator):
    """The estimate, and its gradient with respect to the logits of the policy."""
    logits = POLICY.log().requires_grad_()
    log_pi = torch.log_softmax(logits, dim=-1)
    estimate = losses.reference_kl(REFERENCE.log()[DRAWS] - log_pi[DRAWS], estimator)
    (gradient,) = torch.autograd.grad(estimate, logits)
    return float(estimate.detach()), gradient


def divergence(direction):
    """The divergence itself and its gradient: ``mine`` is KL(pi || ref), ``theirs`` KL(ref || pi)."""
    logits = POLICY.log().requires_grad_()
    log_pi = torch.log_softmax(logits, dim=-1)
    if direction == "mine":
        value = (log_pi.exp() * (log_pi - REFERENCE.log())).sum()
    else:
        value = (REFERENCE * (REFERENCE.log() - log_pi)).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    return float(value.detach()), gradient


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_have_the_divergence_as_their_mean(estimator):
    assert categorical(estimator)[0] == pytest.approx(divergence("mine")[0], rel=1e-9)
    assert divergence("mine")[0] > 0.2


def test_k2_by_hand():
    x = (REFERENCE / POLICY).log()
    assert categorical("k2")[0] == pytest.approx(float((POLICY * x**2).sum()) / 2, rel=1e-9)
    # log 2 and -log 2.
    assert float(losses.reference_kl(double(math.log(2), -math.log(2)), "k2")) == pytest.approx(math.log(2) ** 2 / 2)


@pytest.mark.parametrize(("estimator", "direction"), [("k1", "mine"), ("k2", "mine"), ("k3", "theirs")])
def test_the_gradient_of_each_is_that_of_a_divergence(estimator, direction):
    _, gradient = categorical(estimator)
    torch.testing.assert_close(gradient, divergence(direction)[1], rtol=1e-6, atol=1e-12)
    assert float(gradient.abs().max()) > 0.05


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [
        ("k1", -0.7, 0.7),
        ("k2", 0.7**2 / 2, 0.7),
        ("k3", math.exp(0.7) - 1 - 0.7, math.exp(0.7) - 1),
    ],
)
def test_one_sample_by_hand(estimator, value, slope):
    """Value and derivative at x = .7; the slope of k1 is that of k2, as its own does not know the reference."""
    x = double(0.7).requires_grad_()
    estimate = losses.reference_kl(x, estimator)
    estimate.backward()
    assert float(estimate.detach()) == pytest.approx(value, rel=1e-9)
    assert x.grad.tolist() == pytest.approx([slope], rel=1e-9)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_divergence_from_oneself_is_none(estimator):
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    estimate = losses.reference_kl(x, estimator)
    estimate.backward()
    assert float(estimate.detach()) == 0.0
    assert not bool(x.grad.any())


def test_k2_and_k3_are_never_negative_and_k1_can_be():
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    each = {k: torch.stack([losses.reference_kl(value, k) for value in x]) for k in ("k1", "k2", "k3")}
    assert float(each["k2"].min()) >= 0.0
    assert float(each["k3"].min()) >= 0.0
    assert float(each["k1"].min()) == -3.0
