"""Policies that override SB3's methods are used as these say, in collection, branches and update, as PPO uses them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import nn

from rl_tracking import GRPO, HybridGRPO
from rl_tracking.agents.collect.distributions import acts_by_own_methods, values_by_own_method
from rl_tracking.errors import UsageError
from tests.agents.toys import PLAIN, SMALL, LineVecEnv, PartsVecEnv, one_line, plain_arguments

WORLDS, STEPS = 4, 12


class Forward(ActorCriticPolicy):
    """Goes the other way, and says that this was less likely."""

    def forward(self, obs, deterministic=False):
        actions, values, log_prob = super().forward(obs, deterministic)
        return -actions, values, log_prob - 0.25


class Evaluate(ActorCriticPolicy):
    """Is updated otherwise than it acts."""

    def evaluate_actions(self, obs, actions):
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return 0.5 * values - 1.0, log_prob * 1.1, 3.0 * entropy


class Values(ActorCriticPolicy):
    """Has values of its own."""

    def forward(self, obs, deterministic=False):
        actions, values, log_prob = super().forward(obs, deterministic)
        return actions, 2.0 * values + 1.0, log_prob

    def evaluate_actions(self, obs, actions):
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return 2.0 * values + 1.0, log_prob, entropy

    def predict_values(self, obs):
        return 2.0 * super().predict_values(obs) + 1.0


class All(Forward, Values):
    """Both."""


class Parts(MultiInputActorCriticPolicy):
    """Reads a Dict."""

    def forward(self, obs, deterministic=False):
        actions, values, log_prob = super().forward(obs, deterministic)
        return 0.5 * actions, values + obs["place"], log_prob

    def evaluate_actions(self, obs, actions):
        values, log_prob, entropy = super().evaluate_actions(obs, 2.0 * actions)
        return values + obs["place"], log_prob, entropy

    def predict_values(self, obs):
        return super().predict_values(obs) + obs["place"]


class Prediction(ActorCriticPolicy):
    """Is predicted with otherwise than it is trained with; PPO does not ask this in training."""

    def get_distribution(self, obs):
        return super().get_distribution(obs + 100.0)


def line(space=None, kind=LineVecEnv):
    return kind(WORLDS, space, limit=4, edge=1.5)


def trained(kind, policy, env, **arguments):
    """Parameters after one rollout, learned from twice as a whole."""
    values = {"n_steps": STEPS, "batch_size": STEPS * WORLDS, "n_epochs": 2, "seed": 3, "device": "cpu"}
    values |= {"ent_coef": 0.01, "gae_lambda": 0.8, "gamma": 0.9, "policy_kwargs": SMALL}
    model = kind(policy, env, **{**plain_arguments(kind), **values, **arguments}).learn(STEPS * WORLDS)
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


SPACES = {
    "a line": None,
    "a square": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    "discrete": spaces.Discrete(3),
    "several": spaces.MultiDiscrete([2, 3]),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("policy", [Forward, Evaluate, Values, All, Prediction])
def test_one_sample_learns_what_ppo_learns(policy, name):
    if name in ("discrete", "several") and policy in (Forward, All):
        return  # no action lies opposite
    space = SPACES[name]
    one = {"n_samples": 1, "reward_activation": "identity"}
    theirs = trained(PPO, policy, line(space))
    mine = trained(HybridGRPO, policy, line(space), **one)
    for parameter in theirs:
        torch.testing.assert_close(mine[parameter], theirs[parameter], rtol=1e-4, atol=1e-6)
    if policy is not Prediction:
        plain = trained(PPO, "MlpPolicy", line(space))
        assert max(float((plain[p] - theirs[p]).abs().max()) for p in theirs) > 1e-4


class OnlyPredictValues(ActorCriticPolicy):
    """Values states otherwise than its networks do."""

    def predict_values(self, obs):
        return super().predict_values(obs) + 1000.0


@pytest.mark.parametrize("horizon", [1, 3])
def test_states_have_the_values_that_predict_values_says(horizon):
    values = {"n_steps": 6, "batch_size": 24, "n_samples": 3, "device": "cpu", "horizon": horizon, "n_epochs": 1}
    model = HybridGRPO(OnlyPredictValues, line(), **PLAIN, policy_kwargs=SMALL, **values).learn(24)
    assert bool((model.rollout.next_value > 900.0).all())
    assert bool((model.rollout.value > 900.0).all())


def test_a_dict_is_passed_as_it_is():
    one = {"n_samples": 1, "reward_activation": "identity"}
    theirs = trained(PPO, Parts, line(kind=PartsVecEnv))
    mine = trained(HybridGRPO, Parts, line(kind=PartsVecEnv), **one)
    for parameter in theirs:
        torch.testing.assert_close(mine[parameter], theirs[parameter], rtol=1e-4, atol=1e-6)


class Stubborn(ActorCriticPolicy):
    """Acts by chance around one learned number, whatever its networks say."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.own = nn.Parameter(torch.zeros(()))
        self.optimizer.add_param_group({"params": [self.own]})
        self.calls = []

    def distribution(self):
        return torch.distributions.Normal(self.own, 0.1)

    def forward(self, obs, deterministic=False):
        self.calls.append("forward")
        actions = 0.5 + self.distribution().sample((len(obs), 1))
        return actions, torch.full((len(obs), 1), 7.0), self.distribution().log_prob(actions - 0.5).sum(1)

    def evaluate_actions(self, obs, actions):
        self.calls.append("evaluate_actions")
        assert len(obs) == len(actions)
        log_prob = self.distribution().log_prob(actions - 0.5).sum(1)
        return torch.full((len(obs), 1), 7.0), log_prob, torch.ones(len(obs))

    def predict_values(self, obs):
        self.calls.append("predict_values")
        return torch.full((len(obs), 1), 7.0)

    def get_distribution(self, obs):
        raise AssertionError("this policy has no distribution of its own")

    extract_features = get_distribution


WAYS = {
    "one step": (HybridGRPO, {}),
    "horizon": (HybridGRPO, {"horizon": 3, "baseline": "leave-one-out"}),
    "literal": (HybridGRPO, {"horizon": 3, "advantage": "literal"}),
    "grpo": (GRPO, {"horizon": 3}),
    "whole episodes against a reference": (GRPO, {"horizon": 0, "kl_coef": 0.1, "reuse": 1}),
}


@pytest.mark.parametrize("way", WAYS)
def test_branches_and_update_go_through_its_methods_alone(way):
    kind, arguments = WAYS[way]
    env = LineVecEnv(WORLDS, limit=5, edge=50.0, reward=lambda place, push: push)
    values = {"n_steps": STEPS, "batch_size": 16, "n_epochs": 2, "seed": 3, "device": "cpu", "n_samples": 4}
    model = kind(
        Stubborn, env, **{**plain_arguments(kind), "policy_kwargs": SMALL, "learning_rate": 1e-2, **values, **arguments}
    )
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    model.learn(2 * STEPS * WORLDS)
    rollout = model.rollout
    assert float((rollout.action - 0.5).abs().max()) < 1.0
    expected = torch.distributions.Normal(0.0, 0.1)
    if kind is HybridGRPO:
        assert float(rollout.value.unique()) == float(rollout.next_value.unique()) == 7.0
        assert "predict_values" in model.policy.calls
    assert {"forward", "evaluate_actions"} <= set(model.policy.calls)
    after = model.policy.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"own"}
    if way != "literal":  # its advantage tells the samples of a group not apart
        assert float(after["own"]) > 0.0  # larger pushes pay
    assert float(rollout.log_prob.max()) < float(expected.log_prob(torch.zeros(()))) + 1e-4


class Named(ActorCriticPolicy):
    """Draws numbers whose log-probabilities name them."""

    def forward(self, obs, deterministic=False):
        actions, values, _ = super().forward(obs, deterministic)
        return actions, values, 100.0 + actions.flatten()


@pytest.mark.parametrize("horizon", [1, 3])
def test_guided_sampling_keeps_what_forward_said_of_each_candidate(horizon):
    for noise in ({}, {"use_sde": True}):
        env = LineVecEnv(WORLDS, limit=5, edge=50.0)
        values = {"n_steps": 6, "batch_size": 24, "n_samples": 3, "n_candidates": 6, "device": "cpu", "n_epochs": 1}
        model = HybridGRPO(Named, env, **PLAIN, policy_kwargs=SMALL, horizon=horizon, **values, **noise)
        model.learn(24)
        torch.testing.assert_close(model.rollout.log_prob, 100.0 + model.rollout.action[..., 0])


def test_which_policies_have_methods_of_their_own():
    def policy_of(kind):
        return PPO(kind, line(), device="cpu", policy_kwargs=SMALL).policy

    for kind in ("MlpPolicy", type("Renamed", (ActorCriticPolicy,), {})):
        assert not acts_by_own_methods(policy_of(kind))
        assert not values_by_own_method(policy_of(kind))
    assert all(acts_by_own_methods(policy_of(kind)) for kind in (Forward, Evaluate, Values, Prediction))
    assert not acts_by_own_methods(policy_of(OnlyPredictValues))
    assert values_by_own_method(policy_of(OnlyPredictValues))
    assert values_by_own_method(policy_of(Values))
    policy = policy_of("MlpPolicy")
    policy.forward = lambda obs, deterministic=False: ActorCriticPolicy.forward(policy, obs, deterministic)
    assert acts_by_own_methods(policy)


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_a_policy_with_a_memory_is_refused_in_one_line(kind):
    with pytest.raises(UsageError, match="RecurrentActorCriticPolicy cannot be used with branches") as caught:
        kind(RecurrentActorCriticPolicy, line(), device="cpu")
    one_line(caught)
