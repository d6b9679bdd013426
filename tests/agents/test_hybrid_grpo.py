"""The algorithm's own: its arguments, its estimate, and a trip through a file."""

import dataclasses
import inspect
import io
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import rl_tracking
from rl_tracking import HybridGRPO, make_vec, schema
from rl_tracking.agents.arguments import HybridGRPOArguments
from rl_tracking.errors import UsageError
from rl_tracking.runs.settings import resolve
from tests.agents.toys import ADVANTAGES, BASELINES, SMALL, LineVecEnv, OddWrapper, hybrid, logged, one_line, tracking


def rolled_out(**arguments):
    """A model with a rollout in which episodes end."""
    model = hybrid(LineVecEnv(4, limit=4, edge=1.0), n_steps=9, batch_size=36, gamma=0.9, **arguments)
    model.train = lambda: None
    model.learn(36)
    return model


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_samples": 0}, "n_samples of HybridGRPO must be a whole number of 1 or more, not 0"),
        ({"n_samples": -3}, "not -3"),
        ({"n_samples": 2.5}, "not 2.5"),
        ({"n_samples": "8"}, "not '8'"),
        ({"advantage": "per_sample"}, "unknown advantage of HybridGRPO: 'per_sample'; did you mean 'per-sample'"),
        ({"advantage": 3}, "advantage of HybridGRPO must be per-sample or literal, not 3"),
        ({"baseline": "leave-1-out"}, "unknown baseline of HybridGRPO: 'leave-1-out'; did you mean 'leave-one-out'"),
        ({"baseline": "group-mean", "n_samples": 1}, "baseline 'group-mean' needs n_samples of 2 or more, not 1"),
        ({"branch_noise": "comon"}, "unknown branch_noise of HybridGRPO: 'comon'; did you mean 'common'"),
        ({"reward_activation": "sigmoyd"}, "unknown activation 'sigmoyd'; did you mean 'sigmoid'"),
        ({"reward_activation": "nowhere.py:f"}, "activation file 'nowhere.py' does not exist"),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments, text):
    with pytest.raises(UsageError, match=text) as caught:
        hybrid(**arguments)
    one_line(caught)


def test_the_arguments_of_ppo_are_taken_by_place_and_by_name():
    # learning_rate, n_steps, batch_size, n_epochs, gamma, gae_lambda, clip_range
    model = HybridGRPO("MlpPolicy", tracking(2), 1e-3, 8, 16, 3, 0.9, 0.5, 0.1, ent_coef=0.01, n_samples=2)
    assert (model.n_steps, model.batch_size, model.n_epochs, model.gamma, model.gae_lambda) == (8, 16, 3, 0.9, 0.5)
    assert model.clip_range(1.0) == 0.1
    assert model.lr_schedule(1.0) == 1e-3
    assert model.ent_coef == 0.01
    assert isinstance(model, PPO)


def test_without_arguments_the_recipe_of_the_task_is_taken():
    for env, algo_settings in (
        (make_vec("pursuit", 2), resolve()),
        (make_vec("pursuit", 2, preset="sandbox"), resolve(given={"preset": "sandbox"})),
        ("CartPole-v1", resolve(given={"env": "CartPole-v1"})),
        ("Pendulum-v1", resolve(given={"env": "Pendulum-v1"})),
    ):
        model = HybridGRPO("MlpPolicy", env, device="cpu")
        for name, wanted in algo_settings.constructor_arguments().items():
            mine, value = getattr(model, name), wanted
            if isinstance(value, LinearSchedule):
                assert [mine(left) for left in (1.0, 0.5, 0.0)] == [value(left) for left in (1.0, 0.5, 0.0)]
            elif name == "clip_range":
                assert mine(1.0) == value
            elif name != "policy_kwargs":
                assert mine == value, name


def test_worlds_that_sb3_makes_have_the_recipe_of_their_scenario():
    env = DummyVecEnv([lambda: gym.make("rl_tracking/Pursuit-v0", preset="sandbox", max_steps=9)] * 2)
    model = HybridGRPO("MlpPolicy", VecNormalize(env), device="cpu")
    wanted = resolve(given={"preset": "sandbox"}).constructor_arguments()
    assert (model.n_steps, model.gamma, model.baseline) == (wanted["n_steps"], wanted["gamma"], wanted["baseline"])


def test_an_environment_may_call_something_else_its_scenario():
    class Levels(CartPoleEnv):
        scenario = "easy"

    assert HybridGRPO("MlpPolicy", Levels(), device="cpu").n_steps == HybridGRPO("MlpPolicy", "CartPole-v1").n_steps


def test_folders_and_verbosity_may_have_the_types_that_sb3_takes(tmp_path):
    model = hybrid(tracking(2), tensorboard_log=tmp_path / "log", verbose=False).learn(16)
    assert model.verbose == 0 and list((tmp_path / "log").iterdir())
    with pytest.raises(UsageError, match="tensorboard_log of HybridGRPO must be a text or a path, not 3"):
        hybrid(tracking(2), tensorboard_log=3)


def test_an_argument_that_is_given_wins_over_the_recipe():
    model = HybridGRPO("MlpPolicy", tracking(2), gamma=0.5, horizon=3, recipe="pursuit-drone")
    assert (model.gamma, model.horizon, model.baseline) == (0.5, 3, "group-mean")
    paper = HybridGRPO("MlpPolicy", tracking(2), recipe="paper", n_steps=4)
    chosen = (paper.advantage, paper.baseline, paper.horizon, paper.gae_lambda, paper.reward_activation, paper.n_steps)
    assert chosen == ("literal", "none", 1, 0.0, "tanh", 4)


def test_a_subclass_takes_the_recipe_of_its_base_and_has_arguments_of_its_own():
    class Mine(HybridGRPO):
        def __init__(self, *args, alpha=0.1, **kwargs):
            super().__init__(*args, **kwargs)
            self.alpha = alpha

    model = Mine("MlpPolicy", tracking(2), alpha=0.3, n_epochs=7)
    assert (model.alpha, model.n_epochs, model.n_samples) == (0.3, 7, 4)
    assert list(inspect.signature(Mine).parameters) == ["args", "alpha", "kwargs"]


def test_what_is_loaded_keeps_its_arguments_and_takes_none_of_the_recipe(tmp_path):
    hybrid(tracking(2), n_epochs=3).save(tmp_path / "m.zip")
    again = HybridGRPO.load(tmp_path / "m.zip", env=tracking(2))
    assert (again.n_epochs, again.horizon, again.baseline, again.critic_trust) == (3, 1, "none", "full")


def test_signature_and_docstring_name_every_argument():
    parameters = inspect.signature(HybridGRPO).parameters
    assert list(parameters)[:10] == [
        *("policy", "env", "learning_rate", "n_steps", "batch_size"),
        *("n_epochs", "gamma", "gae_lambda", "clip_range", "clip_range_vf"),
    ]
    assert set(schema.fields(HybridGRPOArguments)) <= set(parameters)
    assert repr(parameters["n_samples"].default) == "<recipe, else 8>"
    assert parameters["device"].default == "auto"
    assert parameters["horizon"].annotation is int
    for name, field in schema.fields(HybridGRPOArguments).items():
        assert name.startswith("_") or f"    {name}: {field.description}; " in HybridGRPO.__doc__


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"n_sampels": 3}, UsageError, "unknown argument of HybridGRPO: 'n_sampels'; did you mean 'n_samples'?"),
        ({"recipe": "papre"}, UsageError, "unknown recipe 'papre'; did you mean 'paper'?"),
        ({"n_steps": 0}, UsageError, "n_steps of HybridGRPO must be a whole number of 1 or more, not 0"),
        ({"learning_rate": "fast"}, UsageError, "learning_rate of HybridGRPO must be a number of 0 or more, 'linear:"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_line(arguments, error, text):
    with pytest.raises(error, match=re.escape(text)) as caught:
        HybridGRPO("MlpPolicy", tracking(2), **arguments)
    one_line(caught)


def test_an_argument_given_twice_is_an_error_as_for_any_function():
    with pytest.raises(TypeError, match="multiple values for argument 'learning_rate'"):
        HybridGRPO("MlpPolicy", tracking(2), 1e-3, learning_rate=1e-3)


def test_a_schedule_can_be_a_text():
    model = HybridGRPO("MlpPolicy", tracking(2), learning_rate="linear:1e-2", clip_range="linear:0.4:0.2")
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-2, 5e-3, 0.0])
    assert [model.clip_range(left) for left in (1.0, 0.0)] == pytest.approx([0.4, 0.2])


def test_the_name_at_the_top_of_the_package():
    assert rl_tracking.HybridGRPO is HybridGRPO


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_branch_noise_reaches_the_branches(noise):
    """In gusts and with one action for all, branches differ only where their noise does."""
    model = hybrid(tracking(3, wind_speed=5.0), branch_noise=noise, policy_kwargs={**SMALL, "log_std_init": -20.0})
    model.train = lambda: None
    model.learn(18)
    spread = model.rollout.reward.std(dim=1)
    assert bool((spread > 1e-4).any()) is (noise == "independent")


# -- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize(
    ("advantage", "baseline"), [("per-sample", "none"), ("per-sample", "group-mean"), ("literal", "none")]
)
def test_the_estimate_of_a_rollout_worked_out_step_by_step(advantage, baseline, lam):
    model = rolled_out(advantage=advantage, baseline=baseline, gae_lambda=lam, reward_scale=0.5)
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    reward = np.tanh(0.5 * rollout.reward.numpy())
    value, after = rollout.value.numpy(), rollout.next_value.numpy()
    delta = reward + 0.9 * np.where(rollout.terminated.numpy(), 0.0, after) - value[:, None]
    tail = np.zeros_like(value)
    for step in reversed(range(8)):
        later = delta[step + 1].mean(axis=0) + tail[step + 1]
        tail[step] = np.where(rollout.episode_end[step].numpy(), 0.0, 0.9 * lam * later)
    expected = delta.copy()
    expected[:, 0] += tail
    if baseline == "group-mean":
        expected -= expected.mean(axis=1, keepdims=True)
    if advantage == "literal":
        expected = np.broadcast_to((delta.mean(axis=1) + tail)[:, None], delta.shape)
    assert bool(rollout.terminated.any())
    np.testing.assert_allclose(estimate.advantage.numpy(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimate.value_target.numpy(), value + delta.mean(axis=1) + tail, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimate.reward.numpy(), reward, rtol=1e-6)


def test_the_estimate_is_a_pure_function():
    model = rolled_out()
    before = {name: tensor.clone() for name, tensor in vars(model.rollout).items()}
    first, second = model.estimate(model.rollout), model.estimate(model.rollout)
    assert torch.equal(first.advantage, second.advantage)
    assert not first.advantage.requires_grad
    assert not first.value_target.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in vars(model.rollout).items())


def test_the_time_limit_s_value_is_added_after_the_activation():
    """A clipped reward of 1 and a bootstrapped value of 10: nothing is clipped away from the value."""
    model = rolled_out(reward_activation="clip")
    rollout = dataclasses.replace(
        model.rollout,
        reward=torch.full_like(model.rollout.reward, 50.0),
        value=torch.zeros_like(model.rollout.value),
        next_value=torch.full_like(model.rollout.next_value, 10.0),
        terminated=torch.zeros_like(model.rollout.terminated),
        episode_end=torch.ones_like(model.rollout.episode_end),
    )
    assert bool((model.estimate(rollout).advantage == 1.0 + 0.9 * 10.0).all())


@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("baseline", BASELINES)
def test_every_combination_trains(advantage, baseline):
    model = hybrid(advantage=advantage, baseline=baseline, gae_lambda=0.5)
    model.learn(24)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())


def test_clip_ranges_may_be_schedules():
    model = hybrid(clip_range=lambda left: 0.3 * left, clip_range_vf=0.2, learning_rate=lambda left: 1e-3 * left)
    dumps = logged(model, 72)
    # What an update logs shows with the next rollout: after one and two thirds of the way.
    assert [dump["train/clip_range"] for dump in dumps[1:]] == pytest.approx([0.2, 0.1])
    assert [dump["train/learning_rate"] for dump in dumps[1:]] == pytest.approx([2e-3 / 3, 1e-3 / 3])


# -- saving and loading -----------------------------------------------------------------------------------------------


def observations(model):
    rng = np.random.default_rng(0)
    return rng.normal(size=(9, *model.observation_space.shape)).astype(np.float32)


def test_a_trip_through_a_file(tmp_path):
    model = hybrid(n_samples=5, advantage="literal", reward_scale=0.3, gae_lambda=0.6)
    model.learn(48)
    model.save(tmp_path / "model.zip")
    loaded = HybridGRPO.load(tmp_path / "model.zip", tracking())
    seen = observations(model)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    for name in ("n_samples", "advantage", "baseline", "reward_activation", "reward_scale", "branch_noise"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert (loaded.gae_lambda, loaded.num_timesteps, loaded.num_simulator_steps) == (0.6, 48, 240)


def test_a_loaded_model_goes_on_as_the_first_would_have():
    """Networks, optimiser, counts and schedules come back: from the same draws the next update is the same."""
    model = hybrid(learning_rate=lambda left: 1e-2 * left, seed=None)
    model.learn(48)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = HybridGRPO.load(file, tracking(), trust=True)  # a schedule that is a function of one's own is a pickle
    after = []
    for each in (model, loaded):
        each.set_env(tracking(seed=7))
        torch.manual_seed(0)
        each.learn(48, reset_num_timesteps=False)
        after.append([parameter.detach().clone() for parameter in each.policy.parameters()])
        assert (each.num_timesteps, each.num_simulator_steps) == (96, 3 * 96)
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


def test_a_model_loaded_without_an_env_predicts_and_can_be_given_one(tmp_path):
    model = hybrid().learn(24)
    model.save(str(tmp_path / "model"))
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]
    loaded = HybridGRPO.load(str(tmp_path / "model"))
    seen = observations(model)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    loaded.set_env(tracking())
    loaded.learn(24, reset_num_timesteps=False)
    assert loaded.num_timesteps == 48


def test_stable_baselines3_s_ppo_reads_the_file():
    model = hybrid().learn(24)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    ppo = PPO.load(file)
    seen = observations(model)
    np.testing.assert_array_equal(ppo.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])


def test_an_activation_of_one_s_own_is_saved_too(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def halved(reward):\n    return reward / 2\n")
    model = hybrid(reward_activation=f"{source}:halved").learn(24)
    model.save(tmp_path / "model.zip")
    loaded = HybridGRPO.load(tmp_path / "model.zip", tracking(), trust=True)
    loaded.learn(24)
    torch.testing.assert_close(loaded.estimate(loaded.rollout).reward, loaded.rollout.reward / 2)


def test_training_under_a_normaliser():
    env = VecNormalize(tracking(), gamma=0.9)
    model = hybrid(env)
    model.learn(96)
    assert env.obs_rms.count > 96
    assert float(model.rollout.observation.abs().max()) <= env.clip_obs


def test_an_env_that_cannot_be_forked_is_refused_when_it_is_set():
    model = hybrid()
    with pytest.raises(UsageError, match="OddWrapper"):
        model.set_env(OddWrapper(tracking()))


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_other_action_spaces_survive_the_file(space):
    model = hybrid(LineVecEnv(3, space)).learn(18)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = HybridGRPO.load(file)
    assert loaded.action_space == space
    seen = observations(model)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
