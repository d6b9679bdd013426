"""A branch sees through SB3's wrappers what its action then leads to through them, and they stay as they were."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from rl_tracking import HybridGRPO, load_policy, make_vec
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.agents.collect.branching import Brancher
from rl_tracking.agents.grpo import GRPO
from rl_tracking.errors import UsageError
from tests.agents import wrapper_toys
from tests.agents.toys import (
    PLAIN,
    LineVecEnv,
    PartsVecEnv,
    PictureVecEnv,
    ScenesVecEnv,
    one_line,
    plain_arguments,
    tracking,
)
from tests.agents.wrapper_toys import Scaled, Squared
from tests.helpers import random_actions

N, WORLDS = 3, 4


def line(**values):
    return LineVecEnv(WORLDS, limit=3, edge=0.7, **values)


def frames_of_places():
    return ScenesVecEnv(WORLDS, limit=3, edge=0.7)


WRAPPED = {
    "nothing": line,
    "monitor": lambda: VecCheckNan(VecMonitor(line())),
    "normalised": lambda: VecNormalize(line(), gamma=0.9),
    "frames": lambda: VecFrameStack(line(), 3),
    "frames, one": lambda: VecFrameStack(line(), 1),
    "normalised frames": lambda: VecNormalize(VecFrameStack(line(), 3)),
    "frames of normalised": lambda: VecFrameStack(VecNormalize(line()), 2),
    "frames of frames": lambda: VecFrameStack(VecMonitor(VecFrameStack(line(), 2)), 3),
    "image": lambda: VecTransposeImage(PictureVecEnv(WORLDS, limit=3, edge=0.7)),
    "frames of images": lambda: VecFrameStack(VecTransposeImage(PictureVecEnv(WORLDS, limit=3, edge=0.7)), 4),
    "images of frames": lambda: VecTransposeImage(VecFrameStack(PictureVecEnv(WORLDS, limit=3, edge=0.7), 4)),
    "dict": lambda: PartsVecEnv(WORLDS, limit=3, edge=0.7),
    "normalised dict": lambda: VecNormalize(PartsVecEnv(WORLDS, limit=3, edge=0.7), norm_obs_keys=["place"]),
    "dict of image": lambda: VecTransposeImage(frames_of_places()),
    "everything": lambda: VecMonitor(
        VecNormalize(VecTransposeImage(VecFrameStack(frames_of_places(), 2)), norm_obs_keys=["place"])
    ),
    "part of a dict": lambda: VecExtractDictObs(frames_of_places(), "place"),
    "frames of a part": lambda: VecFrameStack(VecExtractDictObs(frames_of_places(), "place"), 2),
    "own": lambda: Scaled(line()),
    "own around own": lambda: Squared(Scaled(line())),
    "own of normalised": lambda: Scaled(VecNormalize(line())),
    "frames of own": lambda: VecFrameStack(Squared(line()), 3),
    "native, own": lambda: Scaled(tracking(WORLDS, max_steps=3)),
    "native": lambda: tracking(WORLDS, max_steps=3),
    "native, normalised": lambda: VecNormalize(tracking(WORLDS, max_steps=3)),
    "native, frames": lambda: VecFrameStack(tracking(WORLDS, max_steps=3), 3),
    "native, normalised frames": lambda: VecNormalize(VecFrameStack(tracking(WORLDS, max_steps=3), 2)),
    "gymnasium, frames": lambda: VecNormalize(
        VecFrameStack(RestorableGymVecEnv("Pendulum-v1", WORLDS, seed=0, max_episode_steps=3), 4)
    ),
}


def leaves(observation):
    return observation if isinstance(observation, dict) else {"": observation}


def assert_same(mine, theirs):
    mine, theirs = leaves(mine), leaves(theirs)
    assert set(mine) == set(theirs)
    for key in mine:
        a, b = np.asarray(mine[key]), np.asarray(theirs[key])
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert a.tobytes() == np.ascontiguousarray(b).tobytes()


def reached_by(step):
    """Observations of the states reached, a terminal one in place of the next episode's."""
    observation, _, done, infos = step
    reached = {key: np.array(part) for key, part in leaves(observation).items()}
    for world in np.flatnonzero(done):
        for key, part in leaves(infos[world]["terminal_observation"]).items():
            reached[key][world] = part
    return reached if isinstance(observation, dict) else reached[""]


def memory(env):
    """Everything the wrappers remember."""
    found = []
    while hasattr(env, "venv"):
        for name in ("obs_rms", "ret_rms", "returns", "stacked_obs", "episode_returns", "episode_lengths"):
            found.append(copy.deepcopy(getattr(env, name, None)))
        env = env.venv
    return repr([plain(part) for part in found]) + str(env.get_state().to_bytes())


def plain(part):
    if isinstance(part, np.ndarray):
        return part.tobytes(), part.shape
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items()}
    if isinstance(part, gym.Space):
        return repr(part)  # its generator is in the state of the env
    return {key: plain(value) for key, value in vars(part).items()} if hasattr(part, "__dict__") else part


def settled(name):
    """The env a few steps on, with moments that normalise and that executed steps no longer move."""
    env = WRAPPED[name]()
    env.reset()
    for action in random_actions(env, 4, seed=9):
        env.step(action)
    layer = env
    while hasattr(layer, "venv"):
        if isinstance(layer, VecNormalize):
            layer.training = False
        layer = layer.venv
    return env


@pytest.mark.parametrize("name", WRAPPED)
def test_branch_0_is_what_is_then_executed_through_the_wrappers(name):
    env = settled(name)
    brancher, ended = Brancher(env, N, "common"), 0
    for seed in range(6):
        actions = torch.from_numpy(random_actions(env, N, seed=seed))
        before = memory(env)
        outcome = brancher.step(actions)
        assert memory(env) == before
        step = env.step(actions[0].numpy())
        branch = {key: part[0] for key, part in leaves(outcome.observation).items()}
        assert_same(branch if isinstance(outcome.observation, dict) else branch[""], reached_by(step))
        assert outcome.reward[0].numpy().tobytes() == step[1].tobytes()
        assert (outcome.terminated | outcome.truncated)[0].tolist() == step[2].tolist()
        ended += int(step[2].sum())
    assert ended > WORLDS


@pytest.mark.parametrize("name", WRAPPED)
def test_a_path_is_what_is_then_executed_through_the_wrappers(name):
    env = settled(name)
    brancher = Brancher(env, N, "common")
    before = memory(env)
    actions = torch.from_numpy(random_actions(env, 7 * N, seed=1)).unflatten(0, (7, N))
    brancher.start_paths()
    seen = [brancher.advance_paths(action) for action in actions]
    assert memory(env) == before
    valid = np.ones(WORLDS, dtype=bool)  # worlds in their first episode: the next one draws its own start
    for action, (outcome, following) in zip(actions, seen, strict=True):
        step = env.step(action[0].numpy())
        for mine, theirs in ((outcome.observation, reached_by(step)), (following, step[0])):
            alive_ones = valid if theirs is not step[0] else valid & ~step[2]
            assert_same(
                {key: part[0][torch.from_numpy(alive_ones)] for key, part in leaves(mine).items()},
                {key: np.asarray(part)[alive_ones] for key, part in leaves(theirs).items()},
            )
        assert outcome.reward[0].numpy()[valid].tobytes() == step[1][valid].tobytes()
        valid &= ~step[2]


@pytest.mark.parametrize("name", ["normalised", "normalised dict", "normalised frames", "everything"])
def test_branches_do_not_move_moments_that_are_still_learned(name):
    env = WRAPPED[name]()
    env.reset()
    before = memory(env)
    brancher = Brancher(env, N, "common")
    for seed in range(5):
        brancher.step(torch.from_numpy(random_actions(env, N, seed=seed)))
    assert memory(env) == before


def test_each_branch_has_frames_of_its_own():
    env = VecFrameStack(line(), 3)
    env.reset()
    brancher = Brancher(env, 2, "common")
    brancher.start_paths()
    pushes = torch.tensor([0.1, -0.2]).view(2, 1, 1).expand(2, WORLDS, 1)
    for _ in range(2):
        outcome, _ = brancher.advance_paths(pushes)
    places = outcome.observation[..., ::2]
    torch.testing.assert_close(places.diff(dim=-1), pushes.expand(2, WORLDS, 2))


# -- training ---------------------------------------------------------------------------------------------------------


SEEN = {
    "MultiInputPolicy": PartsVecEnv,
    "MultiInputPolicy, image": ScenesVecEnv,
    "CnnPolicy": PictureVecEnv,
    "CnnPolicy, frames": lambda worlds: VecFrameStack(PictureVecEnv(worlds), 2),
    "MlpPolicy, frames": lambda worlds: VecFrameStack(make_vec("pursuit", worlds, seed=0, max_steps=5), 2),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_it_trains_on_what_ppo_trains_on(name, horizon, kind, tmp_path):
    values = {"n_steps": 6, "batch_size": 12, "n_epochs": 1, "device": "cpu", "seed": 0}
    ppo = PPO(name.split(",")[0], SEEN[name](2), **values)
    model = kind(name.split(",")[0], SEEN[name](2), n_samples=2, horizon=horizon, **values)
    assert model.observation_space == ppo.observation_space
    assert isinstance(model.env, VecTransposeImage) == isinstance(ppo.env, VecTransposeImage)
    assert str(model.policy) == str(ppo.policy)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(12)
    after = list(model.policy.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for key, part in leaves(model.rollout.observation).items():
        space = model.observation_space[key] if key else model.observation_space
        assert part.numpy().dtype == space.dtype  # images stay bytes
    model.save(tmp_path / "x.zip")
    again = kind.load(tmp_path / "x.zip", env=SEEN[name](2))
    again.learn(12, reset_num_timesteps=False)
    assert again.num_timesteps == 24


def test_a_dict_keeps_its_moments_in_the_checkpoint(tmp_path):
    env = VecNormalize(PartsVecEnv(3), norm_obs_keys=["place"], clip_obs=2.0)
    model = HybridGRPO("MultiInputPolicy", env, **PLAIN, n_steps=6, batch_size=18, device="cpu", seed=0).learn(36)
    model.save(tmp_path / "x.zip")
    policy = load_policy(tmp_path / "x.zip")
    seen = {"place": np.linspace(-2.0, 2.0, 9, dtype=np.float32)[:, None], "step": np.arange(9) % 4}
    expected, _ = model.predict(env.normalize_obs(seen), deterministic=True)
    np.testing.assert_allclose(policy.predict(seen, deterministic=True)[0], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - model.predict(seen, deterministic=True)[0]).max() > 1e-3


# -- wrappers of the user's own ---------------------------------------------------------------------------------------

REFUSED = {
    wrapper_toys.Counting: "it keeps state from step to step",
    wrapper_toys.Summing: "it keeps state from step to step",
    wrapper_toys.Noisy: "it shows the same step differently the second time",
    wrapper_toys.Comparing: "what it shows of one world depends on others",
    wrapper_toys.Acting: "it overrides step_async, so it may change actions",
    wrapper_toys.Ending: "it changes where episodes end",
    wrapper_toys.Curious: "it looks for 'bonus' in an info of a branch",
    wrapper_toys.Asking: "it fails on 4 rows: it asks the environment for more than a step",
    wrapper_toys.Failing: "it fails on 4 rows",
    wrapper_toys.OwnNormalizer: "it fails on 4 rows",
}


@pytest.mark.parametrize("wrapper", REFUSED)
@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_a_wrapper_that_does_more_is_refused_in_one_line(kind, wrapper):
    env = wrapper(LineVecEnv(3))
    before = repr([plain(part) for name, part in vars(env).items() if name not in ("venv", "class_attributes")])
    with pytest.raises(UsageError, match=f"the wrapper {wrapper.__name__} cannot be forked: ") as caught:
        kind("MlpPolicy", env, device="cpu")
    assert REFUSED[wrapper] in one_line(caught)
    # Trying it left it as it was.
    assert before == repr([plain(part) for name, part in vars(env).items() if name not in ("venv", "class_attributes")])


def test_state_that_shows_up_late_stops_the_run_by_name():
    env = wrapper_toys.Late(LineVecEnv(2, limit=3, edge=99.0, reward=lambda place, push: 1000.0 * place))
    model = HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=6, batch_size=12, n_samples=2, device="cpu")
    with pytest.raises(UsageError, match="the wrapper Late cannot be forked: it keeps state") as caught:
        model.learn(600)
    one_line(caught)


def test_what_the_user_sets_in_a_wrapper_counts_for_branches_too():
    env = Scaled(LineVecEnv(2, edge=99.0))
    model = HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=4, batch_size=8, n_samples=2, device="cpu").learn(8)
    env.unit = 100.0
    model.learn(8, reset_num_timesteps=False)
    assert bool((model.rollout.reward < -90.0).all())
    rewards = model.rollout.reward[:, 0]
    assert rewards.dtype == torch.float32


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_user_wrappers_are_trained_under_as_by_ppo(kind):
    seen = {}
    for algorithm in (kind, PPO):
        env = Scaled(Squared(LineVecEnv(2, limit=3, edge=99.0)))
        values = {"n_steps": 6, "batch_size": 12, "device": "cpu", "seed": 0}
        extra = {HybridGRPO: {"n_samples": 2}, GRPO: {"n_samples": 2, "horizon": 3}}.get(algorithm, {})
        model = algorithm("MlpPolicy", env, **{**plain_arguments(algorithm), **values, **extra})
        assert model.learn(24).num_timesteps == 24
        seen[algorithm] = model.env.reset()
    np.testing.assert_array_equal(seen[kind], seen[PPO])
