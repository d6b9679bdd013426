"""That the algorithms learn: each trains, and what it learned is measured."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl_tracking import HybridGRPO
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import train
from tests.agents.toys import PLAIN, LineVecEnv

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])
def test_hybrid_grpo_learns_to_capture(seed, tmp_path):
    result = train(resolve(given={"steps": 20_000, "seed": seed}), tmp_path / "run", episodes=200)
    mine, random = result.evaluations[:2]
    assert mine["capture_rate"]["value"] >= 0.95
    assert mine["time_in_radius"]["value"] >= 0.5
    assert mine["return"]["ci95"][0] > random["return"]["ci95"][1]


@pytest.mark.parametrize(
    "given",
    [
        {"recipe": "pathwise"},
        {"algo": "shac", "steps": 12_000},
        {"steps": 5_000, "pairs": ["gradient=mixed"]},
    ],
    ids=["pathwise", "shac", "mixed"],
)
def test_a_gradient_through_the_world_learns_to_capture_in_few_steps(given, tmp_path):
    pairs = given.get("pairs", [])
    settings = resolve(given={name: value for name, value in given.items() if name != "pairs"}, pairs=pairs)
    mine, *_ = train(settings, tmp_path / "run", episodes=200).evaluations
    assert mine["capture_rate"]["value"] >= 0.95
    assert mine["time_in_radius"]["value"] >= 0.7


def test_ppo_learns_to_capture(tmp_path):
    mine, *_ = train(resolve(given={"algo": "ppo", "steps": 100_000}), tmp_path / "run", episodes=200).evaluations
    assert mine["capture_rate"]["value"] >= 0.95
    assert mine["time_in_radius"]["value"] >= 0.5


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo"])
def test_the_recipes_of_track2d_catch_the_target(algo, tmp_path):
    settings = resolve(given={"algo": algo, "scenario": "track2d"})
    mine, *others = train(settings, tmp_path / "run", episodes=200).evaluations
    assert mine["capture_rate"]["value"] >= 0.98
    assert all(mine["return"]["ci95"][0] > other["return"]["ci95"][1] for other in others)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo", "trpo", "reinforce"])
def test_every_algorithm_learns_to_balance_a_pole(algo, tmp_path):
    mine, random = train(resolve(given={"algo": algo, "env": "CartPole-v1"}), tmp_path / "run").evaluations
    assert random["return"]["value"] < 40
    assert mine["return"]["value"] > 200


def bandit(reward, action_space=None, steps=8_000, **arguments):
    """A policy trained on a world of one step that can be forked; the state it acts in is always 0, 0."""
    # Every place lies beyond an edge of -1, so that every step terminates.
    env = LineVecEnv(16, action_space, edge=-1.0, reward=reward)
    env.fresh = lambda: type(env.state)(np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64))
    values = {
        "learning_rate": 1e-2,
        "n_steps": 8,
        "batch_size": 64,
        "n_epochs": 4,
        "seed": 0,
        "device": "cpu",
        "reward_activation": "identity",
        "policy_kwargs": {"net_arch": [16]},
        **arguments,
    }
    return HybridGRPO("MlpPolicy", env, **PLAIN, **values).learn(steps)


def best(model):
    """The action that the policy takes for the best one."""
    return model.predict(np.zeros((1, 2), np.float32), deterministic=True)[0][0]


def test_groups_need_fewer_decisions():
    """After sixty small updates the mean error over seeds is smaller with 16 actions a decision than with one."""
    few = {"steps": 16 * 60, "n_steps": 1, "batch_size": 16, "n_epochs": 1, "learning_rate": 3e-2}

    def error(samples):
        models = [
            bandit(lambda _, push: -((push - 0.4) ** 2), n_samples=samples, seed=seed, **few) for seed in range(10)
        ]
        return np.mean([abs(best(model).item() - 0.4) for model in models])

    assert error(16) < 0.5 * error(1)


FORMS = {
    "per sample": {},
    "group mean": {"baseline": "group-mean"},
    "leave one out": {"baseline": "leave-one-out"},
    "literal": {"advantage": "literal", "n_samples": 2},
    "one sample": {"n_samples": 1},
    "tanh": {"reward_activation": "tanh"},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_best_action_of_a_bandit_is_found(form):
    """The reward -(a - 0.4)^2 is greatest at 0.4."""
    model = bandit(lambda place, push: -((push - 0.4) ** 2), **FORMS[form])
    assert best(model).item() == pytest.approx(0.4, abs=0.05)
    # And the critic knows what is left to lose: the variance of the policy about it.
    expected = -float(model.policy.log_std.detach().exp() ** 2)
    value = model.policy.predict_values(torch.zeros(1, 2)).item()
    assert value == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("space", "expected"),
    [(spaces.Discrete(5), 3), (spaces.MultiDiscrete([3, 4]), [2, 3]), (spaces.MultiBinary(4), [1, 1, 1, 1])],
)
def test_the_best_of_countable_actions_is_found(space, expected):
    reward = (
        (lambda place, push: -np.abs(push - 1.0)) if isinstance(space, spaces.Discrete) else lambda place, push: push
    )
    model = bandit(reward, space)
    np.testing.assert_array_equal(best(model), expected)


def test_a_goal_some_steps_away_is_reached():
    """On the line the reward is near 1, five or more pushes of .2 away."""
    env = LineVecEnv(16, spaces.Box(-0.2, 0.2, (1,), np.float32), limit=12, edge=3.0)
    values = {"learning_rate": 3e-3, "n_steps": 24, "batch_size": 96, "gamma": 0.9, "gae_lambda": 0.5, "seed": 0}
    model = HybridGRPO("MlpPolicy", env, device="cpu", **PLAIN, **values)
    model.learn(20_000)
    places, observation = [], env.reset()
    for _ in range(11):
        observation, _, _, _ = env.step(model.predict(observation, deterministic=True)[0])
        places.append(observation[:, 0])
    assert float(np.abs(np.stack(places)[6:] - 1.0).mean()) < 0.1
