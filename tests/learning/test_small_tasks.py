"""Every algorithm on tasks whose best policy is known, in seconds; a policy that did not learn clearly fails each."""

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox

from rl_tracking import plugins
from rl_tracking.restoring.protocol import as_restorable
from tests.agents.toys import LineVecEnv

pytestmark = pytest.mark.slow

ALGORITHMS = ("ppo", "trpo", "reinforce", "grpo", "hybrid-grpo")
# A step decides nothing about the next one, so no reward after it counts.
COMMON = {"learning_rate": 1e-2, "n_steps": 16, "gamma": 0.0, "policy_kwargs": {"net_arch": [32]}}
OWN = {
    "ppo": {"batch_size": 64, "n_epochs": 4},
    "trpo": {"batch_size": 64, "target_kl": 0.05},
    "reinforce": {},
    "grpo": {"batch_size": 128, "horizon": 1},
    "hybrid-grpo": {"batch_size": 64, "n_epochs": 4, "reward_activation": "identity", "horizon": 1},
}
DECISIONS = {"ppo": 8_000, "trpo": 8_000, "reinforce": 24_000, "grpo": 8_000, "hybrid-grpo": 4_000}


def trained(algo, env, **arguments):
    values = {**COMMON, **OWN[algo], "seed": 0, "device": "cpu", **arguments}
    return plugins.resolve("algo", algo)("MlpPolicy", env, **values).learn(DECISIONS[algo])


def identity(make, worlds=8, seed=0):
    """Worlds that show what is to be answered; they draw it from their action spaces, which the seed is for."""
    return as_restorable(make_vec_env(make, worlds, seed))


def answered(model, env, steps=100):
    """The share of right answers, which is the mean reward."""
    observation, rewards = env.reset(), []
    for _ in range(steps):
        observation, reward, *_ = env.step(model.predict(observation, deterministic=True)[0])
        rewards.append(reward)
    return float(np.mean(rewards))


class Untrained:
    """Acts at random."""

    def __init__(self, env):
        self.env = env

    def predict(self, observation, deterministic):
        return np.stack([self.env.action_space.sample() for _ in observation]), None


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_number_that_is_shown_is_named(algo):
    def make():
        return IdentityEnv(4, ep_length=8)

    assert answered(Untrained(identity(make)), identity(make, seed=100)) < 0.4
    assert answered(trained(algo, identity(make)), identity(make, seed=100)) > 0.9


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_number_on_a_line_that_is_shown_is_named(algo):
    def make():
        return IdentityEnvBox(eps=0.2, ep_length=8)

    assert answered(Untrained(identity(make)), identity(make, seed=100)) < 0.4
    assert answered(trained(algo, identity(make)), identity(make, seed=100)) > 0.9


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_best_action_of_a_bandit_is_found_by_every_algorithm(algo):
    """The reward -(a - 0.4)^2 is greatest at 0.4; an untrained policy acts about 0."""
    # Every place lies beyond an edge of -1, so that every step terminates.
    env = LineVecEnv(8, edge=-1.0, reward=lambda place, push: -((push - 0.4) ** 2))
    env.fresh = lambda: type(env.state)(np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64))
    action = trained(algo, env).predict(np.zeros((1, 2), np.float32), deterministic=True)[0]
    assert action.item() == pytest.approx(0.4, abs=0.1)
