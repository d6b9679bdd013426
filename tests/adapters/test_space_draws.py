"""Which environments may draw from a space; where none can, the generators of spaces are no state."""

import copy
import functools
import weakref

import gymnasium as gym
import numpy as np
import pytest
import scipy.ndimage
from gymnasium import spaces
from stable_baselines3.common.envs import IdentityEnv

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.space_draws import may_draw_from_spaces
from rl_tracking.adapters.stacks import layers_of, prepared
from tests.adapters import gym_toys as toys
from tests.adapters.test_adapters import FIELDS, assert_faithful, started
from tests.trust import awkward


class Passing(gym.Wrapper):
    """Adds nothing; looks up what it lacks in the environment."""

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(action)
        return self.env.step(action)

    def reset(self, *, seed=None, options=None):
        self.first = self.unwrapped.np_random is self.env.np_random
        return self.env.reset(seed=seed)


class DictActions(toys.Drift):
    """Has nested spaces, and draws from its own generator alone."""

    def __init__(self):
        super().__init__()
        self.extra = spaces.Dict({"a": spaces.Box(-1, 1), "b": spaces.Dict({"c": spaces.Discrete(3)})})

    def sample(self):
        return self.np_random.normal()

    def noise(self):
        return self.sample()


class NestedNoise(DictActions):
    def noise(self):
        drawn = self.extra.sample()
        return float(drawn["a"][0]) + 0.1 * float(drawn["b"]["c"])


class Reader(toys.Drift):
    """Draws from the generator of a space."""

    def noise(self):
        space = self.action_space
        return space.np_random.normal()


class ByName(toys.Drift):
    def noise(self):
        return getattr(self.action_space, "".join(["sam", "ple"]))()


class Local(toys.Drift):
    def noise(self):
        from tests.adapters import gym_toys

        return gym_toys.drawn_from(self.action_space)


class Filtered(toys.Drift):
    def noise(self):
        return float(scipy.ndimage.gaussian_filter(self.np_random.normal(size=3), 1.0)[0])


class Helper:
    def number(self, space):
        return space.sample()


HELPER, TABLE = Helper(), {"helper": [weakref.ref(Helper)]}


class Global(toys.Drift):
    def noise(self):
        return HELPER.number(self.action_space)


class InTable(toys.Drift):
    def noise(self):
        return TABLE["helper"][0]()().number(self.action_space)


class Seeding(toys.Drift):
    def noise(self):
        self.action_space.seed(3)
        return 0.0


class Identity(IdentityEnv):
    """Inherits a step that draws."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


class OwnSpace(spaces.Discrete):
    def contains(self, x):
        self.sample()
        return True


class WithOwnSpace(toys.Drift):
    def __init__(self):
        super().__init__()
        self.own = OwnSpace(3)


def with_field(value):
    env = toys.Drift()
    env.draw = value(env)
    return env


def noisy(env):
    return gym.wrappers.TransformObservation(
        env, lambda seen: seen + 0.01 * env.action_space.sample(), env.observation_space
    )


DRAWING = {
    "own space of spaces": NestedNoise,
    "generator of a space": Reader,
    "by a name that no code spells": ByName,
    "in a module that a function imports": Local,
    "object of a module": Global,
    "class in a table": InTable,
    "seeds a space": Seeding,
    "step of a library": lambda: Identity(3),
    "class of a space": WithOwnSpace,
    "method in a field": lambda: with_field(lambda env: env.action_space.sample),
    "partial in a field": lambda: with_field(lambda env: functools.partial(env.action_space.sample, None)),
    "generator in a field": lambda: with_field(lambda env: env.action_space.np_random),
    "bits in a field": lambda: with_field(lambda env: env.action_space.np_random.bit_generator),
    "method of a generator": lambda: with_field(lambda env: env.action_space.np_random.random),
    "iterator in a field": lambda: with_field(lambda env: iter(env.action_space.sample, None)),
    "object array in a field": lambda: with_field(lambda env: np.array([env.action_space.sample], object)),
    "function of a Gymnasium wrapper": lambda: noisy(gym.make("CartPole-v1")),
    "wrapper": lambda: toys.Jitter(toys.Drift()),
}
QUIET = {
    "function of SciPy": Filtered,
    "CartPole": lambda: gym.make("CartPole-v1"),
    "HalfCheetah": lambda: gym.make("HalfCheetah-v5"),
    "LunarLander": lambda: gym.make("LunarLander-v3"),
    "CarRacing": lambda: gym.make("CarRacing-v3"),
    "wrapper": lambda: Passing(gym.make("CartPole-v1")),
    "own generator": toys.Drift,
    "spaces of spaces": DictActions,
    "helper": toys.InPlace,
    "spawned generators": awkward.Spawned,
    "Gymnasium wrapper": lambda: gym.wrappers.NormalizeObservation(gym.make("Pendulum-v1")),
    "function of a Gymnasium wrapper": lambda: gym.wrappers.TransformReward(toys.Drift(), lambda reward: 2 * reward),
}


def judged(make):
    return may_draw_from_spaces(layers_of(prepared(make())[0]))


@pytest.mark.parametrize("name", DRAWING)
def test_an_environment_that_may_draw_from_a_space_is_known(name):
    assert judged(DRAWING[name])


@pytest.mark.parametrize("name", QUIET)
def test_generators_of_spaces_are_no_state_where_no_code_draws_from_them(name):
    assert not judged(QUIET[name])


@pytest.mark.parametrize("make", [DictActions, lambda: Passing(toys.Drift()), NestedNoise, Reader, Global, InTable])
def test_both_kinds_are_restored_exactly(make):
    env = started(RestorableGymVecEnv(make, 2))
    assert env.strategy == FIELDS
    assert_faithful(env)


def test_a_function_of_a_gymnasium_wrapper_that_draws_from_a_space_is_restored():
    env = started(RestorableGymVecEnv(lambda: noisy(toys.Drift()), 2))
    assert_faithful(env)


def test_a_restore_leaves_spaces_alone_that_no_step_draws_from():
    env = RestorableGymVecEnv(lambda: Passing(DictActions()), 1, seed=0)
    env.reset()
    env.action_space.seed(3)
    numbers = copy.deepcopy(env.action_space)
    saved = env.get_state()
    drawn = []
    for _ in range(10):
        env.set_state(saved)
        drawn.append(env.action_space.sample())
    assert drawn == [numbers.sample() for _ in range(10)]
