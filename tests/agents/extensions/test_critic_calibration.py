"""The critic's weight by calibration: right on critics that are exact, garbage, wrong along the action or scaled."""

import numpy as np
import pytest
import torch

from rl_tracking import HybridGRPO
from tests.agents.critic_toys import GAMMA, DelayedChain, mixed

SETTINGS = {
    "n_steps": 32,
    "n_samples": 4,
    "horizon": 16,
    "gamma": GAMMA,
    "baseline": "group-mean",
    "reward_activation": "identity",
    "recipe": "paper",
    "advantage": "per-sample",
    "batch_size": 4096,
}


def exact(env, observation, p_of_b):
    return env.value_of(observation, p_of_b)


def garbage(env, observation, p_of_b):
    """A number of its own for each state, as large as the true ones, that has nothing to do with them."""
    code = np.rint(np.asarray(observation, dtype=np.float64) @ [1.0, 2.0, 100.0] * 1000).astype(np.int64)
    return (mixed(code) >> np.uint64(11)).astype(np.float64) / 2.0**53


def along_the_action(env, observation, p_of_b):
    """Right on average over both choices at every step of the episode, and turned round between them."""
    turned = np.array(observation, dtype=np.float64)
    later = turned[..., 0] < 0.5
    turned[..., 1] = np.where(later, 1.0 - turned[..., 1], turned[..., 1])
    return env.value_of(turned, p_of_b)


def tenfold(env, observation, p_of_b):
    return 10.0 * exact(env, observation, p_of_b)


def with_critic(critic, noise, rollouts, monkeypatch, **arguments):
    """A model that does not learn, whose values are those of ``critic``, after so many rollouts on the chain."""
    env = DelayedChain(16, noise, ends=arguments.pop("ends", False))
    given = {**SETTINGS, "critic_trust": "calibrated", "seed": 0, "policy_kwargs": {"net_arch": [8]}, **arguments}
    model = HybridGRPO("MlpPolicy", env, device="cpu", **given)
    start = torch.tensor([[1.0, 0.0, 0.0]])
    p_of_b = float(model.policy.get_distribution(start).distribution.probs[0, 1].detach())

    def values(observation):
        return torch.as_tensor(critic(env, observation.numpy(), p_of_b), dtype=torch.float32).unsqueeze(1)

    monkeypatch.setattr(model.policy, "predict_values", values)
    monkeypatch.setattr(model, "_update", lambda batch: {})
    model.learn(rollouts * model.n_steps * env.num_envs)
    return model


def gradient_for_b(model):
    """The mean advantage of B less that of A where the choice is open, which is what the gradient follows there."""
    rollout = model.rollout
    advantage, is_open = model.estimate(rollout).advantage, rollout.observation[..., 0] > 0.5
    chose_b = rollout.action.flatten(4).squeeze(-1) > 0.5 if rollout.action.dim() > 4 else rollout.action > 0.5
    return float(advantage[is_open & chose_b].mean() - advantage[is_open & ~chose_b].mean())


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_an_exact_critic_counts_at_any_noise(noise, monkeypatch):
    """B is better by .576, which no reward of the branches shows; by 3/4 of it or more with the mean of 4 taken off."""
    model = with_critic(exact, noise, 12, monkeypatch)
    assert model.critic_weight.share >= 0.8
    a, b = model.env.values
    assert 0.75 * (b - a) < gradient_for_b(model) < b - a


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_an_exact_critic_counts_where_each_branch_has_its_own_noise(noise, monkeypatch):
    model = with_critic(exact, noise, 12, monkeypatch, branch_noise="independent")
    assert model.critic_weight.share >= 0.8


def test_explained_variance_turns_the_gradient_round(monkeypatch):
    """What the rule replaces: bounded by the noise of returns, it does not believe an exact critic."""
    model = with_critic(exact, 1.0, 12, monkeypatch, critic_trust="explained")
    assert model.critic_weight.share < 0.2
    assert gradient_for_b(model) < -0.1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_garbage_does_not_count(noise, monkeypatch):
    assert with_critic(garbage, noise, 12, monkeypatch).critic_weight.share <= 0.1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_critic_that_is_turned_round_along_the_action_does_not_count(noise, monkeypatch):
    assert with_critic(along_the_action, noise, 12, monkeypatch).critic_weight.share <= 0.1


def test_a_critic_that_is_ten_times_too_large_counts_a_tenth(monkeypatch):
    model = with_critic(tenfold, 0.0, 12, monkeypatch)
    assert model.critic_weight.share == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("critic", "low", "high"), [(exact, 0.8, 1.0), (garbage, 0.0, 0.1), (along_the_action, 0.0, 0.1)]
)
def test_with_branches_of_one_step_later_returns_of_the_executed_one_decide(critic, low, high, monkeypatch):
    """V(s') of the executed branch within its group, against what followed it."""
    model = with_critic(critic, 0.0, 24, monkeypatch, horizon=1, gae_lambda=0.9, n_steps=64)
    assert low <= model.critic_weight.share <= high


def test_a_sample_alone_has_the_weight_of_the_slope_across_states(monkeypatch):
    model = with_critic(exact, 0.0, 6, monkeypatch, n_samples=1, baseline="none")
    assert model.critic_weight.share == model.critic_weight.figures["critic_slope_across"] > 0.9
