"""Branches against the plainest thing that gives the same: a sibling set to the state, stepped with one action."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecMonitor,
    VecNormalize,
)

from rl_tracking import HybridGRPO
from rl_tracking.agents.collect.branching import Brancher
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import NotRestorableError, StepsBranches
from tests.agents.toys import PLAIN, LineVecEnv, OddWrapper, hybrid, one_line, tracking
from tests.helpers import random_actions


def started(env, steps=2):
    """The env a few steps into its episodes."""
    env.reset()
    for action in random_actions(env, steps, seed=9):
        env.step(action)
    return env


def branch_actions(env, branches, seed=3):
    return torch.from_numpy(random_actions(env, branches, seed=seed))


def alone(env, action):
    """What one action of every world leads to, on a sibling: observation reached, reward, terminated, truncated."""
    sibling = env.spawn(env.num_envs)
    sibling.reset()
    sibling.set_state(env.get_state())
    observation, reward, done, infos = sibling.step(action)
    reached = observation.copy()
    truncated = np.zeros_like(done)
    for world in np.flatnonzero(done):
        reached[world] = infos[world]["terminal_observation"]
        truncated[world] = infos[world]["TimeLimit.truncated"]
    return reached, reward, done & ~truncated, truncated


def assert_branches(env, outcome, actions):
    for branch, action in enumerate(actions.numpy()):
        reached, reward, terminated, truncated = alone(env, action)
        assert outcome.observation[branch].numpy().tobytes() == reached.tobytes()
        assert outcome.reward[branch].numpy().tobytes() == reward.tobytes()
        assert outcome.terminated[branch].tolist() == terminated.tolist()
        assert outcome.truncated[branch].tolist() == truncated.tolist()


ENVS = {
    "drone in wind": lambda: tracking(5, wind_speed=3.0),
    "capture terminates": lambda: tracking(5, capture_terminates=True, spawn="near", capture_radius=6.0),
    "sandbox": lambda: tracking(5, preset="sandbox"),
    "last step": lambda: tracking(5, max_steps=3),
    "by hand": lambda: LineVecEnv(5),
    "by hand, last step": lambda: LineVecEnv(5, limit=3, edge=9.0),
    "by hand, edge": lambda: LineVecEnv(5, edge=0.5),
}


@pytest.mark.parametrize("name", ENVS)
def test_every_branch_is_what_its_action_alone_leads_to(name):
    env = started(ENVS[name]())
    actions = branch_actions(env, 4)
    outcome = Brancher(env, 4, "common").step(actions)
    assert outcome.observation.shape == (4, 5, *env.observation_space.shape)
    assert_branches(env, outcome, actions)
    if name.endswith("last step"):
        assert bool(outcome.truncated.all())
    if name in ("capture terminates", "by hand, edge"):
        assert 0 < int(outcome.terminated.sum()) < outcome.terminated.numel()


@pytest.mark.parametrize("name", ENVS)
def test_branch_0_is_what_is_then_executed(name):
    env = started(ENVS[name]())
    actions = branch_actions(env, 3)
    outcome = Brancher(env, 3, "common").step(actions)
    observation, reward, done, infos = env.step(actions[0].numpy())
    assert outcome.reward[0].numpy().tobytes() == reward.tobytes()
    assert (outcome.terminated | outcome.truncated)[0].tolist() == done.tolist()
    for world in range(5):
        seen = infos[world]["terminal_observation"] if done[world] else observation[world]
        assert outcome.observation[0, world].numpy().tobytes() == seen.tobytes()


@pytest.mark.parametrize("name", ENVS)
def test_the_parent_is_left_as_it_was(name):
    env, untouched = started(ENVS[name]()), started(ENVS[name]())
    brancher, before = Brancher(env, 4, "common"), env.get_state().to_bytes()
    for seed in range(3):
        brancher.step(branch_actions(env, 4, seed))
    assert env.get_state().to_bytes() == before
    for action in random_actions(env, 8, seed=5):
        for mine, theirs in zip(env.step(action)[:3], untouched.step(action)[:3], strict=True):
            assert mine.tobytes() == theirs.tobytes()


def test_the_protocol_says_which_env_steps_branches_itself():
    assert isinstance(tracking(), StepsBranches)
    assert not isinstance(LineVecEnv(), StepsBranches)


def test_branches_in_a_sibling_are_those_of_step_branches():
    class WithoutStepBranches:
        """The three methods of a restorable env and no more."""

        def __init__(self, env):
            self.env, self.num_envs, self.unwrapped = env, env.num_envs, self

        def get_state(self):
            return self.env.get_state()

        def set_state(self, states):
            self.env.set_state(states)

        def spawn(self, num_envs):
            return self.env.spawn(num_envs)

    env = started(tracking(5, capture_terminates=True, spawn="near", capture_radius=6.0))
    actions = branch_actions(env, 4)
    seen = Brancher(env, 4, "common").step(actions)
    tried = Brancher(WithoutStepBranches(env), 4, "common").step(actions)
    for name in ("observation", "reward", "terminated", "truncated"):
        assert torch.equal(getattr(seen, name), getattr(tried, name)), name


# -- noise ------------------------------------------------------------------------------------------------------------


def test_common_noise_is_shared_and_independent_noise_is_not():
    env = started(tracking(3, wind_speed=5.0))
    same = branch_actions(env, 1).repeat(4, 1, 1)
    common = Brancher(env, 4, "common").step(same).observation
    independent = Brancher(env, 4, "independent").step(same).observation
    for branch in range(1, 4):
        assert torch.equal(common[branch], common[0])
        assert bool((independent[branch] != independent[0]).any(dim=-1).all())
    assert torch.equal(independent[0], common[0])


def test_with_independent_noise_branch_0_is_still_executed():
    env = started(tracking(3, wind_speed=5.0))
    actions = branch_actions(env, 4)
    outcome = Brancher(env, 4, "independent").step(actions)
    observation, reward, _, _ = env.step(actions[0].numpy())
    assert outcome.observation[0].numpy().tobytes() == observation.tobytes()
    assert outcome.reward[0].numpy().tobytes() == reward.tobytes()


def test_independent_noise_needs_an_env_that_knows_it():
    with pytest.raises(UsageError, match="LineVecEnv only knows branch_noise 'common', not 'independent'") as caught:
        Brancher(LineVecEnv(), 2, "independent")
    one_line(caught)


# -- wrappers ---------------------------------------------------------------------------------------------------------


def moments(normalizer):
    return [(np.array(rms.mean), np.array(rms.var), rms.count) for rms in (normalizer.obs_rms, normalizer.ret_rms)]


@pytest.mark.parametrize("make", [lambda: tracking(5), lambda: LineVecEnv(5)], ids=["tracking", "by hand"])
def test_branches_are_normalised_with_moments_that_stay(make):
    normalizer = started(VecNormalize(make(), gamma=0.9))
    actions = branch_actions(normalizer, 4)
    before = moments(normalizer)
    outcome = Brancher(normalizer, 4, "common").step(actions)
    assert str(moments(normalizer)) == str(before)
    for branch, action in enumerate(actions.numpy()):
        reached, reward, _, _ = alone(normalizer.venv, action)
        np.testing.assert_array_equal(outcome.observation[branch].numpy(), normalizer.normalize_obs(reached))
        np.testing.assert_array_equal(outcome.reward[branch].numpy(), normalizer.normalize_reward(reward))
    assert not np.allclose(outcome.observation[0].numpy(), alone(normalizer.venv, actions[0].numpy())[0])


def test_training_moves_the_moments_by_the_executed_steps_alone():
    few, many = (VecNormalize(LineVecEnv(4)) for _ in range(2))
    hybrid(few, n_samples=1).learn(24)
    hybrid(many, n_samples=16).learn(24)
    # A reset and six steps of four worlds, whatever the number of branches.
    assert few.obs_rms.count == many.obs_rms.count == pytest.approx(4 + 24, abs=1e-3)
    assert few.ret_rms.count == many.ret_rms.count == pytest.approx(24, abs=1e-3)


def test_normalisers_are_applied_from_the_inside_out():
    inner = VecNormalize(tracking(3))
    outer = started(VecNormalize(inner, clip_obs=0.5), steps=3)
    actions = branch_actions(outer, 2)
    outcome = Brancher(outer, 2, "common").step(actions)
    reached = alone(inner.venv, actions[1].numpy())[0]
    expected = outer.normalize_obs(inner.normalize_obs(reached))
    np.testing.assert_allclose(outcome.observation[1].numpy(), expected, rtol=1e-6)


def test_a_monitor_does_not_see_the_branches():
    env = VecCheckNan(VecMonitor(LineVecEnv(4, limit=3, edge=9.0)))
    model = hybrid(env, n_samples=8)
    model.learn(24)
    # Six steps in episodes of three: two episodes a world.
    assert len(model.ep_info_buffer) == 8
    assert {item["l"] for item in model.ep_info_buffer} == {3}


@pytest.mark.parametrize("wrap", [OddWrapper, lambda env: VecNormalize(OddWrapper(env))])
def test_other_wrappers_are_refused(wrap):
    with pytest.raises(UsageError, match="the wrapper OddWrapper cannot be forked: it keeps state") as caught:
        hybrid(wrap(tracking()))
    assert "VecNormalize, VecFrameStack" in one_line(caught)


# -- what cannot be forked --------------------------------------------------------------------------------------------


class Stubborn(LineVecEnv):
    """A VecEnv whose state cannot be put back."""

    set_state = spawn = None


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize, VecMonitor])
def test_a_vec_env_without_the_methods_is_refused(wrap):
    with pytest.raises(NotRestorableError, match="Stubborn is not restorable: it has no set_state, spawn;") as caught:
        HybridGRPO("MlpPolicy", wrap(Stubborn()))
    assert "make_vec" in one_line(caught)


class Stream(gym.Env):
    """What it will do next hangs on a generator, which nobody can copy."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.numbers = (number for number in range(10**6))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(next(self.numbers)), False, False, {}


def test_an_env_that_cannot_be_copied_is_refused():
    with pytest.raises(NotRestorableError, match="Stream is not restorable") as caught:
        HybridGRPO("MlpPolicy", Stream())
    one_line(caught)


@pytest.mark.parametrize("by_id", [True, False])
def test_a_single_world_and_its_id_are_taken(by_id):
    env = "rl_tracking/Pursuit-v0" if by_id else gym.make("rl_tracking/Pursuit-v0", max_steps=5)
    model = HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=4, batch_size=4, n_epochs=1, device="cpu", seed=0)
    assert model.env.num_envs == 1
    model.learn(4)
    assert model.num_timesteps == 4


# -- cost -------------------------------------------------------------------------------------------------------------


def test_simulator_steps_of_an_env_that_steps_branches():
    assert Brancher(tracking(5), 8, "common").simulator_steps == 40


def test_simulator_steps_of_a_sibling_are_those_that_were_made():
    env = LineVecEnv(5)
    model = hybrid(env, n_samples=8)
    model.learn(30)
    # Branches, and the executed step once more.
    assert model.num_simulator_steps == 30 * 8 + 30 == env.counts["steps"]


def test_an_env_that_steps_branches_simulates_each_once(monkeypatch):
    env = tracking(5)
    env.reset()
    worlds, transition = [], env.simulator.transition

    def counted(state, action):
        worlds.append(len(state))
        return transition(state, action)

    monkeypatch.setattr(env.simulator, "transition", counted)
    model = hybrid(env, n_samples=8)
    model.learn(30)
    assert sum(worlds) == model.num_simulator_steps == 30 * 8
