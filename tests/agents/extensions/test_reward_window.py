"""Rewards normalised by a rolling window."""

import numpy as np
import pytest
import torch

from rl_tracking import HybridGRPO
from rl_tracking.agents.extensions.reward_window import RewardWindow
from rl_tracking.errors import UsageError
from tests.agents.toys import LineVecEnv, hybrid, one_line


def rewards(steps, mean, deviation, seed):
    return mean + deviation * torch.randn(steps, 3, 4, generator=torch.Generator().manual_seed(seed))


def test_the_window_follows_a_shift():
    window = RewardWindow(10)
    calm, wild = rewards(10, 0.0, 1.0, 0), rewards(10, 100.0, 5.0, 1)
    window.observe(calm)
    first = window(wild)
    assert float(first.mean()) > 50
    window.observe(wild[:5])
    mixed = torch.cat([calm[5:], wild[:5]]).double().numpy()
    mean, deviation = window.mean_and_deviation()
    assert float(mean) == pytest.approx(mixed.mean(), rel=1e-9)
    assert float(deviation) == pytest.approx(mixed.std(), rel=1e-9)
    window.observe(wild[5:])
    settled = window(wild)
    assert float(settled.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(settled.std(correction=0)) == pytest.approx(1.0, rel=1e-4)


def test_paths_count_every_step_of_theirs():
    """``[R, h, N, E]``: R h steps."""
    window, reward = RewardWindow(100), torch.randn(2, 3, 4, 5)
    window.observe(reward)
    assert int((~window.moments[:, 0].isnan()).sum()) == 6
    mean, deviation = window.mean_and_deviation()
    assert float(mean) == pytest.approx(float(reward.mean()), abs=1e-6)
    assert float(deviation) == pytest.approx(float(reward.std(correction=0)), rel=1e-6)


def test_an_empty_window_changes_nothing_and_equal_rewards_become_0():
    window, reward = RewardWindow(4), torch.full((2, 3, 4), 7.0)
    assert torch.equal(window(reward), reward)
    window.observe(reward)
    assert torch.equal(window(reward), torch.zeros_like(reward))


def test_rewards_that_differ_by_rounding_are_equal():
    window, reward = RewardWindow(4), torch.full((2, 3, 4), 7.1)
    reward[0, 0, 0] = torch.nextafter(reward[0, 0, 0], torch.tensor(torch.inf))
    window.observe(reward)
    assert torch.equal(window(reward), torch.zeros_like(reward))


def test_a_rollout_is_normalised_by_a_window_that_holds_it():
    """The first one too: its advantages are those of its own moments, as it is observed before it is estimated."""
    env = LineVecEnv(4, reward=lambda place, push: 1000.0 + 10 * place)
    model = hybrid(env, reward_window=6, reward_activation="identity", normalize_advantage=False)
    batches, epochs = [], model._update
    model._update = lambda batch: batches.append(batch) or epochs(batch)
    model.learn(24)
    raw, value = model.rollout.reward, model.rollout.value.unsqueeze(1)
    normalised = (raw - raw.mean()) / raw.std(correction=0)
    ends = 1.0 - model.rollout.terminated.float()
    expected = normalised + 0.99 * ends * model.rollout.next_value - value
    torch.testing.assert_close(batches[0].advantage, expected.transpose(0, 1).flatten(1), rtol=1e-3, atol=1e-3)


def test_it_comes_before_scale_and_activation():
    env = LineVecEnv(4, reward=lambda place, push: 1000.0 + 10 * place)
    model = hybrid(env, reward_window=6, reward_scale=0.5, reward_activation="tanh")
    model.learn(24)
    raw = model.rollout.reward
    expected = torch.tanh(0.5 * (raw - raw.mean()) / raw.std(correction=0))
    torch.testing.assert_close(model.estimate(model.rollout).reward, expected, rtol=1e-3, atol=1e-4)
    # To estimate twice is to see the same: only a rollout moves the window.
    assert torch.equal(model.estimate(model.rollout).reward, model.estimate(model.rollout).reward)


def test_it_is_saved_with_the_model(tmp_path):
    model = hybrid(LineVecEnv(4), reward_window=20)
    model.learn(48)
    model.save(tmp_path / "m.zip")
    again = HybridGRPO.load(tmp_path / "m.zip", env=model.env)
    np.testing.assert_array_equal(again.reward_normalizer.moments, model.reward_normalizer.moments)
    again.learn(24, reset_num_timesteps=False)


def test_a_policy_learns_whatever_the_scale():
    """The same decisions follow from rewards a million times as large."""

    def learned(scale):
        env = LineVecEnv(8, edge=-1.0, reward=lambda place, push: scale * (3.0 - (push - 0.4) ** 2))
        model = hybrid(env, reward_window=50, n_steps=8, batch_size=64, learning_rate=1e-2, n_samples=8)
        return model.learn(2_000).predict(np.zeros((1, 2), np.float32), deterministic=True)[0].item()

    assert learned(1.0) == pytest.approx(0.4, abs=0.15)
    assert learned(1e6) == pytest.approx(learned(1.0), abs=0.05)


@pytest.mark.parametrize("wrong", [-1, 2.5, "long"])
def test_another_window_is_refused(wrong):
    with pytest.raises(UsageError) as caught:
        hybrid(reward_window=wrong)
    assert "reward_window" in one_line(caught)
