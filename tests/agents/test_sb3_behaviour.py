"""What users do with PPO of Stable-Baselines3 works with algorithms that branch, and callbacks fire as often."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from rl_tracking import HybridGRPO
from rl_tracking.agents.grpo import GRPO
from tests.agents.toys import SMALL, plain_arguments

STEPS, WORLDS = 16, 2


def made(kind, env=None, **arguments):
    values = {"n_steps": STEPS, "batch_size": 32, "n_epochs": 1, "policy_kwargs": SMALL, "device": "cpu", "seed": 0}
    if kind is GRPO:
        values["horizon"] = 4
    if kind is not PPO:
        values["n_samples"] = 3
    env = make_vec_env("CartPole-v1", WORLDS, seed=0) if env is None else env
    return kind("MlpPolicy", env, **{**plain_arguments(kind), **values, **arguments})


class Counting(BaseCallback):
    """A user's own callback: counts every event, and looks at what PPO shows."""

    def __init__(self):
        super().__init__()
        self.events = dict.fromkeys(("training_start", "rollout_start", "step", "rollout_end", "training_end"), 0)
        self.seen_at = []

    def _on_training_start(self):
        self.events["training_start"] += 1

    def _on_rollout_start(self):
        self.events["rollout_start"] += 1

    def _on_step(self):
        self.events["step"] += 1
        self.seen_at.append(self.num_timesteps)
        assert len(self.locals["rewards"]) == len(self.locals["dones"]) == len(self.locals["infos"]) == WORLDS
        assert np.shape(self.locals["new_obs"]) == (WORLDS, 4)
        return True

    def _on_rollout_end(self):
        self.events["rollout_end"] += 1

    def _on_training_end(self):
        self.events["training_end"] += 1


def watched(kind, folder):
    """Train with the usual callbacks; what each of them did."""
    counting, every = Counting(), Counting()
    evaluation = EvalCallback(
        Monitor(gym.make("CartPole-v1")),
        eval_freq=7,
        n_eval_episodes=1,
        log_path=str(folder),
        best_model_save_path=str(folder),
        verbose=0,
    )
    saving = CheckpointCallback(10, str(folder / "models"))
    callbacks = CallbackList([counting, evaluation, saving, EveryNTimesteps(12, every)])
    model = made(kind).learn(100, callback=callbacks)
    assert (folder / "best_model.zip").is_file()
    return {
        "events": counting.events,
        "steps": counting.seen_at,
        "every 12": every.seen_at,
        "evaluations": np.load(folder / "evaluations.npz")["timesteps"].tolist(),
        "models": sorted(path.name for path in (folder / "models").iterdir()),
        "timesteps": model.num_timesteps,
        "iterations": model._n_updates,
    }


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_callbacks_fire_as_often_as_for_ppo(kind, tmp_path):
    theirs = watched(PPO, tmp_path / "ppo")
    mine = watched(kind, tmp_path / "mine")
    assert mine == theirs
    assert theirs["timesteps"] == 128
    assert len(theirs["evaluations"]) == 64 // 7


def test_a_reward_threshold_stops_training_as_for_ppo():
    stopped = {}
    for kind in (PPO, HybridGRPO, GRPO):
        stop = StopTrainingOnRewardThreshold(1.0, verbose=0)  # the first evaluation passes it
        callback = EvalCallback(
            Monitor(gym.make("CartPole-v1")), callback_on_new_best=stop, eval_freq=5, n_eval_episodes=1, verbose=0
        )
        stopped[kind.__name__] = made(kind).learn(1000, callback=callback).num_timesteps
    assert set(stopped.values()) == {5 * WORLDS}


def test_episodes_are_counted_as_for_ppo():
    for kind in (HybridGRPO, GRPO):
        callback = StopTrainingOnMaxEpisodes(2, verbose=0)
        model = made(kind).learn(10_000, callback=callback)
        assert model.num_timesteps < 10_000
        assert callback.n_episodes >= 2 * WORLDS


def weights(model):
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def same(mine, theirs):
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_it_goes_on_where_it_stopped(kind, tmp_path):
    model = made(kind).learn(64)
    assert model.learn(64, reset_num_timesteps=False).num_timesteps == 128
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model", env=make_vec_env("CartPole-v1", WORLDS, seed=1), device="cpu")
    assert again.num_timesteps == 128
    assert same(weights(again), weights(model))
    before = weights(again)
    assert again.learn(64, reset_num_timesteps=False).num_timesteps == 192
    assert not same(weights(again), before)
    assert again.learn(32).num_timesteps == 32


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_another_env_of_as_many_worlds_and_of_more_after_loading(kind, tmp_path):
    model = made(kind).learn(32)
    model.set_env(make_vec_env("CartPole-v1", WORLDS, seed=5))
    model.learn(32, reset_num_timesteps=False)
    with pytest.raises(AssertionError, match="number of environments to be set is different"):
        model.set_env(make_vec_env("CartPole-v1", WORLDS + 1))
    model.save(tmp_path / "model")
    more = kind.load(tmp_path / "model", env=make_vec_env("CartPole-v1", 5), device="cpu")
    assert more.learn(80, reset_num_timesteps=False).rollout.reward.shape[-1] == 5


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_parameters_travel_to_and_from_another_model_and_ppo(kind):
    model, other, ppo = made(kind).learn(32), made(kind, seed=4), made(PPO, seed=5)
    for receiver in (other, ppo):
        assert not same(weights(receiver), weights(model))
        receiver.set_parameters(model.get_parameters())
        assert same(weights(receiver), weights(model))
    ppo.learn(32)
    model.set_parameters(ppo.get_parameters())
    assert same(weights(model), weights(ppo))
    model.learn(32)


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_it_is_evaluated_as_ppo_is(kind):
    env = Monitor(gym.make("CartPole-v1"))
    returns, lengths = evaluate_policy(made(kind).learn(32), env, n_eval_episodes=3, return_episode_rewards=True)
    assert returns == lengths
    assert len(lengths) == 3


def test_the_reference_policy_is_copied_with_its_exploration_matrices():
    values = {"use_sde": True, "sde_sample_freq": 2, "kl_coef": 0.1, "reference_interval": 1, "reuse": 1}
    model = made(GRPO, make_vec_env("Pendulum-v1", WORLDS, seed=0), **values).learn(96)
    assert model.logger.name_to_value["train/reference_kl"] >= 0
    assert model._reference.action_dist is not model.policy.action_dist


class KeepsActions(gym.Wrapper):
    """Keeps every action that it was given, as it was given."""

    def __init__(self, env):
        super().__init__(env)
        self.actions = []

    def step(self, action):
        self.actions.append(action)
        return super().step(action)


@pytest.mark.parametrize("limit", [20, 400])
def test_an_environment_may_keep_its_actions(limit):
    """They are its own: a view would hold those of the other branches too, and no two runs of a branch be the same."""
    env = KeepsActions(gym.make("Pendulum-v1", max_episode_steps=limit))
    model = made(HybridGRPO, env).learn(256)  # long enough for one action to be tried in all branches
    kept = model.env.envs[0]
    while not isinstance(kept, KeepsActions):
        kept = kept.env
    assert len(kept.actions) == 256
    assert all(action.base is None for action in kept.actions)
