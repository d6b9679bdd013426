"""Environments as people write them: what is missing is put right, or said in one line."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from rl_tracking import HybridGRPO
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.errors import RunError, UsageError
from rl_tracking.restoring.check import check_restorable
from rl_tracking.restoring.protocol import as_restorable
from tests.adapters.gym_toys import Drift
from tests.adapters.test_adapters import actions_for, assert_faithful, play, started
from tests.agents.toys import PLAIN


class WithoutOptions(Drift):
    def reset(self, *, seed=None):
        return super().reset(seed=seed)


class OnlyNamed(Drift):
    def __init__(self):
        super().__init__()
        self.spec = gym.envs.registration.EnvSpec("Nowhere-v0", entry_point="no_such_module:Nothing")


class FreshSpace(Drift):
    """A space without a seed at every reset, and a sample of it in the info."""

    def reset(self, *, seed=None, options=None):
        self.action_space = spaces.Discrete(3)
        return super().reset(seed=seed)[0], {"sample": self.action_space.sample()}

    def step(self, action):
        *result, _ = super().step(action)
        return *result, {"sample": self.action_space.sample()}


class FreshGenerator(Drift):
    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        return super().reset(seed=seed)

    def noise(self):
        return self.rng.normal()


USABLE = {
    "without options": WithoutOptions,
    "a spec that cannot be made": OnlyNamed,
    "a fresh space": FreshSpace,
    "default_rng(seed)": FreshGenerator,
}


@pytest.mark.parametrize("form", ["environment", "function", "make_vec_env"])
@pytest.mark.parametrize("name", USABLE)
def test_environments_that_ppo_accepts_are_accepted(name, form):
    make = USABLE[name]
    if form == "make_vec_env":
        env = as_restorable(make_vec_env(lambda: make(), 2))
    else:
        env = RestorableGymVecEnv(make() if form == "environment" else make, 2)
    assert not env.slow
    env = started(env, 30)
    saved, actions = env.get_state(), actions_for(env, 60)
    sibling = started(env.spawn(2), 3, seed=7)
    first = [_learned_from(env.step(action)) for action in actions]
    for other in (sibling, env):
        other.set_state(saved)
        assert [_learned_from(other.step(action)) for action in actions] == first
    report = check_restorable(make)
    assert report.ok, str(report)


def _learned_from(result):
    observation, reward, done, _ = result
    return observation.tobytes(), reward.tobytes(), done.tobytes()


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_vec_env("CartPole-v1", 4),
        lambda: make_vec_env(lambda: gym.make("CartPole-v1"), 2),
        lambda: lambda: gym.make("CartPole-v1"),
        lambda: functools.partial(gym.make, "CartPole-v1"),
        lambda: Drift,
        lambda: lambda: gym.make("rl_tracking/Pursuit-v0"),
    ],
    ids=["make_vec_env", "make_vec_env of a function", "function", "partial", "class", "function that makes ours"],
)
def test_any_form_is_trained_on(make):
    model = HybridGRPO("MlpPolicy", make(), **PLAIN, n_steps=8, batch_size=8, n_epochs=1)
    model.learn(8)
    assert model.num_timesteps >= 8


class WithoutSeed(Drift):
    def reset(self):
        return super().reset()


class Broken(Drift):
    def __init__(self):
        raise OSError("no map 'a'")


class Reads(Drift):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Text(4)


class ReadsInside(Drift):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(place=spaces.Box(-1, 1), name=spaces.Text(4))


class Writes(Drift):
    def __init__(self):
        super().__init__()
        self.action_space = spaces.Text(4)


class ManyRewards(Drift):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, np.array([reward, 0.0]), *rest


class OldReset(Drift):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(Drift):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class RaisesInReset(Drift):
    def reset(self, *, seed=None, options=None):
        return {}["goal"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (WithoutSeed, r"WithoutSeed.reset takes no seed; define reset\(self, \*, seed=None, options=None\)"),
        (Broken, r"Broken cannot be made: OSError: no map 'a' \(.*test_usable.py"),
        (Reads, r"the observation space of Reads is a Text, which no policy here takes; wrap"),
        (ReadsInside, r"the observation space of ReadsInside is a Text"),
        (Writes, r"the action space of Writes is a Text"),
        (ManyRewards, r"ManyRewards.*reward.*shape \(2,\).*one real number"),
        (OldReset, r"OldReset.*must return \(observation, info\)"),
        (OldStep, r"OldStep.*must return \(observation, reward, terminated, truncated, info\)"),
        (RaisesInReset, r"RaisesInReset.*KeyError: 'goal'.*in reset\(\)"),
        (lambda: 3, r"must make a gymnasium.Env, not a int"),
    ],
)
@pytest.mark.parametrize("ask", [RestorableGymVecEnv, as_restorable, check_restorable])
def test_an_unusable_environment_is_one_line(make, says, ask):
    with pytest.raises((UsageError, RunError), match=says) as caught:
        ask(make)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).startswith("Traceback")


def test_an_id_whose_constructor_raises_is_one_line():
    refused_id = "tests/Broken-v0"
    gym.register(refused_id, Broken)
    try:
        for ask in (RestorableGymVecEnv, as_restorable, check_restorable):
            with pytest.raises(UsageError, match=r"environment 'tests/Broken-v0' cannot be made: OSError: no map 'a'"):
                ask(refused_id)
    finally:
        del gym.registry[refused_id]


def test_an_environment_without_arguments_is_constructed_where_it_cannot_be_copied():
    class Single(Drift):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    env = started(RestorableGymVecEnv(Single(), 2))
    assert_faithful(env)
    assert play(env, actions_for(env, 3))
