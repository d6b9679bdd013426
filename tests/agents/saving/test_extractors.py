"""The attention network over a history of records."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from rl_tracking import make_vec
from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.agents.saving.extractors import MHA, sinusoidal_positions
from rl_tracking.errors import UsageError
from tests.agents.toys import plain_arguments

SMALL = {"steps": 6, "width": 8, "heads": 2, "feed_forward": 16, "layers": 1}


def box(size):
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


def test_positions_by_hand():
    positions = sinusoidal_positions(3, 4)
    assert positions[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    expected = torch.tensor([2.0, 2.0, 0.02, 0.02])
    torch.testing.assert_close(positions[2], torch.stack([expected.sin(), expected.cos()])[[0, 1, 0, 1], [0, 1, 2, 3]])


def test_every_step_keeps_its_width():
    extractor = MHA(box(54), **SMALL)
    assert extractor.features_dim == 48
    assert extractor(torch.rand(5, 54)).shape == (5, 48)


def test_the_order_of_the_steps_matters():
    extractor = MHA(box(54), **SMALL)
    history = torch.rand(1, 6, 9)
    forward, backward = extractor(history.flatten(1)), extractor(history.flip(1).flatten(1))
    assert not torch.allclose(forward.view(6, 8), backward.view(6, 8).flip(0), atol=1e-3)


def test_every_step_sees_every_other():
    extractor = MHA(box(54), **SMALL)
    history = torch.rand(1, 54, requires_grad=True)
    (of_last,) = torch.autograd.grad(extractor(history)[0, -8:].pow(2).sum(), history)
    assert (of_last.view(6, 9).abs().sum(1) > 0).all()


def test_the_same_in_training_and_in_use():
    extractor = MHA(box(54), **SMALL)
    history = torch.rand(3, 54)
    torch.testing.assert_close(extractor.train()(history), extractor.eval()(history))


@pytest.mark.parametrize(
    ("size", "changes", "match"),
    [
        (54, {"steps": 5}, "a history of 5 steps"),
        (54, {"width": 9}, "even and a multiple of its 2 heads, not 9"),
        (54, {"width": 8, "heads": 3}, "even and a multiple of its 3 heads, not 8"),
    ],
)
def test_what_does_not_fit_is_refused(size, changes, match):
    with pytest.raises(UsageError, match=match):
        MHA(box(size), **{**SMALL, **changes})


@pytest.mark.parametrize("algorithm", [HybridGRPO, PPO])
def test_an_algorithm_trains_it(algorithm):
    network = {"features_extractor_class": MHA, "features_extractor_kwargs": SMALL}
    env = make_vec("pursuit", 4, seed=0, preset="sandbox")
    model = algorithm(
        "MlpPolicy",
        env,
        **plain_arguments(algorithm),
        n_steps=4,
        batch_size=16,
        policy_kwargs=network,
        device="cpu",
        seed=0,
    )
    before = {name: value.clone() for name, value in model.policy.features_extractor.named_parameters()}
    model.learn(16)
    moved = [
        name for name, value in model.policy.features_extractor.named_parameters() if not value.equal(before[name])
    ]
    assert moved
    assert set(moved) == set(before)
