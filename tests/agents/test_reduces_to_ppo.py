"""With one sample, no activation and no scale, Hybrid GRPO is Stable-Baselines3's PPO: both run, and are compared."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from rl_tracking import HybridGRPO
from rl_tracking.agents.extensions import seams
from tests.agents.toys import PLAIN, SMALL, LineVecEnv, PartsVecEnv, SeenLineVecEnv, tracking

WORLDS, STEPS = 4, 13


class PlaceVecEnv(SeenLineVecEnv):
    """A Dict whose parts can be stacked."""

    space = spaces.Dict({name: spaces.Box(-10.0, 10.0, (1,), np.float32) for name in ("place", "step")})

    def show(self, observation):
        return {"place": observation[:, :1], "step": observation[:, 1:]}


ENVS = {
    "time limit": lambda: tracking(WORLDS, max_steps=5),
    "capture terminates": lambda: tracking(WORLDS, capture_terminates=True, spawn="near", capture_radius=5.0),
    "no end in sight": lambda: tracking(WORLDS, max_steps=400),
    "by hand": lambda: LineVecEnv(WORLDS, limit=4, edge=1.0),
    "categorical": lambda: LineVecEnv(WORLDS, spaces.Discrete(3), limit=4, edge=1.0),
    "dict": lambda: PartsVecEnv(WORLDS, limit=4, edge=1.0),
    "frames of a normalised dict": lambda: VecFrameStack(
        VecNormalize(PlaceVecEnv(WORLDS, limit=4, edge=1.0), training=False), 2
    ),
}


NOISE = {
    "state-dependent": {"use_sde": True},
    "state-dependent, often": {"use_sde": True, "sde_sample_freq": 3},
    "state-dependent, squashed": {"use_sde": True, "policy_kwargs": {**SMALL, "squash_output": True}},
}


@pytest.fixture
def same_draws(monkeypatch):
    """Draw the one sample as Stable-Baselines3 does, so that both meet the same numbers."""

    def sample(distribution, n):
        assert n == 1
        return distribution.sample().unsqueeze(0)

    monkeypatch.setattr(seams, "sample_group", sample)


def pair(make, **arguments):
    """Both algorithms with the same weights on the same worlds."""
    values = {
        "n_steps": STEPS,
        "batch_size": WORLDS * STEPS,
        "n_epochs": 1,
        "gamma": 0.9,
        "gae_lambda": 0.8,
        "seed": 3,
        "device": "cpu",
        "policy_kwargs": SMALL,
        **arguments,
    }
    policy = "MultiInputPolicy" if isinstance(make().observation_space, spaces.Dict) else "MlpPolicy"
    ppo = PPO(policy, make(), **values)
    hybrid = HybridGRPO(policy, make(), **PLAIN, n_samples=1, reward_activation="identity", **values)
    for mine, theirs in zip(hybrid.policy.parameters(), ppo.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    return ppo, hybrid


def collected(make, **arguments):
    """Both, after one rollout and before its update."""
    models = pair(make, **arguments)
    for model in models:
        update = model.train
        model.train = lambda: None
        # The random stream of the constructor's seed, whatever the other model has drawn since.
        torch.manual_seed(11)
        model.learn(WORLDS * STEPS)
        model.train = update
    return models


def close(value, expected, tolerance=1e-6):
    torch.testing.assert_close(value, torch.as_tensor(expected), rtol=1e-5, atol=tolerance)


def assert_same_rollout(ppo, hybrid):
    """Also what each makes of it; returns that of the second."""
    buffer, rollout = ppo.rollout_buffer, hybrid.rollout
    if isinstance(rollout.observation, dict):
        for key, part in rollout.observation.items():
            close(part, buffer.observations[key].reshape(part.shape))
    else:
        close(rollout.observation, buffer.observations)
    close(rollout.action[:, 0].reshape(buffer.actions.shape).float(), torch.as_tensor(buffer.actions).float())
    close(rollout.log_prob[:, 0], buffer.log_probs)
    close(rollout.value, buffer.values)
    estimate = hybrid.estimate(rollout)
    close(estimate.advantage[:, 0], buffer.advantages)
    close(estimate.value_target, buffer.returns)
    return rollout


@pytest.mark.parametrize("name", ENVS)
def test_same_rollout_same_advantages_same_returns(name, same_draws):
    rollout = assert_same_rollout(*collected(ENVS[name]))
    assert bool(rollout.episode_end.any()) == (name != "no end in sight")
    if name == "capture terminates":
        assert bool(rollout.terminated.any())
        assert bool((rollout.episode_end & ~rollout.terminated[:, 0]).any())


@pytest.mark.parametrize("name", NOISE)
def test_same_rollout_with_state_dependent_exploration(name):
    # Not with SB3's own draws: one matrix a world comes to the same.
    assert_same_rollout(*collected(ENVS["by hand"], **NOISE[name]))


def gradients(model):
    """The gradients that the update hands to its optimizer, and the parameters after its step."""
    seen, step = [], model.policy.optimizer.step

    def watched(*args, **kwargs):
        seen.append([parameter.grad.clone() for parameter in model.policy.parameters()])
        return step(*args, **kwargs)

    model.policy.optimizer.step = watched
    model.train()
    return seen, [parameter.detach().clone() for parameter in model.policy.parameters()]


ARGUMENTS = {
    "plain": {},
    "entropy": {"ent_coef": 0.05},
    "clipped values": {"clip_range_vf": 0.05},
    "advantages as they are": {"normalize_advantage": False},
    "gradient not clipped": {"max_grad_norm": 100.0, "vf_coef": 0.7},
    "epochs": {"n_epochs": 4, "learning_rate": 3e-3, "clip_range": 0.05},
}
UPDATES = {
    **{name: ("time limit", arguments) for name, arguments in ARGUMENTS.items()},
    "dict": ("dict", {"n_epochs": 2}),
    **{name: ("by hand", {"n_epochs": 2, **arguments}) for name, arguments in NOISE.items()},
}


@pytest.mark.parametrize("name", UPDATES)
def test_same_gradients_and_same_parameters_after_the_update(name, same_draws):
    env, arguments = UPDATES[name]
    ppo, hybrid = collected(ENVS[env], **arguments)
    # Away from the policy that sampled, so that ratios differ from 1 and some are clipped.
    torch.manual_seed(5)
    for mine, theirs in zip(hybrid.policy.parameters(), ppo.policy.parameters(), strict=True):
        noise = 0.1 * torch.randn_like(mine)
        mine.data.add_(noise)
        theirs.data.add_(noise)
    theirs, theirs_after = gradients(ppo)
    mine, mine_after = gradients(hybrid)
    assert len(mine) == len(theirs) == arguments.get("n_epochs", 1)
    assert max(float(gradient.abs().max()) for gradient in theirs[0]) > 1e-3
    for a, b in zip(mine[0], theirs[0], strict=True):
        close(a, b)
    for a, b in zip(mine_after, theirs_after, strict=True):
        # Adam divides by the size of the gradient, so rounding of tiny ones shows.
        close(a, b, tolerance=1e-4)
    for figure in ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction", "explained_variance"):
        key = f"train/{figure}"
        assert hybrid.logger.name_to_value[key] == pytest.approx(ppo.logger.name_to_value[key], rel=1e-3, abs=1e-5)
    assert hybrid.logger.name_to_value["train/clip_fraction"] > 0


def test_target_kl_stops_both_at_the_same_update(same_draws):
    ppo, hybrid = collected(ENVS["time limit"], n_epochs=50, learning_rate=5e-3, target_kl=0.01)
    theirs, _ = gradients(ppo)
    mine, _ = gradients(hybrid)
    assert 0 < len(mine) == len(theirs) < 50
    assert hybrid._n_updates == ppo._n_updates
