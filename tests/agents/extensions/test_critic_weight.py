"""The weight of the critic in the advantages."""

from types import SimpleNamespace

import pytest
import torch
from stable_baselines3 import PPO

from rl_tracking import HybridGRPO
from rl_tracking.agents.extensions.critic_weight import ExplainedCriticWeight
from rl_tracking.agents.extensions.seams import FullCriticWeight
from rl_tracking.agents.maths import estimators
from rl_tracking.errors import UsageError
from tests.agents.toys import hybrid, logged, one_line, tracking

PATHS = {"horizon": 3, "n_steps": 6}


def rolled_out(**arguments):
    """A model with a rollout that it has not learned from."""
    model = hybrid(tracking(max_steps=9), reward_activation="identity", gamma=0.9, **arguments)
    train, model.train = model.train, lambda: None
    model.learn(1)
    model.train = train
    return model


def weight_of(share):
    return ExplainedCriticWeight(share)


def observe(weight, value, target):
    """Show a weight values and targets of some roots."""
    weight.observe(SimpleNamespace(root_values=lambda estimate: (value, target)), None)


def test_shrinking_by_hand():
    v = torch.tensor([1.0, 3.0, 8.0])
    assert estimators.shrink(v, v.mean(), 0.25).tolist() == [3.25, 3.75, 5.0]
    assert torch.equal(estimators.shrink(v, v.mean(), 1.0), v)
    assert estimators.shrink(v, v.mean(), 0.0).tolist() == [4.0, 4.0, 4.0]


def test_the_share_follows_what_was_explained():
    weight, target = ExplainedCriticWeight(), torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    assert weight.share == 0.0
    observe(weight, target + 5.0, target)  # a constant error leaves the variance explained
    assert weight.share == pytest.approx(0.5)
    observe(weight, target, target)
    assert weight.share == pytest.approx(0.75)
    observe(weight, -target, target)  # worse than nothing counts as nothing
    assert weight.share == pytest.approx(0.375)
    observe(weight, torch.full((1, 4), 3.0), target)
    assert weight.share == pytest.approx(0.1875)


def test_a_return_that_does_not_vary_is_explained_by_nothing():
    weight = weight_of(0.8)
    observe(weight, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 3.0]]))
    assert weight.share == pytest.approx(0.4)


@pytest.mark.parametrize("arguments", [{}, PATHS])
def test_the_full_weight_is_a_share_of_one(arguments):
    model = rolled_out(**arguments)
    assert isinstance(model.critic_weight, FullCriticWeight)
    plain = model.estimate(model.rollout)
    model.critic_weight = weight_of(1.0)
    shrunk = model.estimate(model.rollout)
    torch.testing.assert_close(shrunk.advantage, plain.advantage)
    torch.testing.assert_close(shrunk.value_target, plain.value_target)


@pytest.mark.parametrize("arguments", [{"n_steps": 6}, PATHS])
def test_with_a_share_of_0_rewards_alone_decide(arguments):
    """The preference among the N actions of a root is then that of their discounted rewards, as in GRPO."""
    model = rolled_out(baseline="group-mean", **arguments)
    model.critic_weight = weight_of(0.0)
    estimate, rollout = model.estimate(model.rollout), model.rollout
    if arguments is PATHS:
        assert rollout.valid.all()
        discount = (0.9 ** torch.arange(3.0)).view(1, 3, 1, 1)
        returns, advantage = (rollout.reward * discount).sum(dim=1), estimate.advantage[:, 0]
    else:
        returns, advantage = rollout.reward, estimate.advantage
    wanted = returns - returns.mean(dim=1, keepdim=True)
    torch.testing.assert_close(advantage, wanted, rtol=1e-4, atol=1e-5)
    assert float(wanted.abs().max()) > 1e-3


def test_targets_and_values_of_the_update_are_not_shrunk_values():
    """What the critic learns is compared with its own values, as clip_range_vf needs."""
    model = rolled_out(**PATHS)
    model.critic_weight = weight_of(0.0)
    batch = model.rollout.batch(model.estimate(model.rollout))
    assert torch.equal(batch.value.sort().values, model.rollout.value.flatten().sort().values)


def test_training_learns_the_share_and_logs_it():
    model = hybrid(tracking(), critic_trust="explained", **PATHS)
    assert isinstance(model.critic_weight, ExplainedCriticWeight)
    figures = logged(model, 48)[-1]
    assert figures["train/critic_trust"] == pytest.approx(model.critic_weight.share)
    assert 0.0 <= model.critic_weight.share <= 1.0


@pytest.mark.parametrize("arguments", [{"n_steps": 6}, PATHS])
def test_a_rollout_is_estimated_with_the_share_of_earlier_ones(arguments):
    """Else the weight would depend on the very actions whose advantages it scales."""
    model = hybrid(tracking(max_steps=9), critic_trust="explained", normalize_advantage=False, **arguments)
    model.critic_weight.share = share = 0.8
    epochs, shares = model._update, []

    def compared(batch):
        """The batch of the update is that of an estimate with the share before this rollout."""
        nonlocal share
        after, model.critic_weight.share = model.critic_weight.share, share
        expected = model.rollout.batch(model.estimate(model.rollout))
        model.critic_weight.share = after
        torch.testing.assert_close(batch.advantage, expected.advantage, rtol=0, atol=0)
        return epochs(batch)

    model._update = compared
    for _ in range(3):
        model.learn(24)
        shares.append(model.critic_weight.share)
        assert abs(model.critic_weight.share - share) > 0.05
        share = model.critic_weight.share
    assert len(shares) == 3


def test_the_share_is_saved_with_the_model(tmp_path):
    model = hybrid(tracking(), critic_trust="explained", **PATHS)
    model.critic_weight.share = 1.0
    model.learn(24)
    assert 0.0 < model.critic_weight.share < 1.0
    model.save(tmp_path / "model.zip")
    loaded = HybridGRPO.load(tmp_path / "model.zip", tracking())
    assert loaded.critic_trust == "explained"
    assert loaded.critic_weight.share == model.critic_weight.share
    # Nothing that PPO does not know is saved beside the policy.
    assert PPO.load(tmp_path / "model.zip").predict(model.observation_space.sample()[None].repeat(4, axis=0))[
        0
    ].shape == (4, 3)


def test_an_unknown_critic_trust_is_named():
    with pytest.raises(UsageError) as caught:
        hybrid(tracking(), critic_trust="blind")
    one_line(caught)
    assert "blind" in str(caught.value)
    assert "explained" in str(caught.value)
