"""The entropy's weight: adapted to a target, saved with the model, and out of the way where it is fixed."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl_tracking import HybridGRPO
from rl_tracking.agents.extensions.temperature import AdaptiveTemperature, initial_of, target_of
from rl_tracking.agents.grpo import GRPO
from rl_tracking.errors import UsageError
from tests.agents.toys import LineVecEnv, hybrid, logged, one_line


def bandit(**arguments):
    """A world of one step whose best push is 0.4, so that the policy by itself becomes ever more certain."""
    env = LineVecEnv(16, edge=-1.0, reward=lambda place, push: -((push - 0.4) ** 2))
    values = {"n_steps": 8, "batch_size": 64, "n_epochs": 4, "learning_rate": 1e-2, "reward_activation": "identity"}
    return hybrid(env, **values, **arguments)


def entropy(model):
    return float(model.policy.get_distribution(torch.zeros(1, 2)).entropy().detach())


def test_the_entropy_settles_at_its_target():
    target = 0.5
    free = bandit(n_samples=4).learn(10_000)
    held = bandit(n_samples=4, ent_coef="auto", target_entropy=target, temperature_learning_rate=3e-2).learn(10_000)
    assert entropy(free) < target - 0.5
    assert entropy(held) == pytest.approx(target, abs=0.15)
    # It took a weight that the policy could not do without.
    assert float(held.temperature.coefficient) > 0.02


@pytest.mark.parametrize(("entropy", "rises"), [(0.0, True), (2.0, False)])
def test_it_rises_below_the_target_and_falls_above(entropy, rises):
    temperature = AdaptiveTemperature(0.1, target=1.0, learning_rate=0.01)
    figures = temperature.adapt(torch.tensor(entropy))
    # The learning rate times a gap of 1 nat stays; 4 times the gap comes on top, for as long as it is open.
    sign = 1 if rises else -1
    assert float(figures["ent_coef"]) == pytest.approx(0.1 * math.exp(4.01 * sign), rel=1e-5)
    temperature.target = 0.5
    assert float(temperature.adapt(torch.tensor(0.5))["ent_coef"]) == pytest.approx(0.1 * math.exp(0.01 * sign))


def test_its_gradient_does_not_reach_the_policy():
    temperature = AdaptiveTemperature(0.1, target=1.0, learning_rate=0.01)
    entropy = torch.tensor(0.5, requires_grad=True)
    temperature.adapt(entropy)
    assert entropy.grad is None
    assert not temperature.coefficient.requires_grad


def test_it_is_logged_saved_and_goes_on(tmp_path):
    model = bandit(ent_coef="auto_0.2")
    figures = logged(model, 512)[-1]
    assert figures["train/ent_coef"] == pytest.approx(float(model.temperature.coefficient), rel=0.5)
    model.save(tmp_path / "m.zip")
    again = HybridGRPO.load(tmp_path / "m.zip", env=model.env)
    assert float(again.temperature.coefficient) == float(model.temperature.coefficient) != pytest.approx(0.2, rel=1e-4)
    assert float(again.temperature.gap) == float(model.temperature.gap) != 0
    again.learn(256, reset_num_timesteps=False)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (spaces.Box(-1, 1, (3,), np.float32), -3.0),
        (spaces.Discrete(4), 0.5 * math.log(4)),
        (spaces.MultiDiscrete([2, 3]), 0.5 * math.log(6)),
        (spaces.MultiBinary(5), 2.5 * math.log(2)),
    ],
)
def test_automatic_targets(space, expected):
    assert target_of("auto", space) == pytest.approx(expected)
    assert target_of(1.25, space) == 1.25


def test_initial_values():
    assert initial_of(0.3) is None
    assert initial_of("auto") == 0.01
    assert initial_of("auto_0.5") == 0.5


@pytest.mark.parametrize("wrong", ["automatic", "auto_", "auto_x", "auto_-1", "auto_inf", None])
def test_another_ent_coef_is_refused(wrong):
    with pytest.raises(UsageError) as caught:
        bandit(ent_coef=wrong)
    assert "'auto'" in one_line(caught)


@pytest.mark.parametrize("wrong", ["high", math.nan, True])
def test_another_target_is_refused(wrong):
    with pytest.raises(UsageError) as caught:
        bandit(ent_coef="auto", target_entropy=wrong)
    assert "target_entropy" in one_line(caught)


UNREACHABLE = [
    (spaces.Box(-1, 1, (3,), np.float32), False, 3 * (0.5 * math.log(2 * math.pi * math.e) + math.log(2))),
    (spaces.Box(np.float32([[-1], [0]]), np.float32([[1], [4]])), True, 2 * math.log(2)),
    (spaces.Discrete(4), False, math.log(4)),
    (spaces.MultiDiscrete([2, 3]), False, math.log(6)),
    (spaces.MultiBinary(5), False, 5 * math.log(2)),
]


@pytest.mark.parametrize(("space", "squashed", "greatest"), UNREACHABLE)
def test_a_target_that_no_policy_reaches_is_refused(space, squashed, greatest):
    assert target_of(greatest - 1e-9, space, squashed=squashed) == greatest - 1e-9
    for target in (greatest + 1e-6, 30.0, 1e300):
        with pytest.raises(UsageError, match="target_entropy must be at most") as caught:
            target_of(target, space, squashed=squashed)
        assert f"{greatest:.4g} nat" in one_line(caught)


def test_the_algorithm_refuses_it_too():
    for squash in (False, True):
        policy = {"net_arch": [16], "squash_output": squash}
        with pytest.raises(UsageError, match="target_entropy must be at most"):
            bandit(ent_coef="auto", target_entropy=30, use_sde=squash, policy_kwargs=policy)


def test_a_target_far_away_neither_overflows_nor_winds_up():
    temperature = AdaptiveTemperature(0.01, target=30.0, learning_rate=0.01)
    for _ in range(2000):
        figures = temperature.adapt(torch.tensor(-300.0))
        assert 0 < float(figures["ent_coef"]) <= 100.0 + 1e-3
    for _ in range(250):  # 1 nat above the target for so long takes the bound of 100 down by as many times 0.01
        figures = temperature.adapt(torch.tensor(31.0))
    assert float(figures["ent_coef"]) == pytest.approx(100.0 * math.exp(-2.5 - 4.0), rel=1e-3)
    for _ in range(2000):
        temperature.adapt(torch.tensor(300.0))
    for _ in range(250):
        figures = temperature.adapt(torch.tensor(29.0))
    assert float(figures["ent_coef"]) == pytest.approx(1e-8 * math.exp(2.5 + 4.0), rel=1e-3)


def test_an_algorithm_that_lacks_it_says_so():
    with pytest.raises(UsageError) as caught:
        GRPO("MlpPolicy", LineVecEnv(2), ent_coef="auto")
    assert "ent_coef of GRPO must be a finite number, not 'auto'" in one_line(caught)
