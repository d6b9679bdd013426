"""Environments that draw from their spaces: the generators of spaces are part of the state."""

import copy
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.freezing.core import Freezer, Thawer
from rl_tracking.adapters.freezing.spaces import parts_of
from rl_tracking.adapters.strategies import Fields
from rl_tracking.restoring.check import check_restorable
from rl_tracking.restoring.protocol import NotRestorableError, as_restorable
from tests.adapters import gym_toys as toys
from tests.adapters.test_adapters import FIELDS, REPLAY, actions_for, assert_faithful, play, started

ENVS = {
    "identity": lambda: IdentityEnv(6, ep_length=17),
    "identity box": lambda: IdentityEnvBox(ep_length=17),
    "identity multi-discrete": lambda: IdentityEnvMultiDiscrete(4, ep_length=17),
    "identity multi-binary": lambda: IdentityEnvMultiBinary(4, ep_length=17),
    "fake image": lambda: FakeImageEnv(screen_height=8, screen_width=8),
    "space of spaces": toys.SpaceNoise,
    "late": toys.LateNoise,
    "list and helper": toys.ManyNoises,
    "wrapper": lambda: toys.Jitter(toys.Drift()),
}


@pytest.mark.parametrize("by", ["function", "instance"])
@pytest.mark.parametrize("name", ENVS)
def test_an_environment_that_draws_from_its_spaces_is_restored(name, by):
    env = started(RestorableGymVecEnv(ENVS[name] if by == "function" else ENVS[name](), 2))
    assert env.strategy == FIELDS
    assert_faithful(env)
    report = check_restorable(ENVS[name]())
    assert report.ok, str(report)


def test_a_space_that_was_never_drawn_from_draws_the_same_after_a_restore():
    env = RestorableGymVecEnv(toys.LateNoise, 3, seed=0)
    env.reset()
    saved, actions = env.get_state(), actions_for(env, 30)
    sibling = env.spawn(3)
    sibling.set_state(saved)
    first = play(sibling, actions)
    assert play(env, actions) == first, "the world itself, which was not restored"
    for other in (env, sibling):
        other.set_state(saved)
        assert play(other, actions) == first
    again = RestorableGymVecEnv(toys.LateNoise, 3, seed=0)
    again.reset()
    assert again.get_state().to_bytes() == saved.to_bytes(), "it follows from the seed"
    rewards = np.array([env.step(np.ones(3, dtype=int))[1] for _ in range(30)])
    assert len(np.unique(rewards[-1])) == 3


def test_a_restore_keeps_the_space_objects():
    env = as_restorable(make_vec_env(lambda: IdentityEnv(1000), 2))
    space = env.action_space
    env.reset()
    saved = env.get_state()
    env.set_state(saved)
    assert env.action_space is space is env.envs[0].unwrapped.action_space
    # As a model does with its seed.
    seen = []
    for _ in range(2):
        space.seed(3)
        seen.append([env.step(np.zeros(2, int))[0][0] for _ in range(5)])
        env.set_state(env.get_state())
    assert seen[0] == seen[1]
    env.set_state(saved)
    assert env.get_state().differences(saved) == []


@pytest.mark.parametrize("make", [lambda: IdentityEnvBox(-1, 1), toys.SpaceNoise, toys.LateNoise])
def test_spaces_of_forks_have_common_or_independent_noise(make):
    env = started(RestorableGymVecEnv(make, 2), 5)
    sibling = env.spawn(6)
    still = [np.stack([env.action_space.low if hasattr(env.action_space, "low") else 1] * 6)] * 8
    runs = {}
    for noise in ("common", "independent"):
        sibling.set_state(env.fork(3, noise))
        steps = [sibling.step(action) for action in still]
        runs[noise] = [np.concatenate([seen.reshape(6, -1), reward[:, None]], 1) for seen, reward, *_ in steps]
    common, independent = (np.array(runs[noise]).reshape(8, 3, 2, -1) for noise in ("common", "independent"))
    assert (common == common[:, :1]).all()
    assert (independent[:, 0] == common[:, 0]).all()
    for world in range(2):
        assert len({independent[-1, branch, world].tobytes() for branch in range(3)}) == 3
    sibling.set_state(env.fork(3, "independent"))
    assert (sibling.step(still[0])[0].reshape(6, -1) == runs["independent"][0][:, :-1]).all()


@pytest.mark.parametrize("form", ["function", "instance", "worlds"])
def test_worlds_do_not_share_a_space(form):
    space = spaces.Discrete(10**6)
    make = lambda: IdentityEnv(space=space)  # noqa: E731
    if form == "worlds":
        env = as_restorable(DummyVecEnv([make] * 4))
    else:
        env = RestorableGymVecEnv(make if form == "function" else make(), 4, seed=0)
    assert env.action_space is space
    env.reset()
    observation = env.step(np.zeros(4, int))[0]
    assert len(set(observation.tolist())) == 4
    assert_faithful(env)
    report = check_restorable(env)
    assert report.ok, str(report)
    held = [id(part) for world in (*env.envs, *env.spawn(2).envs) for part in parts_of(world.unwrapped.action_space)]
    assert len(set(held)) == 6


def test_a_space_that_all_worlds_share_through_a_helper_is_refused():
    with pytest.raises(NotRestorableError, match=r"HiddenSharing\.helper changes, and all worlds share it"):
        RestorableGymVecEnv(toys.HiddenSharing)


def test_sampling_actions_from_a_world_does_not_spoil_its_replay():
    env = started(RestorableGymVecEnv(toys.Opaque, 2))
    assert env.strategy == REPLAY
    env.reset()
    for _ in range(3):
        env.step(np.array([env.action_space.sample() for _ in range(2)]))
    saved, sibling = env.get_state(), env.spawn(2)
    sibling.set_state(saved)
    assert sibling.get_state().differences(saved) == []


def test_all_spaces_are_state_where_a_step_that_is_played_again_draws_from_one():
    env = started(RestorableGymVecEnv(lambda: toys.Jitter(toys.Opaque()), 2))
    assert env.strategy == REPLAY
    env.reset()
    for _ in range(3):
        env.step(np.array([env.action_space.sample() for _ in range(2)]))
    saved, sibling = env.get_state(), env.spawn(2)
    sibling.set_state(saved)
    assert sibling.get_state().differences(saved) == []
    assert [sibling.action_space.sample() for _ in range(9)] == [env.action_space.sample() for _ in range(9)]


def test_spaces_of_environments_that_draw_from_none_are_not_touched():
    env = RestorableGymVecEnv("CartPole-v1", 1, seed=0)
    env.reset()
    env.action_space.seed(3)
    first = [env.action_space.sample() for _ in range(20)]
    env.action_space.seed(3)
    sibling = env.spawn(2)
    again = []
    for _ in range(20):
        states = env.get_state()
        sibling.set_state(states.repeat(2))
        again.append(env.action_space.sample())
        env.set_state(states)
    assert again == first
    assert env.observation_space._np_random is None


def settled():
    """A space that was saved before its first draw, and its twin's first numbers."""
    space, codecs = spaces.Box(-1, 1, (3,), np.float64), Fields(toys.Drift())._codecs
    frozen = Freezer(codecs).freeze(space)
    twin = Thawer(codecs, []).thaw(frozen, spaces.Box(-1, 1, (3,), np.float64))
    return space, [twin.sample().tolist() for _ in range(3)]


def test_a_space_that_is_saved_before_its_first_draw_has_a_generator_from_then_on():
    space, numbers = settled()
    held = space.np_random
    assert type(held) is np.random.Generator
    assert [space.sample().tolist() for _ in range(2)] == numbers[:2]
    assert [held.uniform(-1, 1, 3).tolist()] == numbers[2:]


@pytest.mark.parametrize("how", [copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))])
def test_a_copy_of_a_saved_space_draws_the_same(how):
    space, numbers = settled()
    copied = how(space)
    assert copied == space
    for each in (copied, space):
        assert [each.sample().tolist() for _ in range(3)] == numbers


def test_a_generator_that_a_space_shares_with_its_environment_stays_shared():
    def make():
        env = toys.SpaceNoise()
        env.np_random = np.random.default_rng(5)
        env.dice.spaces[0]._np_random = env.np_random
        env.draw = env.dice.spaces[0].np_random
        return env

    env = started(RestorableGymVecEnv(make))
    saved = env.get_state()
    sibling = env.spawn(1)
    sibling.set_state(saved)
    inner = sibling.envs[0].unwrapped
    assert inner.draw.bit_generator is inner.dice.spaces[0].np_random.bit_generator
    actions = actions_for(env, 20)
    assert play(sibling, actions) == play(env, actions)
