"""A reward beyond the branches is found if the critic counts as it should, and not if noise takes its weight away."""

import pytest
import torch

from rl_tracking import HybridGRPO
from tests.agents.critic_toys import GAMMA, DelayedChain

SETTINGS = {
    "recipe": "paper",
    "advantage": "per-sample",
    "baseline": "group-mean",
    "reward_activation": "identity",
    "n_steps": 16,
    "horizon": 16,
    "n_samples": 4,
    "batch_size": 512,
    "n_epochs": 5,
    "clip_range": 0.4,
    "gamma": GAMMA,
    "learning_rate": "linear:1e-3:1e-4",
}


def p_of_b(noise, **arguments):
    """Probability of the better action after 20,000 macro-steps."""
    model = HybridGRPO("MlpPolicy", DelayedChain(8, noise), seed=0, device="cpu", **{**SETTINGS, **arguments})
    model.learn(20_000)
    with torch.no_grad():
        return float(model.policy.get_distribution(torch.tensor([[1.0, 0.0, 0.0]])).distribution.probs[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_a_calibrated_critic_finds_the_delayed_reward(noise):
    assert p_of_b(noise, critic_trust="calibrated", critic_epochs=5) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("weight", ["explained", "none"])
def test_without_its_critic_the_group_takes_what_is_paid_at_once(weight):
    assert p_of_b(1.0, critic_trust=weight) < 0.1
