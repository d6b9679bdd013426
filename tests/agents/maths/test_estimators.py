"""Symbols as in the estimators: T macro-steps, N branches, E worlds."""

import itertools
import math

import numpy as np
import pytest
import torch

from rl_tracking.agents.maths import estimators as est
from rl_tracking.agents.maths.losses import clipped_surrogate, normalize
from rl_tracking.errors import UsageError
from tests.agents.toys import ADVANTAGES


def column(values):
    """A sequence of numbers as ``[T, 1]``."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def group(rows):
    """``rows[t][i]`` as ``[T, N, 1]``."""
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(-1)


def close(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-12)


def random_rollout(T=7, N=4, E=3, seed=0):
    """Rewards, values and ends at random; the executed branch's next value the next state's within an episode."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    r, v, v_next = normal(T, N, E), normal(T, E), normal(T, N, E)
    d = torch.rand(T, N, E, generator=draw) < 0.2
    episode_end = d[:, 0] | (torch.rand(T, E, generator=draw) < 0.2)
    v_next[:-1, 0] = torch.where(episode_end[:-1], v_next[:-1, 0], v[1:])
    return r, v, v_next, d, episode_end


def python_gae(r, v, v_next, d, episode_end, gamma, lam):
    """The definition as a sum, one world at a time: A_t = sum_k (gamma lambda)^k delta_{t+k} to the episode's end."""
    T, E = v.shape
    a = torch.zeros(T, E, dtype=torch.float64)
    for e, t in itertools.product(range(E), range(T)):
        for k in range(T - t):
            delta = r[t + k, e] + gamma * (0.0 if d[t + k, e] else v_next[t + k, e]) - v[t + k, e]
            a[t, e] += (gamma * lam) ** k * delta
            if episode_end[t + k, e]:
                break
    return a


# -- GAE --------------------------------------------------------------------------------------------------------------


def test_gae_of_the_worked_example():
    v = [1.0, 4.0, -3.0, -2.0, -1.0, -1.0]
    never = torch.zeros(5, 1, dtype=torch.bool)
    advantage = est.gae(column([0, 0, 1, 0, -0.5]), column(v[:-1]), column(v[1:]), never, never, 0.99, 0.7)
    close(advantage, column([-0.6769795, -5.2481667, 2.484608, 0.67043, -0.49]))


def test_a_truncation_bootstraps_the_final_state_and_cuts_the_trace():
    r, v, v_next = column([1, 2, 3]), column([0.5, 1, 1.5]), column([1, 4, 2])
    episode_end = column([0, 1, 0]).bool()
    # Residuals 1, 2 + .5 * 4 - 1 = 3, 2.5; the trace of .25 goes from the first to the second, and no further.
    close(est.gae(r, v, v_next, torch.zeros_like(episode_end), episode_end, 0.5, 0.5), column([1.75, 3, 2.5]))


def test_a_termination_does_not_bootstrap():
    r, v, v_next = column([1, 2, 3]), column([0.5, 1, 1.5]), column([1, 4, 2])
    end = column([0, 1, 0]).bool()
    # The second residual is 2 - 1 = 1: the value 4 of the state it ended in counts for nothing.
    close(est.gae(r, v, v_next, end, end, 0.5, 0.5), column([1.25, 1, 2.5]))


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
def test_gae_is_the_sum_of_its_definition(gamma, lam):
    r, v, v_next, d, episode_end = random_rollout(N=1)
    executed = (r[:, 0], v, v_next[:, 0], d[:, 0], episode_end)
    close(est.gae(*executed, gamma, lam), python_gae(*executed, gamma, lam))


def test_lambda_1_is_monte_carlo():
    gamma, T = 0.9, 6
    r, v, v_next, d, _ = random_rollout(T=T, N=1, E=2, seed=3)
    never = torch.zeros_like(d[:, 0])
    v_next[:-1, 0] = v[1:]
    advantage = est.gae(r[:, 0], v, v_next[:, 0], never, never, gamma, 1.0)
    for t in range(T):
        discounted = sum(gamma**k * r[t + k, 0] for k in range(T - t)) + gamma ** (T - t) * v_next[-1, 0]
        close(advantage[t], discounted - v[t])


def test_lambda_0_is_one_step():
    r, v, v_next, d, episode_end = random_rollout(N=1)
    delta = r[:, 0] + 0.9 * torch.where(d[:, 0], 0.0, v_next[:, 0]) - v
    close(est.gae(r[:, 0], v, v_next[:, 0], d[:, 0], episode_end, 0.9, 0.0), delta)


def test_gae_is_that_of_stable_baselines3():
    from gymnasium import spaces
    from stable_baselines3.common.buffers import RolloutBuffer

    gamma, lam, T, E = 0.97, 0.8, 8, 3
    r, v, v_next, _, _ = random_rollout(T=T, N=1, E=E, seed=5)
    ends = torch.rand(T, E, generator=torch.Generator().manual_seed(1)) < 0.25
    v_next[:-1, 0] = torch.where(ends[:-1], v_next[:-1, 0], v[1:])
    box = spaces.Box(-1.0, 1.0, (1,), np.float32)
    buffer = RolloutBuffer(T, box, box, "cpu", gae_lambda=lam, gamma=gamma, n_envs=E)
    zeros = np.zeros((E, 1), dtype=np.float32)
    starts = np.ones(E, dtype=bool)
    for t in range(T):
        buffer.add(zeros, zeros, r[t, 0].numpy(), starts, v[t].float(), torch.zeros(E))
        starts = ends[t].numpy()
    buffer.compute_returns_and_advantage(v_next[-1, 0].float(), starts)
    # In that class an end is a termination: a time limit is added to the reward by its caller.
    advantage = est.gae(r[:, 0], v, v_next[:, 0], ends, ends, gamma, lam)
    np.testing.assert_allclose(advantage.numpy(), buffer.advantages, rtol=1e-4, atol=1e-5)


# -- residuals --------------------------------------------------------------------------------------------------------


def test_every_branch_has_its_own_next_value():
    delta = est.residuals(
        group([[1, 2, 3]]), column([10]), group([[100, 200, 300]]), group([[0, 0, 1]]).bool(), gamma=0.5
    )
    close(delta, group([[1 + 50 - 10, 2 + 100 - 10, 3 - 10]]))


def test_with_one_shared_next_value_a_centred_group_ignores_the_critic():
    r = group([[1, 2, 6]])
    cuts = column([0]).bool()
    never = torch.zeros_like(r, dtype=torch.bool)
    for shared in (0.0, 50.0):
        delta = est.residuals(r, column([7]), torch.full_like(r, shared), never, 0.9)
        tail = est.tail(delta, cuts, 0.9, 0.0)
        close(est.hybrid_advantage(delta, tail, advantage="per-sample", baseline="group-mean"), group([[-2, -1, 3]]))


# -- the hybrid forms -------------------------------------------------------------------------------------------------


def test_the_tail_is_the_mean_residual_of_later_states():
    delta, never = group([[1, 3], [2, 6], [10, 30]]), column([0, 0, 0]).bool()
    # Means 2, 4, 20 and a decay of .5: the last state has no tail, the second .5 * 20, the first .5 * (4 + .5 * 20).
    close(est.tail(delta, never, gamma=1.0, lam=0.5), column([7, 10, 0]))
    close(est.tail(delta, column([0, 1, 0]).bool(), gamma=1.0, lam=0.5), column([2, 0, 0]))
    close(est.tail(delta, never, gamma=1.0, lam=0.0), column([0, 0, 0]))


def test_per_sample_and_literal_by_hand():
    delta, never = group([[1, 3], [2, 6]]), column([0, 0]).bool()
    tail = est.tail(delta, never, gamma=1.0, lam=0.5)
    close(tail, column([2, 0]))
    close(est.hybrid_advantage(delta, tail, advantage="per-sample", baseline="none"), group([[3, 3], [2, 6]]))
    close(est.hybrid_advantage(delta, tail, advantage="literal", baseline="none"), group([[4, 4], [4, 4]]))
    close(est.value_target(column([10, 20]), delta, tail), column([14, 24]))


def test_literal_is_the_mean_shared_by_all_samples():
    r, v, v_next, d, _ = random_rollout()
    delta = est.residuals(r, v, v_next, d, 0.9)
    advantage = est.hybrid_advantage(delta, torch.zeros_like(v), advantage="literal", baseline="none")
    assert advantage.shape == delta.shape
    for sample in range(delta.shape[1]):
        close(advantage[:, sample], delta.mean(dim=1))


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_one_sample_is_ppo(lam, advantage):
    gamma = 0.97
    r, v, v_next, d, episode_end = random_rollout(N=1, seed=2)
    delta = est.residuals(r, v, v_next, d, gamma)
    tail = est.tail(delta, episode_end, gamma, lam)
    expected = python_gae(r[:, 0], v, v_next[:, 0], d[:, 0], episode_end, gamma, lam)
    close(est.hybrid_advantage(delta, tail, advantage=advantage, baseline="none")[:, 0], expected)
    close(est.value_target(v, delta, tail), v + expected)


def test_only_the_executed_branch_has_a_tail():
    r, v, v_next, d, episode_end = random_rollout(seed=4)
    delta = est.residuals(r, v, v_next, d, 0.9)
    tail = est.tail(delta, episode_end, 0.9, 0.7)
    advantage = est.hybrid_advantage(delta, tail, advantage="per-sample", baseline="none")
    close(advantage[:, 0], delta[:, 0] + tail)
    close(advantage[:, 1:], delta[:, 1:])
    assert float(tail.abs().max()) > 0.1


def test_baselines_by_hand():
    a = group([[1, 2, 6]])
    close(est.centre(a, "none"), a)
    close(est.centre(a, "group-mean"), group([[-2, -1, 3]]))
    close(est.centre(a, "leave-one-out"), group([[1 - 4, 2 - 3.5, 6 - 1.5]]))


@pytest.mark.parametrize("n", [2, 3, 8])
def test_baselines_of_any_group(n):
    a = random_rollout(N=n)[0]
    centred, left_out = est.centre(a, "group-mean"), est.centre(a, "leave-one-out")
    close(centred.sum(dim=1), torch.zeros_like(a[:, 0]))
    close(left_out, n / (n - 1) * centred)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        close(left_out[:, i], a[:, i] - a[:, others].mean(dim=1))


@pytest.mark.parametrize("baseline", ["group-mean", "leave-one-out"])
def test_one_sample_has_no_baseline(baseline):
    a = group([[1.0]])
    close(est.centre(a, "none"), a)
    with pytest.raises(UsageError, match=f"baseline '{baseline}' needs a group of 2 samples"):
        est.centre(a, baseline)


@pytest.mark.parametrize("baseline", ["group-mean", "leave-one-out"])
def test_a_group_whose_rewards_are_all_equal_teaches_nothing(baseline):
    a = torch.full((3, 5, 2), 0.7, dtype=torch.float64)
    centred = est.centre(a, baseline)
    close(centred, torch.zeros_like(a))
    close(normalize(centred), torch.zeros_like(a))


# -- what is refused and what is measured -----------------------------------------------------------------------------


def test_shapes_are_checked():
    r, v, v_next, d, episode_end = random_rollout()
    delta = est.residuals(r, v, v_next, d, 0.9)
    with pytest.raises(ValueError, match=r"shapes differ: r \(7, 4, 3\), v_next \(6, 4, 3\)"):
        est.residuals(r, v, v_next[:-1], d, 0.9)
    with pytest.raises(ValueError, match="shapes differ: v"):
        est.residuals(r, v[:, :-1], v_next, d, 0.9)
    with pytest.raises(ValueError, match="shapes differ: delta"):
        est.tail(delta, episode_end[:-1], 0.9, 0.5)
    with pytest.raises(ValueError, match="shapes differ: tail"):
        est.hybrid_advantage(delta, v[:, :1], advantage="per-sample", baseline="none")
    with pytest.raises(ValueError, match="shapes differ"):
        est.gae(r[:, 0], v, v_next[:, 0], d[:, 0], episode_end[:, :1], 0.9, 0.5)


def test_explained_variance():
    target = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    assert est.explained_variance(target, target) == 1.0
    assert est.explained_variance(target, target + 5.0) == 1.0
    assert est.explained_variance(target, torch.zeros_like(target)) == 0.0
    assert est.explained_variance(target, -target) == pytest.approx(-3.0)
    assert est.explained_variance(target, 0.5 * target) == pytest.approx(0.75)
    assert math.isnan(est.explained_variance(torch.ones(3), torch.zeros(3)))


# -- the gradient: exact expectations, by enumeration -----------------------------------------------------------------


def surrogate_gradient(logits, draws, advantage):
    """Gradient of what the update descends, at the policy that sampled (ratios of 1), from N draws."""
    log_prob = torch.log_softmax(logits, dim=-1)[draws]
    loss = clipped_surrogate(log_prob - log_prob.detach(), advantage, 0.2)
    (gradient,) = torch.autograd.grad(loss, logits)
    return -gradient


def bandit_gradients(n, advantage, baseline, v):
    """The exact gradient of a categorical bandit, and mean and variance of the estimate over every group of N draws."""
    logits = torch.tensor([0.3, -0.5, 1.1], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([1.0, -2.0, 0.4], dtype=torch.float64)
    pi = torch.softmax(logits, dim=-1)
    (exact,) = torch.autograd.grad((pi * r).sum(), logits)
    mean, square = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for draws in itertools.product(range(3), repeat=n):
        chosen = torch.tensor(draws)
        delta = (r[chosen] - v).view(1, n, 1)
        a = est.hybrid_advantage(
            delta, torch.zeros(1, 1, dtype=torch.float64), advantage=advantage, baseline=baseline
        ).flatten()
        gradient = surrogate_gradient(logits, chosen, a)
        weight = pi.detach()[chosen].prod()
        mean, square = mean + weight * gradient, square + weight * gradient**2
    return exact, mean, square - mean**2


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("v", [0.0, 3.0])
def test_the_per_sample_form_has_the_exact_gradient(n, v):
    exact, mean, _ = bandit_gradients(n, "per-sample", "none", v)
    assert float(exact.abs().max()) > 0.1
    close(mean, exact)


@pytest.mark.parametrize("n", [2, 4])
def test_leave_one_out_keeps_the_gradient_and_the_group_mean_shrinks_it(n):
    exact, mean, _ = bandit_gradients(n, "per-sample", "leave-one-out", 3.0)
    close(mean, exact)
    exact, mean, _ = bandit_gradients(n, "per-sample", "group-mean", 3.0)
    close(mean, (n - 1) / n * exact)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_literal_form_has_one_nth_of_the_signal(n):
    exact, mean, _ = bandit_gradients(n, "literal", "none", 3.0)
    close(mean, exact / n)


def test_the_literal_form_is_noisier_for_its_signal():
    n, v = 4, 0.2
    _, signal, noise = bandit_gradients(n, "per-sample", "none", v)
    _, literal_signal, literal_noise = bandit_gradients(n, "literal", "none", v)
    assert float(literal_noise.sum() / literal_signal.square().sum()) > 2 * float(noise.sum() / signal.square().sum())


@pytest.mark.parametrize(("advantage", "share"), [("per-sample", 1.0), ("literal", 0.5)])
def test_a_gaussian_bandit_with_an_analytic_gradient(advantage, share):
    """J(mu) = E[-(a - 2)^2] has the gradient -2 (mu - 2); Gauss-Hermite quadrature makes the expectation exact."""
    points, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    mu, sigma, estimate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True), 0.8, 0.0
    for (x, p), (y, q) in itertools.product(zip(points, weights, strict=True), repeat=2):
        action = 0.5 + sigma * torch.tensor([x, y], dtype=torch.float64)
        delta = -((action - 2.0) ** 2).view(1, 2, 1)
        a = est.hybrid_advantage(
            delta, torch.zeros(1, 1, dtype=torch.float64), advantage=advantage, baseline="none"
        ).flatten()
        log_prob = torch.distributions.Normal(mu, sigma).log_prob(action)
        loss = clipped_surrogate(log_prob - log_prob.detach(), a, 0.2)
        (gradient,) = torch.autograd.grad(loss, mu)
        estimate -= p * q * float(gradient)
    assert estimate == pytest.approx(share * -2 * (0.5 - 2.0), rel=1e-6)


class TwoSteps:
    """A decision process of two steps, small enough to enumerate: the first action leads to a state of its own."""

    gamma = 0.9
    first = torch.tensor([0.5, -1.0], dtype=torch.float64)  # reward of the first action
    second = torch.tensor([[2.0, 0.0], [-1.0, 4.0]], dtype=torch.float64)  # of the second, by state and action

    def __init__(self):
        self.logits = torch.tensor([[0.4, -0.2], [1.0, 0.3], [-0.6, 0.1]], dtype=torch.float64, requires_grad=True)
        self.pi = torch.softmax(self.logits.detach(), dim=-1)
        self.v_second = (self.pi[1:] * self.second).sum(dim=-1)
        self.q_first = self.first + self.gamma * self.v_second
        self.v_first = (self.pi[0] * self.q_first).sum()

    def exact(self):
        """Sum over visited states of the gradient of sum_a pi(a|s) Q(s, a)."""
        pi = torch.softmax(self.logits, dim=-1)
        objective = (pi[0] * self.q_first).sum() + (self.pi[0] * (pi[1:] * self.second).sum(dim=-1)).sum()
        return torch.autograd.grad(objective, self.logits)[0]

    def expected(self, n, lam, v_error=0.0, executed_only=False, one_sample_tail=False):
        """Mean over every outcome of the summed gradients of both steps."""
        total = torch.zeros_like(self.pi)
        # The critic's errors have a pattern of their own, so that they don't cancel.
        v0, v1 = self.v_first + v_error, self.v_second + v_error * torch.tensor([2.0, -1.0], dtype=torch.float64)
        for a0 in itertools.product(range(2), repeat=n):
            for a1 in itertools.product(range(2), repeat=n):
                tried, later, s = torch.tensor(a0), torch.tensor(a1), a0[0]
                r = torch.stack([self.first[tried], self.second[s][later]]).unsqueeze(-1)
                v = torch.stack([v0, v1[s]]).unsqueeze(-1)
                v_next = torch.stack([v1[tried], torch.zeros(n, dtype=torch.float64)]).unsqueeze(-1)
                d = torch.tensor([False, True]).view(2, 1, 1).expand(2, n, 1)
                delta = est.residuals(r, v, v_next, d, self.gamma)
                seen = delta[:, :1] if one_sample_tail else delta
                tail = est.tail(seen, d[:, 0], self.gamma, lam)
                a = est.hybrid_advantage(delta, tail, advantage="per-sample", baseline="none").squeeze(-1)
                weight = self.pi[0][tried].prod() * self.pi[1 + s][later].prod()
                samples = slice(0, 1) if executed_only else slice(None)
                for state, draws, advantages in ((0, tried, a[0]), (1 + s, later, a[1])):
                    gradient = surrogate_gradient(self.logits, (state, draws[samples]), advantages[samples])
                    total += weight * gradient
        return total


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_with_the_true_critic_the_gradient_is_exact_for_any_lambda(n, lam):
    process = TwoSteps()
    close(process.expected(n, lam), process.exact())


def test_with_lambda_1_the_executed_samples_do_not_depend_on_the_critic():
    process = TwoSteps()
    close(process.expected(1, 1.0, v_error=5.0), process.exact())
    close(process.expected(2, 1.0, v_error=5.0, executed_only=True), process.exact())
    biased = process.expected(2, 0.0, v_error=5.0, executed_only=True)
    assert float((biased - process.exact()).abs().max()) > 0.1


@pytest.mark.parametrize("lam", [0.3, 0.8])
def test_the_mean_tail_has_the_expectation_of_the_executed_tail(lam):
    process = TwoSteps()
    mean = process.expected(2, lam, v_error=5.0)
    close(process.expected(2, lam, v_error=5.0, one_sample_tail=True), mean)


def test_the_mean_tail_has_less_noise():
    delta = torch.randn(2, 8, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    never = torch.zeros(2, 4000, dtype=torch.bool)
    mean, single = est.tail(delta, never, 1.0, 1.0)[0], est.tail(delta[:, :1], never, 1.0, 1.0)[0]
    assert float(single.var() / mean.var()) == pytest.approx(8.0, rel=0.15)


# -- branches that run on: eq. 16 -------------------------------------------------------------------------------------
# Here n is the horizon: R roots, n steps, N branches, E worlds.


def path(*values):
    """The steps of one branch from one root in one world, ``[1, n, 1, 1]``."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


def random_paths(R=2, n=5, N=3, E=2, ends=0.2, seed=0):
    """Rewards, values and ends at random; within an episode the value of the state reached is that of the next step."""
    draw = torch.Generator().manual_seed(seed)
    shape = (R, n, N, E)
    r, v, v_next = (torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(3))
    d = torch.rand(shape, generator=draw) < ends
    episode_end = d | (torch.rand(shape, generator=draw) < ends)
    v_next[:, :-1] = torch.where(episode_end[:, :-1], v_next[:, :-1], v[:, 1:])
    return r, v, v_next, d, episode_end


def python_path_advantage(r, v, v_next, d, episode_end, gamma):
    """Eq. 16 in words: rewards until the branch or its episode ends, then what the critic says of the state reached."""
    advantage = torch.zeros_like(r)
    for root, k, i, e in itertools.product(*(range(size) for size in r.shape)):
        total, weight = 0.0, 1.0
        for j in range(k, r.shape[1]):
            total += weight * r[root, j, i, e]
            weight *= gamma
            last = j
            if episode_end[root, j, i, e]:
                break
        if not d[root, last, i, e]:
            total += weight * v_next[root, last, i, e]
        advantage[root, k, i, e] = total - v[root, k, i, e]
    return advantage


NO_END = ((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("steps", "ends", "reached", "expected"),
    [
        # One step: 1 + .5 * 20 - 10.
        (1, NO_END, (20, 30, 40), (1.0,)),
        (1, ((1, 0, 0), (1, 0, 0)), (20, 30, 40), (1.0 - 10,)),
        # Two: 1 + .5 * 2 + .25 * 30 - 10, and from the second on 2 + .5 * 30 - 20.
        (2, NO_END, (20, 30, 40), (-0.5, -3.0)),
        (2, ((0, 1, 0), (0, 1, 0)), (20, 30, 40), (2.0 - 10, 2.0 - 20)),
        # Three: 1 + 1 + .75 + .125 * 40 - 10, 2 + 1.5 + .25 * 40 - 20, 3 + .5 * 40 - 30.
        (3, NO_END, (20, 30, 40), (-2.25, -6.5, -7.0)),
        # Terminated by the second step: its state reached counts for nothing, and the third is of another episode.
        (3, ((0, 1, 0), (0, 1, 0)), (20, 99, 40), (1 + 1 - 10.0, 2 - 20.0, -7.0)),
        # Truncated there: what the critic says of the final state, 36, ends the sum.
        (3, ((0, 0, 0), (0, 1, 0)), (20, 36, 40), (1 + 1 + 9 - 10.0, 2 + 18 - 20.0, -7.0)),
        # Terminated by the last step; truncated by the first.
        (3, ((0, 0, 1), (0, 0, 1)), (20, 30, 99), (1 + 1 + 0.75 - 10, 2 + 1.5 - 20, 3 - 30.0)),
        (3, ((0, 0, 0), (1, 0, 0)), (24, 30, 40), (1 + 12 - 10.0, -6.5, -7.0)),
    ],
)
def test_path_advantage_by_hand(steps, ends, reached, expected):
    terminated, episode_end = ends
    values = ((1, 2, 3), (10, 20, 30), reached, terminated, episode_end)
    r, v, v_next, d, episode_end = (path(*value[:steps]) for value in values)
    close(est.path_advantage(r, v, v_next, d.bool(), episode_end.bool(), 0.5), path(*expected))


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_path_advantage_is_the_sum_of_its_definition(n, gamma):
    paths = random_paths(n=n)
    close(est.path_advantage(*paths, gamma), python_path_advantage(*paths, gamma))


def test_a_horizon_of_1_is_the_residual():
    r, v, v_next, d, episode_end = random_paths(R=7, n=1)
    v = v[:, :, :1].expand_as(v)  # one state, and so one value, for all branches
    delta = est.residuals(r[:, 0], v[:, 0, 0], v_next[:, 0], d[:, 0], 0.9)
    close(est.path_advantage(r, v, v_next, d, episode_end, 0.9)[:, 0], delta)


def test_one_branch_that_runs_for_a_whole_rollout_is_gae_with_lambda_1():
    r, v, v_next, d, episode_end = random_rollout(T=9, N=1, seed=6)
    along = est.path_advantage(r[None], v[None, :, None], v_next[None], d[None], episode_end[None, :, None], 0.97)
    close(along[0, :, 0], python_gae(r[:, 0], v, v_next[:, 0], d[:, 0], episode_end, 0.97, 1.0))


def test_the_mean_over_branches_at_the_root_is_equation_16():
    """``A = 1/N sum_i [sum_k gamma^k r_ik + gamma^n V(s_in)] - V(s)`` where no episode ends."""
    gamma, n = 0.9, 4
    r, v, v_next, d, episode_end = random_paths(n=n, ends=0.0)
    v[:, 0] = v[:, 0, :1]
    discounts = gamma ** torch.arange(n, dtype=torch.float64).view(1, n, 1, 1)
    equation = ((discounts * r).sum(dim=1) + gamma**n * v_next[:, -1]).mean(dim=1) - v[:, 0, 0]
    close(est.path_advantage(r, v, v_next, d, episode_end, gamma)[:, 0].mean(dim=1), equation)


def test_a_longer_horizon_trusts_a_wrong_critic_less():
    """A choice now, a coin a step later, a reward after D steps: the critic has it the wrong way round.

    The chain has a good and a bad lane. The choice takes lane c, the coin leaves it there with probability .8, and
    after D steps the lane's reward is paid. Of the start the critic rightly says 0. Every outcome is enumerated, so
    that what is left is bias.
    """
    D, gamma, stay = 8, 0.9, 0.8
    paid = torch.tensor([1.0, -1.0], dtype=torch.float64)
    exact_q = torch.tensor([stay - (1 - stay), (1 - stay) - stay], dtype=torch.float64) * gamma ** (D - 1)
    wrong = -paid  # what the critic says of every state of a lane

    def expected_advantage(n):
        total = torch.zeros(2, dtype=torch.float64)
        for choice, moved in itertools.product(range(2), range(2)):
            lanes = [choice] + [choice if not moved else 1 - choice] * (D - 1)  # where it is after 1, 2 ... D steps
            r = path(*[0.0] * (D - 1), float(paid[lanes[-1]]))[:, :n]
            reached = torch.stack([wrong[lane] for lane in lanes]).view(1, -1, 1, 1)[:, :n]
            here = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], dim=1)
            end = path(*[0] * (D - 1), 1).bool()[:, :n]
            total[choice] += (stay, 1 - stay)[moved] * est.path_advantage(r, here, reached, end, end, gamma)[0, 0, 0, 0]
        return total

    error = [float((expected_advantage(n) - exact_q).abs().max()) for n in range(1, D + 1)]
    assert error[0] > 1.0
    assert (expected_advantage(1) * exact_q < 0).all()  # it would choose the wrong lane
    assert all(later < earlier for earlier, later in itertools.pairwise(error))
    close(expected_advantage(D), exact_q)


def test_of_a_critic_that_is_wrong_everywhere_the_last_state_s_error_remains():
    r, v, v_next, d, episode_end = random_paths(n=6, ends=0.0)
    off = est.path_advantage(r, v + 5.0, v_next + 5.0, d, episode_end, 0.9) - est.path_advantage(
        r, v, v_next, d, episode_end, 0.9
    )
    close(off[:, 0], torch.full_like(off[:, 0], 5.0 * 0.9**6 - 5.0))


def test_paths_do_not_mix_roots_branches_or_worlds():
    paths = random_paths()
    whole = est.path_advantage(*paths, 0.9)
    for root, i, e in itertools.product(range(2), range(3), range(2)):
        one = [tensor[root : root + 1, :, i : i + 1, e : e + 1] for tensor in paths]
        close(est.path_advantage(*one, 0.9), whole[root : root + 1, :, i : i + 1, e : e + 1])


# -- GRPO: what a branch brings, against its group --------------------------------------------------------------------


def branches(*rows):
    """``rows[k][i]`` as ``[1, h, N, 1]``."""
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(0).unsqueeze(-1)


def test_reward_to_go_by_hand():
    r, valid = path(1, 2, 4), path(1, 1, 1).bool()
    close(est.reward_to_go(r, valid, 0.5), path(1 + 1 + 1, 2 + 2, 4))
    close(est.reward_to_go(r, valid, 0.0), r)
    close(est.reward_to_go(r, valid, 1.0), path(7, 6, 4))


def test_reward_to_go_counts_the_root_s_episode_alone():
    # The second branch ends with its second step, the third with its first.
    valid = branches([1, 1, 1], [1, 1, 0], [1, 0, 0]).bool()
    r = branches([1, 1, 1], [2, 2, 2], [4, 4, 4])
    close(est.reward_to_go(r, valid, 0.5), branches([3, 2, 1], [4, 2, 0], [4, 0, 0]))
    close(est.reward_to_go(r, torch.zeros_like(valid), 0.5), torch.zeros_like(r))


def test_reward_to_go_is_the_path_advantage_of_a_critic_that_says_nothing():
    r, _, _, _, _ = random_paths(n=6)
    none, never = torch.zeros_like(r), torch.zeros_like(r, dtype=torch.bool)
    close(est.reward_to_go(r, ~never, 0.8), est.path_advantage(r, none, none, never, never, 0.8))


def relative(g, valid=None, baseline="group-mean", scale=True):
    valid = torch.ones_like(g) if valid is None else valid
    return est.group_relative(g, valid.bool(), baseline=baseline, scale=scale)


def test_group_relative_by_hand():
    g = branches([1, 2, 6])
    deviation = math.sqrt((4 + 1 + 9) / 3)
    # The small number that keeps the division from failing is 1e-8, of which 1e-6 sees nothing.
    close(relative(g), branches([-2 / deviation, -1 / deviation, 3 / deviation]))
    close(relative(g, scale=False), branches([-2, -1, 3]))
    close(relative(g, baseline="leave-one-out", scale=False), branches([1 - 4, 2 - 3.5, 6 - 1.5]))
    close(relative(g, baseline="leave-one-out"), 3 / 2 * relative(g))


def test_only_those_alive_make_a_group():
    g, valid = branches([1, 2, 6], [1, 2, 6], [1, 2, 6]), branches([1, 0, 1], [0, 1, 0], [0, 0, 0])
    # Of the first row a mean of 3.5 and a deviation of 2.5; who is alone has no one to be compared with.
    close(relative(g, valid), branches([-1, 0, 1], [0, 0, 0], [0, 0, 0]))
    close(relative(g, valid, scale=False), branches([-2.5, 0, 2.5], [0, 0, 0], [0, 0, 0]))
    close(relative(g, valid, baseline="leave-one-out", scale=False), branches([-5, 0, 5], [0, 0, 0], [0, 0, 0]))


def test_what_the_dead_have_is_not_looked_at():
    g, valid = branches([1.0, math.nan, 6.0, math.inf]), branches([1, 0, 1, 0])
    close(relative(g, valid), branches([-1, 0, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 3, 7, 8, 12])
@pytest.mark.parametrize("baseline", ["group-mean", "leave-one-out"])
def test_a_group_of_equals_teaches_nothing_at_all(baseline, n, dtype):
    """Exactly: the rounding of a mean, divided by a deviation that is the same rounding, would be an advantage of 1."""
    each = 100 * torch.randn(2, 3, 1, 500, generator=torch.Generator().manual_seed(0)).to(dtype)
    g = each.expand(2, 3, n, 500).contiguous()
    for scale in (True, False):
        assert not bool(relative(g, baseline=baseline, scale=scale).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("baseline", ["group-mean", "leave-one-out"])
def test_one_rounding_error_is_no_advantage(baseline, dtype):
    g = torch.full((1, 1, 4, 3), 1234.5, dtype=dtype)
    g[0, 0, 2] = torch.nextafter(g[0, 0, 2], torch.tensor(torch.inf, dtype=dtype))
    assert bool((g[0, 0, 2] != g[0, 0, 0]).all())
    assert not bool(relative(g, baseline=baseline).any())
    g[0, 0, 2] = 1234.5 * (1 + 1e-5)  # small, but more than rounding
    assert bool((relative(g, baseline=baseline)[0, 0, 2] > 1.5).all())


def test_the_rounding_of_a_sum_is_that_of_its_largest_part():
    """Later rewards of 1e6 that cancel leave a difference of their rounding at the root; what follows them is exact."""
    g = torch.tensor([[[0.25], [0.125]], [[1e6], [1e6]], [[3e-3], [1e-3]]]).view(1, 3, 2, 1)
    expected = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]]).view(1, 3, 2, 1)
    torch.testing.assert_close(relative(g), expected, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_every_step_of_every_root_and_world_is_a_group_of_its_own(n):
    g = 3 * random_paths(N=n, seed=4)[0] + 10
    valid = torch.rand(g.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    one, without_std = relative(g, valid), relative(g, valid, scale=False)
    left_out = relative(g, valid, baseline="leave-one-out", scale=False)
    for root, k, e in itertools.product(range(2), range(5), range(2)):
        living = valid[root, k, :, e].nonzero().flatten().tolist()
        values = {i: float(g[root, k, i, e]) for i in living}
        for i in range(n):
            got = (float(one[root, k, i, e]), float(without_std[root, k, i, e]), float(left_out[root, k, i, e]))
            if i not in living or len(living) < 2:
                assert got == (0.0, 0.0, 0.0)
                continue
            mean, others = np.mean(list(values.values())), np.mean([values[j] for j in living if j != i])
            expected = ((values[i] - mean) / np.std(list(values.values())), values[i] - mean, values[i] - others)
            assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_scaled_groups_have_mean_0_and_deviation_1_whatever_the_rewards_size():
    g = random_paths(N=8)[0]
    small, large = relative(g), relative(1000 * g - 7)
    close(small.mean(dim=2), torch.zeros_like(small[:, :, 0]))
    close(small.std(dim=2, correction=0), torch.ones_like(small[:, :, 0]))
    close(small, large)


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize(("baseline", "share"), [("leave-one-out", lambda n: 1.0), ("group-mean", lambda n: 1 - 1 / n)])
def test_without_the_deviation_the_gradient_is_exact_up_to_its_share(baseline, share, n):
    """Every group of n draws of a categorical bandit; with the deviation the expectation is another one."""
    logits = torch.tensor([0.3, -0.5, 1.1], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([1.0, -2.0, 0.4], dtype=torch.float64)
    pi = torch.softmax(logits, dim=-1)
    (exact,) = torch.autograd.grad((pi * r).sum(), logits)
    plain, scaled = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for draws in itertools.product(range(3), repeat=n):
        chosen = torch.tensor(draws)
        weight, g = pi.detach()[chosen].prod(), r[chosen].view(1, 1, n, 1)
        a = relative(g, baseline=baseline, scale=False).flatten()
        plain = plain + weight * surrogate_gradient(logits, chosen, a)
        scaled = scaled + weight * surrogate_gradient(logits, chosen, relative(g, baseline=baseline).flatten())
    close(plain, share(n) * exact)
    assert float((scaled - share(n) * exact).abs().max()) > 0.01


def test_shapes_of_paths_are_checked():
    r, v, v_next, d, episode_end = random_paths()
    with pytest.raises(ValueError, match="shapes differ"):
        est.path_advantage(r, v[:, :-1], v_next, d, episode_end, 0.9)
    with pytest.raises(ValueError, match=r"shapes differ: r \(2, 5, 3, 2\), valid \(2, 4, 3, 2\)"):
        est.reward_to_go(r, ~d[:, :-1], 0.9)
    with pytest.raises(ValueError, match="shapes differ: g"):
        est.group_relative(r, ~d[:, :, :-1], baseline="group-mean", scale=True)
