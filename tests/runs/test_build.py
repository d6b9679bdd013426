"""Where training runs: refused where it cannot, and nothing comes back to the cpu where it can."""

import dataclasses

import pytest
import torch

from rl_tracking import make_vec
from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import check_device


def test_the_cpu_can_be_used():
    check_device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_cannot_be_used_is_refused_in_one_line(device):
    with pytest.raises(UsageError, match=f"^device '{device}' cannot be used here, try 'cpu': .+$") as refused:
        check_device(device)
    assert "\n" not in str(refused.value)


@pytest.mark.gpu
@pytest.mark.parametrize("horizon", [1, 4])
def test_worlds_rollout_and_parameters_stay_on_the_card(horizon):
    env = make_vec("pursuit", 16, seed=0, device="cuda")
    values = {"n_steps": 8, "batch_size": 64, "n_epochs": 2, "n_samples": 4, "horizon": horizon, "seed": 0}
    model = HybridGRPO("MlpPolicy", env, recipe="paper", device="cuda", **values)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(2 * 16 * 8)
    held = {
        **{f"world's {name}": tensor for name, tensor in env.get_state().tensors().items()},
        **{f"rollout's {name}": tensor for name, tensor in vars(model.rollout).items()},
        **{f"estimate's {name}": tensor for name, tensor in _tensors(model.estimate(model.rollout)).items()},
        **dict(model.policy.named_parameters()),
    }
    assert {name for name, tensor in held.items() if tensor.device.type != "cuda"} == set()
    assert all(torch.isfinite(parameter).all() for parameter in model.policy.parameters())
    assert any(not old.equal(new) for old, new in zip(before, model.policy.parameters(), strict=True))


def _tensors(value):
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}
