"""Guided sampling: better samples, and the very gradient that the policy's own draws have."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, StateDependentNoiseDistribution

from rl_tracking import HybridGRPO
from rl_tracking.agents.collect.distributions import group_log_prob, sample_group
from rl_tracking.agents.extensions.guided_sampling import GuidedSampler
from rl_tracking.errors import UsageError
from tests.agents.toys import LineVecEnv, hybrid, logged, one_line

REWARD = torch.tensor([0.0, 1.0, -2.0, 3.0])
Q = torch.tensor([1.0, 3.0, -1.0, 0.5])  # wrong on purpose


class KnownQ(GuidedSampler):
    def action_values(self, policy, observation, action):
        return Q[action.long()]


def drawn(logits, worlds, n, beta=0.5, candidates=8):
    """Actions of a bandit with a categorical policy, and what they weigh."""
    model = hybrid(LineVecEnv(2, spaces.Discrete(4)))
    sampler = KnownQ(model.policy, spaces.Discrete(4), candidates, beta)
    distribution = CategoricalDistribution(4).proba_distribution(logits.expand(worlds, 4))
    torch.manual_seed(0)
    action, weight, _ = sampler.draw(model.policy, torch.zeros(worlds, 2), distribution, n)
    return distribution, action, weight


def test_the_weighted_gradient_is_the_policys_own():
    logits = torch.tensor([0.5, -0.5, 1.0, 0.0], requires_grad=True)
    exact = torch.autograd.grad((torch.softmax(logits, 0) * REWARD).sum(), logits)[0]
    worlds = 40_000
    distribution, action, weight = drawn(logits, worlds, 4)
    score = group_log_prob(distribution, action)
    weighted = torch.autograd.grad((weight * REWARD[action] * score).mean(), logits, retain_graph=True)[0]
    unweighted = torch.autograd.grad((REWARD[action] * score).mean(), logits)[0]
    torch.testing.assert_close(weighted, exact, rtol=0, atol=0.03)
    assert float((unweighted - exact).abs().max()) > 0.2


def test_samples_have_a_higher_q_and_branch_0_is_the_policys():
    logits = torch.tensor([0.5, -0.5, 1.0, 0.0])
    _, action, weight = drawn(logits, 20_000, 4)
    expected = float((torch.softmax(logits, 0) * Q).sum())
    assert float(Q[action[1:]].mean()) > expected + 0.5
    assert float(Q[action[0]].mean()) == pytest.approx(expected, abs=0.05)
    assert float((weight * Q[action]).mean()) == pytest.approx(expected, abs=0.05)
    assert float(weight.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(weight.max()) <= 4.0 + 1e-5


def test_a_large_beta_is_plain_sampling():
    _, _, weight = drawn(torch.zeros(4), 100, 4, beta=1e6)
    torch.testing.assert_close(weight, torch.ones_like(weight), rtol=0, atol=1e-4)


class KnownValue(GuidedSampler):
    """Q rises with the action: wrong on purpose."""

    def action_values(self, policy, observation, action):
        return action[..., 0]


def with_matrices(worlds, candidates=8):
    """gSDE's distribution of so many worlds, all in one state, and its parameters."""
    mean, log_std = torch.tensor([0.2], requires_grad=True), torch.tensor([[-0.5], [-1.0]], requires_grad=True)
    distribution = StateDependentNoiseDistribution(1)
    distribution.latent_sde_dim = 2
    torch.manual_seed(0)
    with torch.no_grad():
        distribution.sample_weights(log_std, candidates * worlds)
    return at(distribution, mean, log_std, [1.0, -0.7], worlds), mean, log_std


def at(distribution, mean, log_std, features, worlds):
    return distribution.proba_distribution(mean.expand(worlds, 1), log_std, torch.tensor([features]).expand(worlds, 2))


def draw_with_matrices(distribution, worlds):
    model = hybrid(LineVecEnv(2))
    sampler = KnownValue(model.policy, model.action_space, 8, 0.5)
    with torch.no_grad():
        return sampler.draw(model.policy, torch.zeros(worlds, 2), distribution, 4)


def test_the_weighted_gradient_is_the_policys_own_with_exploration_matrices():
    worlds = 80_000
    distribution, *parameters = with_matrices(worlds)
    variance = distribution.distribution.variance[0, 0]
    exact = torch.autograd.grad(-((parameters[0][0] - 1.0) ** 2) - variance, parameters, retain_graph=True)
    action, weight, _ = draw_with_matrices(distribution, worlds)
    score, reward = group_log_prob(distribution, action), -((action[..., 0] - 1.0) ** 2)
    weighted = torch.autograd.grad((weight * reward * score).mean(), parameters, retain_graph=True)
    unweighted = torch.autograd.grad((reward * score).mean(), parameters)
    for mine, theirs in zip(weighted, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0.04)
    assert float((unweighted[0] - exact[0]).abs().max()) > 0.2


def test_a_branch_goes_on_with_the_matrix_it_was_chosen_for():
    """The next action is correlated with the first as the policy has it, once both are weighed."""
    worlds = 80_000
    distribution, mean, log_std = with_matrices(worlds)
    drawn = draw_with_matrices(distribution, worlds)
    later = at(distribution, mean, log_std, [0.4, 0.9], 4 * worlds)
    with torch.no_grad():
        following = sample_group(later, 1, drawn.matrix)[0].view(4, worlds)
        deviation = log_std.exp()[:, 0] ** 2
        expected = float((torch.tensor([1.0 * 0.4, -0.7 * 0.9]) * deviation).sum())
    product = (drawn.action[..., 0] - 0.2) * (following - 0.2)
    assert float((drawn.weight * product).mean()) == pytest.approx(expected, abs=0.01)
    assert float((drawn.weight * following).mean()) == pytest.approx(0.2, abs=0.01)
    assert abs(float(following[1:].mean()) - 0.2) > 0.03, "without the weights it is led astray"


@pytest.mark.parametrize("every", [-1, 2])
@pytest.mark.parametrize("horizon", [1, 3])
def test_it_trains_with_exploration_matrices(horizon, every):
    model = model_of(None, use_sde=True, sde_sample_freq=every, horizon=horizon)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(256)
    assert len(model.policy.action_dist.exploration_matrices) == 16 * 8
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_guided_branches_keep_the_matrices_of_their_candidates():
    model = model_of(None, use_sde=True, horizon=3, n_steps=3)
    chosen, draw = [], model.sampler.draw

    def watched(*arguments):
        chosen.append(draw(*arguments))
        return chosen[-1]

    model.sampler.draw, model.train = watched, lambda: None
    model.learn(8 * 3)
    policy, rollout = model.policy, model.rollout
    observation, action = rollout.observation[0].flatten(1, 2), rollout.action[0].flatten(1, 2)
    matrices = policy.action_dist.exploration_matrices[chosen[0].matrix]
    with torch.no_grad():
        for step in range(3):
            distribution = policy.get_distribution(observation[step])
            noise = torch.einsum("rf,rfa->ra", distribution._latent_sde, matrices)
            torch.testing.assert_close(action[step], distribution.distribution.mean + noise)


def model_of(space, **arguments):
    env = LineVecEnv(8, space, edge=-1.0, reward=lambda place, push: -((push - 0.4) ** 2))
    values = {"n_steps": 8, "batch_size": 32, "learning_rate": 1e-3, "reward_activation": "identity", "n_samples": 4}
    return hybrid(env, **{**values, "n_candidates": 16, "guidance_beta": 0.5, **arguments})


SPACES = {
    "box": None,
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-binary": spaces.MultiBinary(4),
}


@pytest.mark.parametrize("space", SPACES)
def test_q_is_learned_and_followed(space):
    model = model_of(SPACES[space])
    figures = logged(model, 4_000)
    losses = [figure["train/q_loss"] for figure in figures if "train/q_loss" in figure]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    observation = torch.zeros(2_000, 2)
    distribution = model.policy.get_distribution(observation)
    guided, _, _ = model.sampler.draw(model.policy, observation, distribution, 4)
    plain = sample_group(distribution, 4)

    def worth(actions):
        env = LineVecEnv(actions.shape[1], SPACES[space])
        return float(np.mean([-((env.push(np.asarray(action)) - 0.4) ** 2) for action in actions]))

    low, high = (-1.0, 1.0) if SPACES[space] is None else (0, 10)
    assert worth(guided[1:].clamp(low, high)) > worth(plain.clamp(low, high))


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_value_target_of_a_root_is_not_led_astray(horizon):
    """Guided branches did better than the policy does; V is of the policy."""
    env = LineVecEnv(64, edge=9.0, limit=horizon, reward=lambda place, push: push)
    model = hybrid(
        env, n_samples=8, n_candidates=32, guidance_beta=0.2, horizon=horizon, reward_activation="identity",
        n_steps=6, gamma=1.0, n_epochs=1, learning_rate=0.0, batch_size=512,
    )  # fmt: skip
    model.learn(64 * 6 * 20)
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    root = estimate.value_target if horizon == 1 else estimate.value_target[:, 0]
    first = rollout.reward if horizon == 1 else rollout.reward[:, 0]
    weight = rollout.weight if horizon == 1 else rollout.weight[:, 0]
    assert float(first[:, 1:].mean()) > 0.2 > abs(float((weight * first).mean()))
    assert float(root.mean()) == pytest.approx(0.0, abs=0.3)


def test_q_is_saved_with_the_model(tmp_path):
    model = model_of(None)
    model.learn(256)
    model.save(tmp_path / "m.zip")
    again = HybridGRPO.load(tmp_path / "m.zip", env=model.env)
    for mine, theirs in zip(again.sampler.parameters(), model.sampler.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    again.learn(64, reset_num_timesteps=False)


def test_all_extensions_together_survive_a_save(tmp_path):
    together = {"ent_coef": "auto", "reward_window": 30, "n_candidates": 12, "horizon": 2, "baseline": "group-mean"}
    model = model_of(None, **together)
    figures = logged(model, 512)[-1]
    assert {"train/ent_coef", "train/q_loss"} <= set(figures)
    model.save(tmp_path / "m.zip")
    again = HybridGRPO.load(tmp_path / "m.zip", env=model.env)
    again.learn(64, reset_num_timesteps=False)
    assert set(again.get_parameters()) == {
        "policy", "policy.optimizer", "temperature", "temperature.optimizer", "reward_normalizer", "sampler",
        "sampler.optimizer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_candidates": 2}, "n_candidates must be 0"),
        ({"n_candidates": -1}, "n_candidates of HybridGRPO must be a whole number of 0 or more, not -1"),
        ({"n_samples": 1}, "n_samples of 2 or more"),
        ({"guidance_beta": 0}, "guidance_beta of HybridGRPO must be a number above 0"),
        ({"temperature_learning_rate": "fast"}, "temperature_learning_rate of HybridGRPO must be a number above 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, text):
    with pytest.raises(UsageError) as caught:
        model_of(None, **arguments)
    assert text in one_line(caught)
