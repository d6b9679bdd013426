"""Actions of any shape reach the environment as Stable-Baselines3's PPO would hand them over, or are refused."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from rl_tracking import GRPO, REINFORCE, HybridGRPO
from rl_tracking.agents.collect.branching import ExecutableActions
from rl_tracking.agents.collect.checks import check_action_space
from rl_tracking.agents.extensions import seams
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import UsageError
from rl_tracking.runs import settings, train
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import GymnasiumTask
from tests.agents.toys import PLAIN, SMALL, LineVecEnv, one_line, plain_arguments

WORLDS, STEPS = 2, 6


def box(shape, dtype=np.float32):
    """Every element has bounds of its own, most of them narrower than the policy's first deviation."""
    size = int(np.prod(shape))
    low = np.linspace(-0.5, 0.25, size).reshape(shape).astype(dtype)
    return spaces.Box(low, (low + np.linspace(0.75, 0.5, size).reshape(shape)).astype(dtype), shape, dtype)


BOXES = {
    "a number": box(()),
    "a row": box((1, 3)),
    "a square": box((2, 2)),
    "a column": box((3, 1)),
    "one axis": box((2,)),
    "double precision": box((2, 2), np.float64),
}
COUNTABLE = {
    "discrete": spaces.Discrete(3),
    "several": spaces.MultiDiscrete([2, 4, 3]),
    "one of several": spaces.MultiDiscrete([3]),
    "bits": spaces.MultiBinary(3),
    "one bit": spaces.MultiBinary(1),
}


class RecordingVecEnv(LineVecEnv):
    """Keeps every batch of actions that it or a sibling of it is given."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.given = self.given_to_branches = []

    def spawn(self, num_envs):
        sibling = RecordingVecEnv(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)
        self.given_to_branches = sibling.given
        return sibling

    def step_async(self, actions):
        self.given.append(np.array(actions))
        super().step_async(actions)


def recorded(kind, space, steps=STEPS * WORLDS, **arguments):
    """What a short training hands to the environment and to its branches."""
    env = RecordingVecEnv(WORLDS, space, limit=4, edge=50.0)
    values = {
        **plain_arguments(kind),
        "n_steps": STEPS,
        "seed": 3,
        "device": "cpu",
        "policy_kwargs": SMALL,
        **arguments,
    }
    if kind is not REINFORCE:
        values |= {"batch_size": STEPS * WORLDS, "n_epochs": 1}
    kind("MlpPolicy", env, **values).learn(steps)
    return env.given, env.given_to_branches


ALGORITHMS = {
    "hybrid": (HybridGRPO, {"n_samples": 3}),
    "hybrid, horizon": (HybridGRPO, {"n_samples": 3, "horizon": 3}),
    "hybrid, guided": (HybridGRPO, {"n_samples": 3, "n_candidates": 5}),
    "hybrid, guided, horizon": (HybridGRPO, {"n_samples": 3, "n_candidates": 5, "horizon": 3}),
    "grpo": (GRPO, {"n_samples": 3, "horizon": 3}),
    "grpo with a reference": (GRPO, {"n_samples": 3, "horizon": 3, "kl_coef": 0.1, "reuse": 1}),
    "reinforce": (REINFORCE, {}),
}
SQUASHED = {"use_sde": True, "policy_kwargs": {**SMALL, "squash_output": True}}
NOISE = {"gaussian": {}, "state-dependent": {"use_sde": True}, "state-dependent, squashed": SQUASHED}


@pytest.mark.parametrize("name", [*BOXES, *COUNTABLE])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_actions_have_the_shape_the_bounds_and_the_kind_of_ppos(algorithm, name):
    space = {**BOXES, **COUNTABLE}[name]
    kind, arguments = ALGORITHMS[algorithm]
    executed, in_branches = recorded(kind, space, 2 * STEPS * WORLDS, **arguments)
    theirs = recorded(PPO, space)[0][0]
    assert len(executed) == 2 * STEPS
    assert {batch.dtype for batch in (*executed, *in_branches)} == {theirs.dtype}
    assert {batch.shape for batch in executed} == {theirs.shape} == {(WORLDS, *space.shape)}
    assert all(batch.shape[1:] == space.shape for batch in in_branches)
    for action in np.concatenate([*executed, *in_branches]):
        assert space.contains(np.asarray(action, space.dtype))
    assert kind is REINFORCE or len(in_branches) > 0


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("algorithm", ["hybrid", "hybrid, horizon", "hybrid, guided, horizon", "grpo"])
def test_state_dependent_noise_stays_in_bounds_and_in_shape(algorithm, name):
    space = BOXES[name]
    kind, arguments = ALGORITHMS[algorithm]
    for noise in ({"use_sde": True}, SQUASHED):
        executed, in_branches = recorded(kind, space, **arguments, **noise)
        for action in np.concatenate([*executed, *in_branches]):
            assert space.contains(np.asarray(action, space.dtype))


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("name", [*BOXES, *COUNTABLE])
def test_one_sample_hands_over_what_ppo_does_from_the_same_seed(monkeypatch, name, noise):
    space = {**BOXES, **COUNTABLE}[name]
    if NOISE[noise] and name in COUNTABLE:
        return
    monkeypatch.setattr(seams, "sample_group", lambda distribution, n: distribution.sample().unsqueeze(0))
    theirs, _ = recorded(PPO, space, **NOISE[noise])
    mine, _ = recorded(HybridGRPO, space, n_samples=1, **NOISE[noise])
    assert len(mine) == len(theirs) == STEPS
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_every_element_is_clipped_to_its_own_bounds():
    space = spaces.Box(np.array([[-1.0], [0.0], [2.0]], np.float32), np.array([[1.0], [0.5], [3.0]], np.float32))
    within = ExecutableActions(space, squashed=False, device=torch.device("cpu"))
    far = torch.tensor([[[-9.0, -9.0, -9.0]], [[9.0, 9.0, 9.0]], [[0.5, 0.25, 2.5]]])
    assert within(far).tolist() == [
        [[[-1.0], [0.0], [2.0]]],
        [[[1.0], [0.5], [3.0]]],
        [[[0.5], [0.25], [2.5]]],
    ]
    unscaled = ExecutableActions(space, squashed=True, device=torch.device("cpu"))
    assert unscaled(torch.tensor([[-1.0, 0.0, 1.0]])).tolist() == [[[-1.0], [0.25], [3.0]]]


REFUSED = {
    "starts at 1": (spaces.Discrete(3, start=1), "start at 1"),
    "starts below 0": (spaces.Discrete(3, start=-1), "start at -1"),
    "several that start at 1": (spaces.MultiDiscrete([2, 3], start=[0, 1]), r"start at \[0, 1\]"),
    "a table": (spaces.MultiDiscrete([[2, 3], [3, 2]]), r"shape \(2, 2\)"),
    "a table of bits": (spaces.MultiBinary([2, 2]), r"shape \(2, 2\)"),
    "a tuple": (spaces.Tuple([spaces.Discrete(2)]), "Tuple are not supported"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_spaces_are_refused_in_one_line(name):
    space, said = REFUSED[name]
    with pytest.raises(UsageError, match=said) as caught:
        check_action_space(space)
    one_line(caught)


class FromOne(gym.Env):
    """Takes 1, 2 and 3."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
        self.action_space = spaces.Discrete(3, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert int(action) in (1, 2, 3)
        self.place += int(action) - 2
        return np.array([self.place], np.float32), -abs(self.place), abs(self.place) > 5, False, {}


@pytest.fixture(scope="module", autouse=True)
def registered():
    gym.register("FromOne-v0", FromOne, max_episode_steps=10)
    yield
    del gym.registry["FromOne-v0"]


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO, REINFORCE])
def test_actions_that_start_at_1_are_refused_by_the_algorithms(kind):
    with pytest.raises(UsageError, match="start at 1") as caught:
        kind("MlpPolicy", make_vec_env("FromOne-v0", 1), device="cpu")
    one_line(caught)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo", "trpo", "reinforce"])
def test_actions_that_start_at_1_are_refused_in_training(algo):
    with pytest.raises(UsageError, match="start at 1") as caught:
        train.build(settings.resolve(given={"algo": algo, "env": "FromOne-v0"}))
    one_line(caught)


def test_actions_that_start_at_1_are_refused_where_a_policy_is_flown(tmp_path):
    model = PPO("MlpPolicy", make_vec_env("FromOne-v0", 1), device="cpu")
    with pytest.raises(UsageError, match="start at 1"):
        evaluate(model, 1)
    checkpoint.save(model, tmp_path / "ppo.zip")
    with pytest.raises(UsageError, match="start at 1"):
        checkpoint.load_policy(tmp_path / "ppo.zip")
    model.save(tmp_path / "plain-sb3.zip")
    with pytest.raises(UsageError, match="start at 1"):
        evaluate(tmp_path / "plain-sb3.zip", 1, task=GymnasiumTask("FromOne-v0"), trust=True)
    assert evaluate("random", 1, task=GymnasiumTask("FromOne-v0"))["policy"] == "random"


def test_the_wrapper_that_is_proposed_makes_it_learnable():
    def shifted():
        return gym.wrappers.TransformAction(FromOne(), lambda action: action + 1, spaces.Discrete(3))

    env = make_vec_env(shifted, 2)
    model = HybridGRPO(
        "MlpPolicy", env, **PLAIN, n_steps=8, batch_size=8, n_samples=2, policy_kwargs=SMALL, device="cpu"
    )
    assert model.learn(16).num_timesteps == 16
