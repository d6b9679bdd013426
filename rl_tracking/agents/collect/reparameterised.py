"""Actions as functions of the Gaussian that they were drawn from, so that a gradient runs through them."""

from __future__ import annotations

from typing import NamedTuple

from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import distributions
from rl_tracking.errors import UsageError


class Reparameterised(NamedTuple):
    """Actions as functions of the mean of the Gaussian that they were drawn from, the noise held fixed.

    Attributes:
        action: the same numbers, with the gradient of ``mu(s) + sigma eps``, through the squashing where there is one.
        draw: 0, with the gradient of the mean; what the gradient of a return is taken with respect to ``[N, E, A]``.
        offset: of the draws from the mean, ``g - mu``.
        score: gradient of the log-probability with respect to the mean, ``(g - mu) / sigma^2``.
    """

    action: Tensor
    draw: Tensor
    offset: Tensor
    score: Tensor


def reparameterised(distribution: Distribution, action: Tensor) -> Reparameterised:
    """Actions ``[N, E, A]`` that were drawn from a Gaussian of E states, or of N E, with their gradient.

    sigma is taken as a constant: in SB3 it depends on no state unless gSDE is used.
    """
    normal = distribution.distribution
    mean = normal.loc if normal.loc.shape[0] == action.shape[1] else normal.loc.view_as(action)  # type: ignore[union-attr]
    scale = normal.scale.detach().view_as(mean)  # type: ignore[union-attr]
    # Exactly 0, so that the actions keep their bits.
    draw = (mean - mean.detach()).expand_as(action)
    offset = distributions.gaussian_of(distribution, action) - mean.detach()
    squashed = isinstance(distribution, SquashedDiagGaussianDistribution)
    moved = (1.0 - action.square()) * draw if squashed else draw
    return Reparameterised(action + moved, draw, offset, offset / scale.square())


def require_gaussian(policy: ActorCriticPolicy, what: str) -> None:
    """Refuse a policy whose actions are no re-parameterised draws of a Gaussian.

    Raises:
        UsageError: it has methods of its own, or explores by gSDE; ``what`` needs such draws.
    """
    if distributions.acts_by_own_methods(policy):
        raise UsageError(
            f"{what} needs a policy that samples by SB3's own methods; gradient 'score' of hybrid-grpo does not"
        )
    found = policy.action_dist
    if isinstance(found, StateDependentNoiseDistribution) or not isinstance(found, DiagGaussianDistribution):
        raise UsageError(
            f"{what} needs actions drawn from a Gaussian without use_sde; gradient 'score' of hybrid-grpo does not"
        )
