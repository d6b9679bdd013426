"""Every scenario through every contract; a new one is taken in by being registered."""

import numpy as np
import pytest
import torch

from rl_tracking.envs.vec_env import make_vec
from rl_tracking.restoring.check import check_restorable
from tests.conformance.variants import VARIANTS, make
from tests.helpers import bits, play, random_actions

STEPS = 50


@pytest.fixture(params=sorted(VARIANTS))
def variant(request):
    return request.param


def started(variant, num_envs=6, seed=0, steps=7, **changes):
    """A batch in the middle of its episodes."""
    env = make(variant, num_envs, seed, **changes)
    env.reset()
    play(env, random_actions(env, steps, seed=99))
    return env


def test_a_state_put_back_brings_the_same_steps(variant):
    env = started(variant)
    saved = env.get_state()
    actions = random_actions(env, STEPS, scale=1.2)
    first = play(env, actions)
    assert any(ends for *_, ends in first), "the stretch crosses the end of an episode"
    env.set_state(saved)
    assert play(env, actions) == first
    env.set_state(type(saved).from_bytes(saved.to_bytes()))
    assert play(env, actions) == first


def test_another_env_goes_on_from_a_state(variant):
    env = started(variant)
    other = make(variant, 6, seed=123)
    other.reset()
    actions = random_actions(env, STEPS)
    other.set_state(type(env.get_state()).from_bytes(env.get_state().to_bytes()))
    assert play(other, actions) == play(env, actions)


def test_it_is_deterministic(variant):
    actions = random_actions(make(variant, 6), STEPS)
    runs = []
    for _ in range(2):
        env = make(variant, 6, seed=5)
        runs.append((env.reset().tobytes(), play(env, actions), env.get_state().to_bytes()))
    assert runs[0] == runs[1]


def test_branches_leave_their_parent_alone(variant):
    env = started(variant)
    saved = env.get_state()
    kept = saved.to_bytes()
    sibling = env.spawn(4 * env.num_envs)
    sibling.set_state(saved.repeat(4))
    play(sibling, random_actions(sibling, STEPS, seed=1))
    for noise in ("common", "independent"):
        env.step_branches(torch.from_numpy(random_actions(env, 4)), noise)
    assert env.get_state() is saved
    assert saved.to_bytes() == kept
    actions = random_actions(env, STEPS)
    untouched = started(variant)
    assert play(env, actions) == play(untouched, actions)


def test_a_branch_is_the_world_itself(variant):
    env = started(variant)
    sibling = env.spawn(3 * env.num_envs)
    sibling.set_state(env.get_state().repeat(3))
    for action in random_actions(env, STEPS):
        own = env.step(action)
        branches = sibling.step(np.tile(action, (3, 1)))
        for x, y in zip(own[:3], branches[:3], strict=True):
            assert y.tobytes() == np.concatenate([x, x, x]).tobytes()


def test_stepping_branches_is_stepping(variant):
    env, blind = started(variant), started(variant)
    for branches in random_actions(env, 3 * 40).reshape(40, 3, env.num_envs, -1):
        seen = env.step_branches(torch.from_numpy(branches))
        observation, reward, done, infos = env.step(branches[0])
        assert bits(blind.step(branches[0])) == bits((observation, reward, done, infos))
        assert seen.reward[0].numpy().tobytes() == reward.tobytes()
        assert (seen.terminated | seen.truncated)[0].tolist() == done.tolist()
        reached = [
            info["terminal_observation"] if end else row
            for row, end, info in zip(observation, done, infos, strict=True)
        ]
        assert np.stack(reached).tobytes() == seen.observation[0].numpy().tobytes()
    assert env.get_state().equal(blind.get_state())


@pytest.mark.parametrize("worlds", [5, 33])
def test_many_worlds_are_the_same_worlds_one_by_one(variant, worlds):
    batch = started(variant, worlds, steps=0)
    chosen = [0, 3, worlds - 1]
    alone = {world: make(variant, 1) for world in chosen}
    start = batch.get_state()
    for world, env in alone.items():
        env.set_state(start[world])
    for action in random_actions(batch, STEPS, scale=1.2):
        observation, reward, done, infos = batch.step(action)
        for world, env in alone.items():
            rows = slice(world, world + 1)
            expected = bits((observation[rows], reward[rows], done[rows], infos[rows]))
            assert bits(env.step(action[rows])) == expected
    for world, env in alone.items():
        assert env.get_state().equal(batch.get_state()[world])


def test_nothing_handed_out_shares_memory_with_the_world(variant):
    env = make(variant, 4)
    first = env.reset()
    saved = env.get_state()
    kept = saved.to_bytes()
    first[:] = 7
    assert saved.to_bytes() == kept
    for action in random_actions(env, 3):
        observation, reward, done, _ = env.step(action)
        after = env.get_state().to_bytes()
        observation[:], reward[:], done[:], action[:] = 7, 7, True, 7
        assert env.get_state().to_bytes() == after
    assert saved.to_bytes() == kept
    copies = saved.repeat(2)
    for name, tensor in copies.tensors().items():
        original = saved.tensors()[name]
        assert tensor.numel() == 0 or tensor.untyped_storage().data_ptr() != original.untyped_storage().data_ptr()


def test_observations_are_float32_and_within_bounds(variant):
    env = make(variant, 32)
    observations, rewards = [env.reset()], []
    for action in random_actions(env, 200, scale=1.5):
        observation, reward, done, infos = env.step(action)
        observations.append(observation)
        observations += [info["terminal_observation"][None] for info in infos if info]
        rewards.append(reward)
        assert done.dtype == np.bool_
    seen, paid = np.concatenate(observations), np.stack(rewards)
    assert seen.dtype == np.float32
    assert paid.dtype == np.float32
    assert np.isfinite(seen).all()
    assert np.isfinite(paid).all()
    assert (seen >= env.observation_space.low[0]).all()
    assert (seen <= env.observation_space.high[0]).all()
    assert np.abs(seen).max(axis=0).mean() > 0.25, "scaled so that the range is used"


# Elements that never change, and why: a target fixed at the centre is where it is, in each of the six records.
# (`stationary` targets elsewhere change from episode to episode.)
CONSTANT = {"pursuit-sandbox-fixed": {9 * record + axis for record in range(6) for axis in (6, 7, 8)}}


def test_no_observation_element_is_constant(variant):
    env = make(variant, 4)
    seen = [env.reset()] + [env.step(action)[0] for action in random_actions(env, 300)]
    # For each world on its own: over its episodes every element takes several values.
    values = np.stack(seen)
    moves = (values != values[:1]).any(axis=0)
    for world in range(4):
        assert set(np.flatnonzero(~moves[world]).tolist()) == CONSTANT.get(variant, set())


def test_no_two_observation_elements_are_the_same(variant):
    # Long enough for the sandbox's target to end its first rectangle and climb.
    env = make(variant, 16, max_steps=130)
    seen = [env.reset()] + [env.step(action)[0] for action in random_actions(env, 130)]
    columns = np.concatenate(seen).T
    changing = columns[(columns != columns[:, :1]).any(axis=1)]
    assert np.unique(changing, axis=0).shape[0] == changing.shape[0]


def test_check_restorable_agrees(variant):
    report = check_restorable(make(variant, 3))
    assert report.ok, str(report)


@pytest.mark.parametrize("preset", ["drone", "sandbox"])
def test_4096_worlds_with_wind(preset):
    """Saved, run for 50 steps, put back, run again: bit-equal; through bytes too."""
    env = make_vec("pursuit", num_envs=4096, seed=0, preset=preset, wind_speed=2.0, max_steps=40)
    env.reset()
    actions = random_actions(env, STEPS)
    play(env, actions[:5])
    saved = env.get_state()
    data = saved.to_bytes()
    first = play(env, actions)
    ends = sum(len(step[3]) for step in first)
    assert ends == 4096, "every world ends an episode on the way"
    env.set_state(saved)
    assert play(env, actions) == first
    after = env.get_state()
    back = type(saved).from_bytes(data)
    assert back.equal(saved)
    env.set_state(back)
    assert play(env, actions) == first
    assert env.get_state().equal(after)
    assert saved.to_bytes() == data
