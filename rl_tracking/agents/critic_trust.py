"""How far advantages trust the critic: fully, or as far as it has explained what came."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rl_tracking.agents import estimators

CRITIC_TRUST = ("full", "explained")
_SMOOTHING = 0.5  # weight of what was known before in the share explained: one small rollout says it roughly


class CriticTrust(Protocol):
    """What comes between the critic's values and the estimator."""

    def __call__(self, rollout: Any) -> Any:
        """The rollout with the values that the estimator is to use."""

    def observe(self, value: Tensor, target: Tensor) -> None:
        """Take note of what the critic said of the roots and of what came, ``[R, E]`` each."""

    @property
    def figures(self) -> dict[str, float]:
        """What is logged."""


class FullTrust:
    """V as it is, as in the paper and in PPO."""

    def __call__(self, rollout: Any) -> Any:
        """The rollout itself."""
        return rollout

    def observe(self, value: Tensor, target: Tensor) -> None:
        """Nothing is noted."""

    @property
    def figures(self) -> dict[str, float]:
        """Nothing is logged."""
        return {}


class ExplainedTrust(nn.Module):
    """V drawn towards its mean by the share of the returns that it has not explained.

    ``V_k(s) = mean V + k (V(s) - mean V)``; k is the explained variance of the group returns of earlier rollouts,
    within 0 and 1. An untrained critic, k = 0, then has no say in which action was better: what the rewards of the
    branches say counts alone, as in GRPO. A good one, k = 1, counts fully. As in shrinkage of any noisy predictor
    (James, Stein 1961), a little bias is taken for much less noise. k is of earlier rollouts, so it does not depend on
    the actions it is applied to; it is saved with the model.
    """

    share: Tensor  # k, a scalar

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(()))

    def forward(self, rollout: Any) -> Any:
        """See :class:`CriticTrust`."""
        mean = rollout.value.mean()
        return rollout.with_values(
            estimators.shrink(rollout.value, mean, self.share), estimators.shrink(rollout.next_value, mean, self.share)
        )

    def observe(self, value: Tensor, target: Tensor) -> None:
        """See :class:`CriticTrust`."""
        explained = torch.as_tensor(estimators.explained_variance(target, value)).nan_to_num(0.0).clamp(0.0, 1.0)
        self.share = self.share.lerp(explained.to(self.share), 1.0 - _SMOOTHING)

    @property
    def figures(self) -> dict[str, float]:
        """``critic_trust``: k."""
        return {"critic_trust": float(self.share)}
