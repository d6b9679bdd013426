"""Gymnasium's environments through every contract of a restorable one."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.restoring.check import check_restorable

STEPS = 50
LIMIT = 30  # so that every stretch crosses the end of an episode

FIELDS, REPLAY = "a copy of its fields", "playing the episode again from its reset"
MUJOCO = "MuJoCo's full state and a copy of its fields"
STRATEGIES = {
    "CartPole-v1": FIELDS,
    "Pendulum-v1": FIELDS,
    "Acrobot-v1": FIELDS,
    "MountainCar-v0": FIELDS,
    "MountainCarContinuous-v0": FIELDS,
    "Taxi-v4": FIELDS,
    "FrozenLake-v1": FIELDS,
    "CliffWalking-v1": FIELDS,
    "Blackjack-v1": FIELDS,
    "Hopper-v5": MUJOCO,
    "HalfCheetah-v5": MUJOCO,
    "Walker2d-v5": MUJOCO,
    "Ant-v5": MUJOCO,
    "Humanoid-v5": MUJOCO,
    "Reacher-v5": MUJOCO,
    "InvertedDoublePendulum-v5": MUJOCO,
    "LunarLander-v3": REPLAY,
    "tests/Identity-v0": FIELDS,
    "tests/IdentityBox-v0": FIELDS,
}

# They draw from their spaces, which no reset seeds.
gym.register("tests/Identity-v0", lambda: seeded(IdentityEnv(4)))
gym.register("tests/IdentityBox-v0", lambda: seeded(IdentityEnvBox()))


def seeded(env):
    env.action_space.seed(0)
    return env


@pytest.fixture(params=STRATEGIES)
def env_id(request):
    return request.param


def make(env_id, num_envs=2, seed=0):
    return RestorableGymVecEnv(env_id, num_envs, seed, max_episode_steps=LIMIT)


def actions_for(env, steps, seed=0):
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    return [np.stack([space.sample() for _ in range(env.num_envs)]) for _ in range(steps)]


def plain(value):
    """Arrays and what holds them as something that compares by bits; without the clock."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name != "t"}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray | np.generic) else value


def play(env, actions):
    return [plain(env.step(action)) for action in actions]


def started(env_id, num_envs=2, seed=0):
    env = make(env_id, num_envs, seed)
    env.reset()
    play(env, actions_for(env, 7, seed=99))
    return env


def test_every_contract(env_id):
    env = started(env_id)
    assert env.strategy == STRATEGIES[env_id]
    saved, actions = env.get_state(), actions_for(env, STEPS)
    kept = saved.to_bytes()
    first = play(env, actions)
    after = env.get_state()
    assert sum("terminal_observation" in info for *_, infos in first for info in infos) >= 2
    # Put back: here, and from bytes; the whole state is the same afterwards, generators included.
    for states in (saved, GymStates.from_bytes(kept)):
        env.set_state(states)
        assert play(env, actions) == first
        assert env.get_state().differences(after) == []
    # Another one goes on from it, and is no further than it says.
    other = started(env_id, seed=123)
    other.set_state(saved)
    assert other.get_state().differences(saved) == []
    assert play(other, actions) == first
    assert saved.to_bytes() == kept, "a state never changes"
    env.close()
    other.close()


def test_branches_step_like_the_world_and_do_not_change_it(env_id):
    env, untouched = started(env_id), started(env_id)
    sibling = env.spawn(6)
    for action in actions_for(env, 4):
        before = env.get_state().to_bytes()
        sibling.set_state(env.get_state().repeat(3))
        branches = sibling.step(np.concatenate([action] * 3))
        assert env.get_state().to_bytes() == before
        own = env.step(action)
        assert plain(own) == plain(untouched.step(action))
        for branch in range(3):
            rows = slice(2 * branch, 2 * branch + 2)
            assert plain(own[1]) == plain(branches[1][rows])
            assert plain(own[3]) == plain(branches[3][rows])
    for venv in (env, untouched, sibling):
        venv.close()


def test_steps_are_those_of_sb3s_dummy_vec_env(env_id):
    env, bare = make(env_id), DummyVecEnv([lambda: registry.make(env_id, max_episode_steps=LIMIT)] * 2)
    bare.seed(0)
    assert plain(env.reset()) == plain(bare.reset())
    compared = 0
    for action in actions_for(env, 40):
        mine, theirs = env.step(action), bare.step(action)
        for info in mine[3]:
            info.pop("episode", None)
        if STRATEGIES[env_id] == REPLAY and theirs[2].any():  # from here on, resets have seeds of their own
            break
        assert plain(mine) == plain(theirs)
        compared += 1
    assert compared >= 20
    env.close()
    bare.close()


def test_check_restorable_agrees(env_id):
    report = check_restorable(registry.make(env_id, max_episode_steps=LIMIT), steps=40)
    assert report.ok, str(report)
    assert report.strategy == STRATEGIES[env_id] + (" (slow)" if STRATEGIES[env_id] == REPLAY else "")
