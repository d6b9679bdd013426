"""N actions from one evaluation of the policy network, for the action distributions of Stable-Baselines3.

The distribution's parameters are computed once a state, ``[E, ...]``; samples and their log-probabilities have a
leading axis N and broadcast against them.
"""

from __future__ import annotations

import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.errors import UsageError


def evaluate_states(policy: ActorCriticPolicy, observation: Tensor) -> tuple[Distribution, Tensor]:
    """Distribution and value of each state, from one pass through the networks.

    Args:
        policy: an SB3 actor-critic policy.
        observation: ``[E, ...]``.

    Returns:
        The distribution of E states, and V ``[E]``.
    """
    features = policy.extract_features(observation)
    if policy.share_features_extractor:
        latent_pi, latent_vf = policy.mlp_extractor(features)
    else:
        latent_pi = policy.mlp_extractor.forward_actor(features[0])
        latent_vf = policy.mlp_extractor.forward_critic(features[1])
    distribution = policy._get_action_dist_from_latent(latent_pi)
    return distribution, policy.value_net(latent_vf).flatten()


def sample_group(distribution: Distribution, n: int) -> Tensor:
    """``n`` independent actions a state, ``[n, E, ...]``."""
    if isinstance(distribution, SquashedDiagGaussianDistribution):
        return torch.tanh(distribution.distribution.sample((n,)))
    if isinstance(distribution, MultiCategoricalDistribution):
        return torch.stack([part.sample((n,)) for part in distribution.distribution], dim=-1)
    _check_supported(distribution)
    sample: Tensor = distribution.distribution.sample((n,))  # type: ignore[union-attr]
    return sample


def group_log_prob(distribution: Distribution, actions: Tensor) -> Tensor:
    """Log-probability of actions ``[N, E, ...]`` of E states, ``[N, E]``."""
    if isinstance(distribution, SquashedDiagGaussianDistribution):
        eps = torch.finfo(actions.dtype).eps
        gaussian = torch.atanh(actions.clamp(-1.0 + eps, 1.0 - eps))
        log_prob: Tensor = distribution.distribution.log_prob(gaussian).sum(dim=-1)
        return log_prob - torch.log(1.0 - actions**2 + distribution.epsilon).sum(dim=-1)
    if isinstance(distribution, MultiCategoricalDistribution):
        parts = zip(distribution.distribution, actions.unbind(dim=-1), strict=True)
        return torch.stack([part.log_prob(action) for part, action in parts], dim=-1).sum(dim=-1)
    _check_supported(distribution)
    each: Tensor = distribution.distribution.log_prob(actions)  # type: ignore[union-attr]
    return each if isinstance(distribution, CategoricalDistribution) else each.sum(dim=-1)


def _check_supported(distribution: Distribution) -> None:
    if not isinstance(distribution, DiagGaussianDistribution | CategoricalDistribution | BernoulliDistribution):
        raise UsageError(
            f"{type(distribution).__name__} cannot be sampled in groups; use use_sde=False or another policy"
        )
