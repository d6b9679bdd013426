"""A scenario of another package through every command: no target, a Discrete action, two drones paid one by one."""

import functools
import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

import rl_tracking
from rl_tracking.agents.saving import checkpoint
from rl_tracking.envs.vec_env import TrackingVecEnv, make_vec
from rl_tracking.errors import UsageError
from rl_tracking.runs.benchmark import one_task
from tests.example_plugins import installed
from tests.helpers import BENCH

METRICS = ("mean_gap", "least_gap", "apart_rate", "time_to_part", "return")
STUDY = """
title = "Keeping apart"
question = "Do both algorithms run?"
seeds = 1

[budget]
macro_steps = 128

[evaluation]
points = 1
episodes = 4

[[tasks]]
name = "spread"
scenario = "spread"
metric = "mean_gap"
range = [0.0, 10.0]

[tasks.parameters]
max_steps = 10

[[variants]]
name = "hybrid"
algo = "hybrid-grpo"
settings = {num_envs = 4, n_steps = 16, batch_size = 64, n_epochs = 1}

[[variants]]
name = "ppo"
algo = "ppo"
settings = {num_envs = 4, n_steps = 16, batch_size = 32, n_epochs = 1}
"""


@pytest.fixture(autouse=True)
def _plugin():
    with installed("scenario_plugin"):
        yield


@pytest.fixture
def train(rltrack):
    def train(algo):
        settings = ["num_envs=4", "n_steps=32", "batch_size=64", "n_epochs=1", "max_steps=20"]
        pairs = [f"--set={pair}" for pair in settings]
        return rltrack("train", "--scenario", "spread", "--algo", algo, "--steps", 128, "--out", algo, *pairs)

    return train


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_it_is_trained_and_measured(rltrack, train, algo, tmp_path):
    ended = train(algo)
    assert (ended.code, ended.err) == (0, "")
    assert "spread" in ended.out
    assert "mean" in ended.out
    said = checkpoint.read_description(tmp_path / algo / "checkpoint.zip")
    assert said["scenario"] == {"name": "spread", "parameters": {"wanted_gap": 6.0, "max_steps": 20}}
    assert said["hyper_parameters"]["gamma"] == 0.95  # of the recipe that comes with it
    assert {"kind": "scenario", "name": "spread", "source": "rl-tracking-spread 0.1.0"} in said["plugins"]

    measured = rltrack("eval", f"{algo}/checkpoint.zip", "random", "--episodes", 6, "--json")
    assert (measured.code, measured.err) == (0, "")
    mine, other = json.loads(measured.out)
    assert [name for name in mine if name in METRICS] == list(METRICS)
    assert 0 <= mine["least_gap"]["value"] <= mine["mean_gap"]["value"] <= 10
    assert other["policy"] == "random"


def test_it_is_watched(rltrack, train, tmp_path):
    train("ppo")
    ended = rltrack("watch", "ppo/checkpoint.zip", "--headless", "--screenshot", "seen.png")
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_studied(rltrack, tmp_path):
    (tmp_path / "apart.toml").write_text(STUDY)
    ended = rltrack("study", "run", "apart.toml", "--out", "study")
    assert (ended.code, ended.err) == (0, "")
    report = rltrack("study", "report", "study")
    assert (report.code, report.err) == (0, "")
    assert "mean_gap" in "".join(path.read_text() for path in (tmp_path / "study").glob("*.md"))


def test_it_is_benchmarked(rltrack, monkeypatch):
    monkeypatch.setattr(one_task, "run", functools.partial(one_task.run, sizes=BENCH))
    ended = rltrack("bench", "--scenario", "spread")
    assert (ended.code, ended.err) == (0, "")
    assert "HybridGRPO" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "lead-pursuit", "--scenario", "spread"], "'lead-pursuit' does not apply to scenario spread"),
        (["eval", "pursuit-drone", "--scenario", "spread"], "trained in scenario pursuit drone, has observations"),
        (["train", "--scenario", "spread", "--set", "wanted_gap=11"], "must be above 0 and at most 10, not 11"),
        (["train", "--scenario", "spred"], "did you mean 'spread'?"),
    ],
)
def test_what_does_not_fit_is_refused(refused, arguments, said):
    assert said in refused(*arguments)


def test_it_has_a_gymnasium_id():
    rl_tracking._register_gymnasium_ids()
    try:
        env = gym.make("rl_tracking/Spread-v0", wanted_gap=3.0)
        assert env.unwrapped.scenario.parameters["wanted_gap"] == 3.0
        observation, info = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        observation, reward, _, _, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert reward == pytest.approx(info["reward/gap"] + info["reward/effort"])
    finally:
        gym.registry.pop("rl_tracking/Spread-v0")


def test_observations_may_be_discrete_too(monkeypatch):
    import spread

    class Places(spread.Spread):
        observation_space = spaces.Discrete(11)

        def observation(self, state):
            return (state.position[:, 0] - state.position[:, 1]).abs().round().long()

    env = TrackingVecEnv(Places(), 4, seed=0)
    assert env.reset().dtype == np.int64
    for algo in (rl_tracking.HybridGRPO, PPO):
        model = algo("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0).learn(64)
        assert rl_tracking.evaluate(model, 4)["mean_gap"]["value"] > 0


def test_each_drone_is_paid_by_itself():
    env = make_vec("spread", 3, seed=0)
    env.reset()
    env.set_state(env.get_state().replace(position=torch.tensor([[2.0, 5.0], [1.0, 9.0], [4.0, 4.1]])))
    _, reward, done, infos = env.step(np.array([1, 4, 4]))  # the first: drone 0 goes left, drone 1 stays
    gap = torch.tensor([3.5 / 6, 1.0, 0.1 / 6]).unsqueeze(1).expand(-1, 2)
    torch.testing.assert_close(env.last_transition.terms["gap"], gap)
    assert env.last_transition.terms["effort"].tolist()[0] == pytest.approx([-0.1, 0.0])
    torch.testing.assert_close(env.last_transition.rewards[0], torch.tensor([3.5 / 6 - 0.1, 3.5 / 6]))
    np.testing.assert_allclose(reward, [7 / 6 - 0.1, 2.0, 0.2 / 6], rtol=1e-5)
    # The third two touch: their episode is over and has failed.
    assert done.tolist() == [False, False, True]
    assert infos[2]["is_success"] is False
    assert infos[2]["episode"]["least_gap"] == pytest.approx(0.1, rel=1e-4)
    assert env.get_state().episode_return.shape == (3, 2)
    assert env.get_state().episode_return[2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ([0, 1, 9], "the action of world 2 must be a whole number from 0 to 8, not 9"),
        ([0, -1, 0], "the action of world 1 must be a whole number from 0 to 8, not -1"),
        ([0.0, 1.0, 2.0], "an action must be a whole number from 0 to 8, not float64"),
        ([0, 1], "actions have shape [2], expected [3]"),
    ],
)
def test_actions_that_the_space_lacks(action, said):
    env = make_vec("spread", 3, seed=0)
    env.reset()
    with pytest.raises(UsageError) as error:
        env.step(np.array(action))
    assert str(error.value) == said


@pytest.mark.parametrize(("algo", "steps", "horizon"), [("HybridGRPO", 3, 3), ("HybridGRPO", 10, 4), ("GRPO", 10, 10)])
def test_a_constructor_s_branches_are_no_longer_than_the_scenario_s_episodes(algo, steps, horizon):
    model = getattr(rl_tracking, algo)("MlpPolicy", make_vec("spread", num_envs=2, max_steps=steps), device="cpu")
    assert model.horizon == horizon
