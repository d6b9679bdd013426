"""Epochs of the critic alone, and Hybrid GRPO without a critic."""

import pytest
import torch
from stable_baselines3 import PPO

from rl_tracking import HybridGRPO
from rl_tracking.agents.extensions.critic_training import CriticEpochs, value_parameters
from rl_tracking.agents.extensions.seams import NoCriticTraining
from tests.agents.toys import LineVecEnv, PictureVecEnv, hybrid, logged, tracking

PATHS = {"horizon": 3, "n_steps": 6}


def changed(model, epochs=4):
    """Names of the parameters that epochs of the critic alone have changed."""
    model.learn(1)
    before = {name: parameter.detach().clone() for name, parameter in model.policy.named_parameters()}
    batch = model.rollout.batch(model.estimate(model.rollout))
    figures = CriticEpochs(epochs)(model.policy, batch, model.batch_size, model._step)
    assert figures["critic_loss"] > 0
    return {name for name, now in model.policy.named_parameters() if not torch.equal(now, before[name])}


@pytest.mark.parametrize("arguments", [{}, PATHS])
def test_only_the_value_network_learns(arguments):
    names = changed(hybrid(**arguments))
    assert names == {
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.0.bias",
        "value_net.weight",
        "value_net.bias",
    }


@pytest.mark.parametrize("shared", [True, False])
def test_a_features_extractor_that_the_policy_uses_is_left_as_it_is(shared):
    kwargs = {"net_arch": [8], "share_features_extractor": shared, "features_extractor_kwargs": {"features_dim": 8}}
    env = PictureVecEnv(2)
    model = HybridGRPO("CnnPolicy", env, recipe="paper", n_steps=2, batch_size=4, policy_kwargs=kwargs, device="cpu")
    names = changed(model)
    assert {name.split(".")[0] for name in names} == {"mlp_extractor", "value_net"} | (
        set() if shared else {"vf_features_extractor"}
    )
    assert not any("policy_net" in name for name in names)


def test_the_critic_comes_nearer_to_its_targets():
    model = hybrid(learning_rate=1e-2)
    model.learn(1)
    batch = model.rollout.batch(model.estimate(model.rollout))
    before, after = (CriticEpochs(n)(model.policy, batch, 1000, model._step)["critic_loss"] for n in (30, 1))
    assert after < 0.5 * before
    assert len(value_parameters(model.policy)) == 4


def test_epochs_are_made_before_the_shared_ones_and_logged():
    assert isinstance(hybrid().critic_training, NoCriticTraining)
    model = hybrid(critic_epochs=3)
    order = []
    own, shared = model.critic_training, model._update
    model.critic_training = lambda *given: order.append("own") or own(*given)
    model._update = lambda batch: order.append("shared") or shared(batch)
    assert logged(model, 48)[-1]["train/critic_loss"] > 0
    assert order[:2] == ["own", "shared"]


def test_ppo_reads_what_a_calibrated_critic_saved(tmp_path):
    model = hybrid(critic_epochs=2, critic_trust="calibrated", **PATHS).learn(24)
    model.save(tmp_path / "model.zip")
    PPO.load(tmp_path / "model.zip", device="cpu")
    loaded = HybridGRPO.load(tmp_path / "model.zip", tracking())
    assert loaded.critic_weight.evidence == model.critic_weight.evidence
    assert loaded.critic_weight.share == model.critic_weight.share


@pytest.mark.parametrize("horizon", [1, 3])
def test_without_a_critic_rewards_alone_count_and_no_value_is_learned(horizon):
    model = hybrid(LineVecEnv(4, limit=6), critic_trust="none", critic_epochs=3, horizon=horizon, baseline="group-mean")
    before = {name: part.detach().clone() for name, part in model.policy.named_parameters() if "value_net" in name}
    figures = logged(model, 48)[-1]
    assert not {"train/value_loss", "train/critic_loss"} & set(figures)
    now = dict(model.policy.named_parameters())
    assert all(torch.equal(now[name], part) for name, part in before.items())
    assert isinstance(model.critic_training, NoCriticTraining)
    assert not model.rollout.value.any()
    assert not model.rollout.next_value.any()
    assert float(model.estimate(model.rollout).advantage.abs().max()) > 0
