"""A model trained under a VecNormalize acts after loading as it did before, or it is said what is missing."""

import os
import pickle
import warnings

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize

import rl_tracking
from rl_tracking import GRPO, REINFORCE, HybridGRPO, load_policy, load_vec_normalize
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import UsageError
from tests.agents.toys import SMALL, LineVecEnv, SeenLineVecEnv, one_line, plain_arguments

KINDS = [HybridGRPO, GRPO, REINFORCE, PPO]
OWN = KINDS[:3]


def raw():
    return make_vec_env("Pendulum-v1", 2, seed=1, env_kwargs={"max_episode_steps": 20})


def made(kind, env, policy="MlpPolicy"):
    values = {**plain_arguments(kind), "n_steps": 40, "seed": 3, "device": "cpu", "policy_kwargs": SMALL}
    if kind is not REINFORCE:
        values |= {"batch_size": 80, "n_epochs": 1}
    return kind(policy, env, **values)


def normalised(env):
    return VecNormalize(env, clip_obs=4.0, clip_reward=5.0, gamma=0.9, epsilon=1e-4)


def numbers(env):
    """Everything that a VecNormalize scales by."""
    parts = env.obs_rms.items() if isinstance(env.obs_rms, dict) else [("", env.obs_rms)]
    moments = [*parts, ("returns", env.ret_rms)]
    settings = (env.clip_obs, env.clip_reward, env.gamma, env.epsilon, env.norm_obs, env.norm_reward)
    return settings, {name: (np.array(rms.mean), np.array(rms.var), rms.count) for name, rms in moments}


def assert_same_numbers(one, other):
    (settings, moments), (other_settings, other_moments) = numbers(one), numbers(other)
    assert settings == other_settings
    assert moments.keys() == other_moments.keys()
    for name in moments:
        for mine, theirs in zip(moments[name], other_moments[name], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def trained(request, tmp_path_factory):
    """A model that has learned under a normaliser, and its checkpoint."""
    path = tmp_path_factory.mktemp("models") / "model.zip"
    model = made(request.param, normalised(raw())).learn(80)
    checkpoint.save(model, path)
    return model, path


def actions(model, observations):
    """What a model does in states, through the normaliser of its environment."""
    return model.predict(model.get_vec_normalize_env().normalize_obs(observations), deterministic=True)[0]


def measured(policy):
    return rl_tracking.evaluate(policy, 2, seed=5)["return"]["value"]


def states(count=40):
    return np.random.default_rng(0).uniform([-1, -1, -8], [1, 1, 8], (count, 3)).astype(np.float32)


def test_moments_come_back_around_the_env(trained):
    model, path = trained
    if type(model) is PPO:
        again = PPO.load(path, env=load_vec_normalize(path, raw()), device="cpu")
    else:
        again = type(model).load(path, env=raw(), device="cpu")
    assert_same_numbers(again.get_vec_normalize_env(), model.get_vec_normalize_env())
    assert again.get_vec_normalize_env().obs_rms.count > 80
    np.testing.assert_array_equal(actions(again, states()), actions(model, states()))
    np.testing.assert_allclose(
        load_policy(path).predict(states(), deterministic=True)[0], actions(model, states()), rtol=1e-5, atol=1e-6
    )
    count = again.get_vec_normalize_env().obs_rms.count
    again.learn(80, reset_num_timesteps=False)
    assert again.get_vec_normalize_env().obs_rms.count >= count + 80


def test_evaluation_is_that_of_the_model_before(trained):
    model, path = trained
    before = measured(model)
    assert measured(path) == pytest.approx(before, abs=1e-3)
    again = type(model).load(path, env=raw(), device="cpu")
    assert measured(again) == before
    if type(model) is PPO:  # which knows nothing of the moments that it carries
        assert again.get_vec_normalize_env() is None
        del again.vec_normalize_moments
        assert abs(measured(again) - before) > 1e-2


@pytest.mark.parametrize("kind", OWN)
def test_without_an_env_it_says_what_predict_takes(kind, tmp_path):
    model = made(kind, normalised(raw()))
    model.learn(80)
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"without env predict\(\) takes normalised observations"):
        alone = kind.load(tmp_path / "model", device="cpu")
    alone.save(tmp_path / "again.zip")  # and keeps the moments
    np.testing.assert_allclose(
        load_policy(tmp_path / "again.zip").predict(states(), deterministic=True)[0],
        actions(model, states()),
        rtol=1e-5,
        atol=1e-6,
    )
    alone.set_env(raw())
    assert_same_numbers(alone.get_vec_normalize_env(), model.get_vec_normalize_env())
    np.testing.assert_array_equal(actions(alone, states()), actions(model, states()))
    alone.learn(80)


@pytest.mark.parametrize("kind", OWN)
def test_a_model_without_a_normaliser_is_loaded_without_a_word(kind, tmp_path):
    model = made(kind, raw())
    model.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind.load(tmp_path / "model", env=raw(), device="cpu").get_vec_normalize_env() is None
        kind.load(tmp_path / "model", device="cpu")
    with pytest.raises(UsageError, match="was not trained under a VecNormalize") as caught:
        load_vec_normalize(tmp_path / "model.zip", raw())
    one_line(caught)


def test_a_normaliser_of_ones_own_is_kept_unless_it_is_new(tmp_path):
    model = made(HybridGRPO, normalised(raw())).learn(80)
    model.save(tmp_path / "model")
    new = HybridGRPO.load(tmp_path / "model", env=normalised(raw()), device="cpu")
    assert_same_numbers(new.get_vec_normalize_env(), model.get_vec_normalize_env())
    own = normalised(raw())
    own.reset()
    for _ in range(5):
        own.step(np.zeros((2, 1), np.float32))
    before = numbers(own)[1][""][0].copy()
    kept = HybridGRPO.load(tmp_path / "model", env=own, device="cpu")
    np.testing.assert_array_equal(kept.get_vec_normalize_env().obs_rms.mean, before)


def line():
    return LineVecEnv(2, limit=4, edge=9.0)


def walked(env, steps=6):
    """What an environment shows along a walk, its moments standing still."""
    env_of_moments = env
    while not isinstance(env_of_moments, VecNormalize):
        env_of_moments = env_of_moments.venv
    env_of_moments.training = False
    seen = [env.reset()]
    for step in range(steps):
        seen.append(env.step(np.full((2, 1), 0.1 * step, np.float32))[0])
    return np.stack(seen)


def test_it_comes_inside_a_frame_stack(tmp_path):
    model = made(HybridGRPO, VecMonitor(VecFrameStack(normalised(line()), 3))).learn(80)
    model.save(tmp_path / "model.zip")
    again = HybridGRPO.load(tmp_path / "model.zip", env=VecFrameStack(line(), 3), device="cpu")
    np.testing.assert_array_equal(walked(again.get_env()), walked(model.get_env()))
    assert_same_numbers(again.get_vec_normalize_env(), model.get_vec_normalize_env())
    again.learn(80)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        HybridGRPO.load(tmp_path / "model.zip", env=line(), device="cpu")
    with pytest.raises(UsageError, match="inside a VecFrameStack, which this environment lacks") as caught:
        load_vec_normalize(tmp_path / "model.zip", line())
    one_line(caught)
    with pytest.raises(UsageError, match=r"inside a VecFrameStack.* load\(path, env=VecFrameStack") as caught:
        load_policy(tmp_path / "model.zip")
    one_line(caught)


def test_it_comes_around_a_frame_stack(tmp_path):
    model = made(HybridGRPO, normalised(VecFrameStack(line(), 3))).learn(80)
    model.save(tmp_path / "model.zip")
    again = HybridGRPO.load(tmp_path / "model.zip", env=VecFrameStack(line(), 3), device="cpu")
    np.testing.assert_array_equal(walked(again.get_env()), walked(model.get_env()))
    frames = VecFrameStack(line(), 3).reset()
    np.testing.assert_allclose(
        load_policy(tmp_path / "model.zip").predict(frames, deterministic=True)[0], actions(model, frames), rtol=1e-5
    )


class PlaceVecEnv(SeenLineVecEnv):
    """A Dict of two numbers."""

    space = spaces.Dict({name: spaces.Box(-10.0, 10.0, (1,), np.float32) for name in ("place", "step")})

    def show(self, observation):
        return {"place": observation[:, :1], "step": observation[:, 1:]}


def test_the_keys_of_a_dict_come_back(tmp_path):
    def places():
        return PlaceVecEnv(2, limit=4, edge=9.0)

    model = made(HybridGRPO, VecNormalize(places(), norm_obs_keys=["place"]), "MultiInputPolicy").learn(80)
    model.save(tmp_path / "model.zip")
    again = HybridGRPO.load(tmp_path / "model.zip", env=places(), device="cpu")
    assert again.get_vec_normalize_env().norm_obs_keys == ["place"]
    assert_same_numbers(again.get_vec_normalize_env(), model.get_vec_normalize_env())


def test_moments_of_rewards_alone_come_back(tmp_path):
    model = made(HybridGRPO, VecNormalize(line(), norm_obs=False, gamma=0.7)).learn(80)
    model.save(tmp_path / "model.zip")
    found = HybridGRPO.load(tmp_path / "model.zip", env=line(), device="cpu").get_vec_normalize_env()
    assert (found.norm_obs, found.gamma) == (False, 0.7)
    assert found.ret_rms.var == model.get_vec_normalize_env().ret_rms.var != 1.0


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["vecnormalize.pkl", "vec_normalize.pkl", "rl_model_vecnormalize_80_steps.pkl", "sub"])
def test_a_plain_sb3_zip_beside_a_pickled_normaliser_is_missing_it(name, tmp_path):
    PPO("MlpPolicy", raw(), device="cpu", policy_kwargs=SMALL).save(tmp_path / "ppo.zip")
    load_policy(tmp_path / "ppo.zip", trust=True)
    (tmp_path / "ppo").mkdir()
    pickled = tmp_path / "ppo" / "vecnormalize.pkl" if name == "sub" else tmp_path / name
    pickled.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(UsageError, match="the pickled VecNormalize without whose moments") as caught:
        load_policy(tmp_path / "ppo.zip", trust=True)
    assert str(pickled) in one_line(caught)
    assert not (tmp_path / "boom").exists()


def test_the_way_out_that_is_proposed_works(tmp_path):
    model = made(PPO, normalised(raw())).learn(80)
    model.save(tmp_path / "ppo.zip")
    model.get_vec_normalize_env().save(tmp_path / "vecnormalize.pkl")
    env = VecNormalize.load(tmp_path / "vecnormalize.pkl", raw())
    checkpoint.save(PPO.load(tmp_path / "ppo.zip", env=env, device="cpu"), tmp_path / "both.zip")
    np.testing.assert_allclose(
        load_policy(tmp_path / "both.zip").predict(states(), deterministic=True)[0],
        actions(model, states()),
        rtol=1e-5,
        atol=1e-6,
    )
