"""Rewards less their mean have another optimum: staying for .2 a step is worth more than leaving for 1, until then."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.agents.toys import LineVecEnv, hybrid


class StayOrLeave(LineVecEnv):
    """Staying pays .2 a step for 20 steps, 2.57 with gamma .95; leaving pays 1 and ends the episode."""

    def __init__(self, num_envs=8):
        super().__init__(num_envs, spaces.Discrete(2), limit=20, reward=self.paid)

    @staticmethod
    def paid(place, push):
        return np.where(push > 0, 1.0, 0.2)

    def spawn(self, num_envs):
        return StayOrLeave(num_envs)

    def push(self, actions):
        return 10.0 * np.asarray(actions, dtype=np.float64).reshape(self.num_envs)


@pytest.mark.parametrize(
    ("arguments", "stays"),
    [
        ({"reward_activation": "tanh"}, 1.0),
        ({"reward_activation": "z-score"}, 0.0),
        ({"reward_activation": "identity", "reward_window": 100}, 0.0),
    ],
)
def test_which_policy_is_best_depends_on_the_mean_of_the_rewards(arguments, stays):
    rates = {"learning_rate": 1e-2, "n_epochs": 5, "n_steps": 32, "batch_size": 256, "gamma": 0.95, "gae_lambda": 0.95}
    model = hybrid(StayOrLeave(), n_samples=4, **rates, **arguments).learn(4_000)
    start = torch.as_tensor(model.env.reset())
    with torch.no_grad():
        p_of_staying = float(model.policy.get_distribution(start).distribution.probs[:, 0].mean())
    assert p_of_staying == pytest.approx(stays, abs=0.1)
