"""Worlds that are not on the CPU: what is done there is the same, and stays there. A CPU stands for the GPU here."""

import pytest
import torch

from rl_tracking.agents.grpo import GRPO
from rl_tracking.envs.vec_env import TrackingVecEnv
from tests.agents.toys import SMALL, hybrid, plain_arguments, tracking


@pytest.fixture
def off_cpu(monkeypatch):
    def on(value):
        monkeypatch.setattr(TrackingVecEnv, "off_cpu", property(lambda env: value))

    return on


def model_of(name):
    env = tracking(5, wind_speed=2.0, capture_terminates=True, spawn="near", capture_radius=3.0)
    if name == "grpo":
        arguments = {"n_steps": 12, "batch_size": 60, "n_samples": 3, "horizon": 3, "policy_kwargs": SMALL}
        return GRPO("MlpPolicy", env, **{**plain_arguments(GRPO), "seed": 0, "device": "cpu", **arguments})
    return hybrid(env, n_steps=12, horizon=3 if name == "horizon" else 1)


NAMES = ("one step", "horizon", "grpo")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_is_learned(name, off_cpu):
    learned = []
    for value in (False, True):
        off_cpu(value)
        model = model_of(name).learn(300)
        assert isinstance(model._last_obs, torch.Tensor) == value
        learned.append((model.rollout, [parameter.detach().clone() for parameter in model.policy.parameters()]))
    (rollout, parameters), (other, others) = learned
    assert bool(rollout.episode_end.any())
    for field in ("observation", "action", "reward", "episode_end", "terminated"):
        assert torch.equal(getattr(rollout, field), getattr(other, field)), field
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(parameters, others, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_ends_are_read_at_a_step(name, off_cpu, monkeypatch):
    off_cpu(True)
    env = tracking(5, max_steps=400)
    model = model_of(name)
    model.set_env(env)
    model.learn(60)
    read, made = [], []
    numpy, as_tensor = torch.Tensor.numpy, torch.as_tensor
    monkeypatch.setattr(torch.Tensor, "numpy", lambda tensor, **kw: read.append(tensor.dtype) or numpy(tensor, **kw))
    monkeypatch.setattr(torch, "as_tensor", lambda *a, **kw: made.append(1) or as_tensor(*a, **kw))
    model.train = lambda: None
    model.learn(60, reset_num_timesteps=False)
    # One look at which worlds ended for each of the 12 steps.
    assert read == [torch.bool] * 12
    assert made == []
