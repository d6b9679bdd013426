"""How far advantages trust the critic: fully, or as far as it has explained what came."""

from __future__ import annotations

import math
from typing import Any, Protocol

from torch import Tensor

from rl_tracking.agents.maths import estimators

CRITIC_TRUST = ("full", "explained")
_SMOOTHING = 0.5  # weight of what was known before in the share explained: one small rollout says it roughly


class CriticTrust(Protocol):
    """What comes between the critic's values and the estimator.

    Attributes:
        share: k, how far the critic counts, in [0, 1].
    """

    share: float

    def __call__(self, rollout: Any) -> Any:
        """The rollout with the values that the estimator is to use."""

    def observe(self, value: Tensor, target: Tensor) -> None:
        """Take note of what the critic said of the roots and of what came, ``[R, E]`` each."""

    @property
    def figures(self) -> dict[str, float]:
        """What is logged."""


class FullTrust:
    """V as it is, as in the paper and in PPO."""

    share = 1.0

    def __call__(self, rollout: Any) -> Any:
        """The rollout itself."""
        return rollout

    def observe(self, value: Tensor, target: Tensor) -> None:
        """Nothing is noted."""

    @property
    def figures(self) -> dict[str, float]:
        """Nothing is logged."""
        return {}


class ExplainedTrust:
    """V drawn towards its mean by the share of the returns that it has not explained.

    ``V_k(s) = mean V + k (V(s) - mean V)``; k is the explained variance of the group returns of earlier rollouts,
    within 0 and 1. An untrained critic, k = 0, then has no say in which action was better: what the rewards of the
    branches say counts alone, as in GRPO. A good one, k = 1, counts fully. As in shrinkage of any noisy predictor
    (James, Stein 1961), a little bias is taken for much less noise. k is of earlier rollouts, so it does not depend on
    the actions it is applied to; it is saved with the model.

    Args:
        share: k to begin with.
    """

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    def __call__(self, rollout: Any) -> Any:
        """See :class:`CriticTrust`."""
        mean = rollout.value.mean()
        return rollout.with_values(
            estimators.shrink(rollout.value, mean, self.share), estimators.shrink(rollout.next_value, mean, self.share)
        )

    def observe(self, value: Tensor, target: Tensor) -> None:
        """See :class:`CriticTrust`."""
        explained = estimators.explained_variance(target, value)
        explained = 0.0 if math.isnan(explained) else min(max(explained, 0.0), 1.0)
        self.share = _SMOOTHING * self.share + (1.0 - _SMOOTHING) * explained

    @property
    def figures(self) -> dict[str, float]:
        """``critic_trust``: k."""
        return {"critic_trust": self.share}
