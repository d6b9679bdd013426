"""Restoring in the second episode and after: a generator may be new at a seeded reset alone."""

import numpy as np
import pytest

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.restoring.check import check_restorable
from rl_tracking.restoring.protocol import NotRestorableError
from tests.adapters.gym_toys import Drift, Opaque
from tests.adapters.test_adapters import FIELDS, REPLAY, actions_for, assert_faithful, play, started


class Hidden(Opaque):
    """A generator in the frame of a coroutine, which a seeded reset alone makes anew."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.numbers = self._numbers(np.random.default_rng(seed))
        return super().reset(seed=seed)

    @staticmethod
    def _numbers(generator):
        while True:
            yield generator.normal()

    def noise(self):
        return next(self.numbers)


class Short(Hidden):
    """Its episodes end after nine steps."""

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.count += 1
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, self.count >= 9, truncated, info


def test_an_episode_is_replayed_where_only_a_seed_restores_the_generator():
    env = started(RestorableGymVecEnv(Short, 2), 40)
    assert env.strategy == REPLAY
    for _ in range(3):
        assert_faithful(env, 40)
        play(env, actions_for(env, 11))
    report = check_restorable(Short)
    assert report.ok, str(report)


def test_a_branch_that_ends_begins_the_same_next_episode_as_the_world():
    env = started(RestorableGymVecEnv(Short, 2), 7)
    sibling = env.spawn(6)
    sibling.set_state(env.fork(3))
    for action in actions_for(env, 30):
        branches = sibling.step(np.tile(action, 3))[0].reshape(3, 2, -1)
        mine = env.step(action)[0]
        assert (branches == mine).all()


def test_episodes_follow_from_the_seed_and_differ():
    runs = []
    for seed in (3, 3, 4):
        env = RestorableGymVecEnv(Short, 2, seed=seed)
        runs.append([env.reset(), *[env.step(np.ones(2, int))[0] for _ in range(30)]])
    first, again, other = (np.array(run) for run in runs)
    assert (first == again).all()
    assert not (first[..., 0] == other[..., 0]).any()
    starts = first[[0, 9, 18, 27], :, 0].ravel()
    assert len(np.unique(starts)) == len(starts)


def test_episodes_without_a_seed_are_replayed_too():
    worlds = [RestorableGymVecEnv(Short, 2) for _ in range(2)]
    starts = [env.reset() for env in worlds]
    assert len(np.unique(starts)) == 5, "four places, and no distance"
    for env in worlds:
        play(env, actions_for(env, 12))
        assert_faithful(env)


def test_independent_noise_is_refused_where_the_generator_cannot_be_read():
    env = started(RestorableGymVecEnv(Hidden))
    env.fork(2, "common")
    with pytest.raises(
        NotRestorableError, match="branches of Hidden cannot have noise of their own: no generator that"
    ):
        env.fork(2, "independent")
    readable = started(RestorableGymVecEnv(Opaque))
    assert readable.strategy == REPLAY
    assert len(readable.fork(3, "independent")) == 3


class Curriculum(Drift):
    """Harder in every episode: what a reset without a seed continues is in its fields."""

    level = 0

    def reset(self, *, seed=None, options=None):
        self.level += 1
        return super().reset(seed=seed)

    def noise(self):
        return self.level * super().noise()


def test_fields_that_last_over_resets_are_saved_and_no_reset_is_seeded_without_need(monkeypatch):
    seeds = []
    reset = Curriculum.reset
    env = started(RestorableGymVecEnv(Curriculum))
    monkeypatch.setattr(
        Curriculum, "reset", lambda world, **given: (seeds.append(given.get("seed")), reset(world, **given))[1]
    )
    assert env.strategy == FIELDS
    assert_faithful(env, 80)
    assert set(seeds) - {7} == {None}


class LateClosure(Drift):
    """Renews a generator behind a closure if it gets a seed; nothing that it holds leads there."""

    def __init__(self):
        super().__init__()
        self.renew, self.draw = _generator()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.renew(seed)
        return super().reset(seed=seed)

    def noise(self):
        return self.draw()


def _generator():
    generator = np.random.default_rng(0)

    def renew(seed):
        nonlocal generator
        generator = np.random.default_rng(seed)

    def draw():
        return generator.normal()

    return renew, draw


@pytest.mark.parametrize("form", ["environment", "function"])
def test_a_generator_behind_closures_in_fields_is_saved(form):
    env = started(RestorableGymVecEnv(LateClosure() if form == "environment" else LateClosure, 2), 50)
    assert env.strategy == FIELDS
    assert_faithful(env)
    sibling = env.spawn(4)
    sibling.set_state(env.fork(2, "independent"))
    seen = sibling.step(np.ones(4, int))[0].reshape(2, 2, -1)
    assert (seen[0] != seen[1]).any()
