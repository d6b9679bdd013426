import math

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.agents.maths import activations
from rl_tracking.errors import UsageError
from tests.agents.toys import one_line

NAMES = ("tanh", "identity", "clip", "sigmoid", "symlog", "z-score", "tanh-z-score")
BOUNDED = {"tanh": (-1, 1), "clip": (-1, 1), "sigmoid": (0, 1), "tanh-z-score": (-1, 1)}


def rewards(*values):
    """``[T, N, E]`` with one step of one world."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1)


def activated(name, *values, scale=1.0):
    return activations.resolve(name, scale)(rewards(*values)).flatten().tolist()


def test_every_activation_is_tested_here():
    assert set(NAMES) == {name for name, home in plugins.names("activation").items() if home == "built-in"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", [math.tanh(-2), 0, math.tanh(0.5)]),
        ("identity", [-2, 0, 0.5]),
        ("clip", [-1, 0, 0.5]),
        ("sigmoid", [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-0.5))]),
        ("symlog", [-math.log(3), 0, math.log(1.5)]),
    ],
)
def test_values_by_hand(name, expected):
    assert activated(name, -2, 0, 0.5) == pytest.approx(expected, rel=1e-12)


def test_z_score_by_hand():
    # Mean 3, deviation 2 over the whole rollout.
    assert activated("z-score", 1, 1, 5, 5) == pytest.approx([-1, -1, 1, 1], rel=1e-7)
    assert activated("tanh-z-score", 1, 1, 5, 5) == pytest.approx([-math.tanh(1)] * 2 + [math.tanh(1)] * 2, rel=1e-7)


def test_z_score_uses_all_steps_branches_and_worlds():
    reward = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 7 + 100
    scored = activations.z_score(reward)
    assert float(scored.mean()) == pytest.approx(0, abs=1e-9)
    assert float(scored.std(correction=0)) == pytest.approx(1, rel=1e-6)
    assert float(scored[0].mean()) != pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", ["z-score", "tanh-z-score"])
def test_rewards_that_do_not_vary_have_a_score_of_zero(name):
    assert activated(name, 4, 4, 4) == [0, 0, 0]
    assert activated(name, 0) == [0]


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_for_huge_rewards(name):
    low, high = BOUNDED[name]
    values = activated(name, -1e30, -1e6, 0, 1e6, 1e30)
    assert all(low <= value <= high for value in values)
    if name != "tanh-z-score":
        assert (values[0], values[-1]) == (low, high)


def test_symlog_grows_with_the_logarithm():
    assert activated("symlog", 1e30, -1e30) == pytest.approx([30 * math.log(10), -30 * math.log(10)])


@pytest.mark.parametrize("name", NAMES)
def test_order_shape_and_input_are_kept(name):
    reward = torch.linspace(-3, 3, 24, dtype=torch.float64).view(2, 3, 4)
    before = reward.clone()
    value = activations.resolve(name, 1.0)(reward)
    assert value.shape == reward.shape
    assert torch.equal(reward, before)
    assert bool((value.flatten().diff() >= 0).all())


@pytest.mark.parametrize("name", ["tanh", "identity", "symlog", "clip"])
def test_odd_and_linear_near_zero(name):
    assert activated(name, 1e-6, -1e-6) == pytest.approx([1e-6, -1e-6], rel=1e-5)


def test_the_scale_multiplies_the_reward_first():
    assert activated("tanh", 500, -2000, scale=1e-3) == pytest.approx([math.tanh(0.5), math.tanh(-2)])
    assert activated("identity", 3, scale=0.5) == [1.5]


def test_a_function_serves_as_an_activation():
    assert activations.resolve(lambda reward: reward**2, 2.0)(rewards(1, -3)).flatten().tolist() == [4, 36]


def test_a_file_serves_as_an_activation(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def halved(reward):\n    return reward / 2\n")
    assert activated(f"{source}:halved", 1, -3) == [0.5, -1.5]
    assert activated("torch:relu", 1, -3) == [1, 0]


def test_a_misspelt_name_is_suggested():
    with pytest.raises(UsageError, match="unknown activation 'tahn'; did you mean 'tanh'") as caught:
        activations.resolve("tahn", 1.0)
    one_line(caught)


def raises(reward):
    raise RuntimeError("no\ngood")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda reward: reward.mean(dim=1), r"'<lambda>' turned shape \[1, 2, 1\] into \[1, 1\]; keep it"),
        (lambda reward: 1.0, r"turned shape \[1, 2, 1\] into float"),
        (lambda reward: reward / 0.0, "returned a number that is not finite"),
        (torch.log, "returned a number that is not finite"),
        (raises, "'raises' raised RuntimeError: no good"),
    ],
)
def test_bad_functions_are_refused_in_one_line(function, text):
    with pytest.raises(UsageError, match=text) as caught:
        activations.resolve(function, 1.0)(rewards(0.0, -1.0))
    one_line(caught)
