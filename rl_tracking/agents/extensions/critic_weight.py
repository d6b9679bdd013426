"""A weight of the critic that follows the share of the returns which it has explained."""

from __future__ import annotations

import math
from typing import Any

from rl_tracking.agents.collect.rollout import Estimate
from rl_tracking.agents.maths import estimators

_SMOOTHING = 0.5  # weight of earlier rollouts in the share explained, since one small rollout measures it roughly


class ExplainedCriticWeight:
    """V shrunk towards its mean by the share of the returns that it has not explained.

    ``V_k(s) = mean V + k (V(s) - mean V)``; k is the explained variance of the group returns of earlier rollouts,
    clipped to [0, 1]. With an untrained critic, k = 0, only the rewards of the branches decide which action was better,
    as in GRPO. A good critic, k = 1, counts fully. Like any shrinkage of a noisy predictor (James, Stein 1961), it
    accepts a little bias for much less noise. k comes from earlier rollouts, so it does not depend on the actions that
    it is applied to; it is saved with the model.

    Args:
        share: k to begin with.
    """

    is_learned = True

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    def __call__(self, rollout: Any) -> tuple[Any, Any]:
        """See :class:`~rl_tracking.agents.extensions.seams.CriticWeight`."""
        # One mean for V and V': shrinking both to it leaves differences between branches scaled by k alone.
        mean = rollout.value.mean()
        shrunk = rollout.with_values(
            estimators.shrink(rollout.value, mean, self.share), estimators.shrink(rollout.next_value, mean, self.share)
        )
        return shrunk, shrunk

    def observe(self, rollout: Any, estimate: Estimate) -> None:
        """See :class:`~rl_tracking.agents.extensions.seams.CriticWeight`."""
        # After the update has used the old share, so it stays independent of the actions that it weighs.
        value, target = rollout.root_values(estimate)
        explained = estimators.explained_variance(target, value)
        explained = 0.0 if math.isnan(explained) else min(max(explained, 0.0), 1.0)
        self.share = _SMOOTHING * self.share + (1.0 - _SMOOTHING) * explained

    @property
    def figures(self) -> dict[str, float]:
        """``critic_trust``: k."""
        return {"critic_trust": self.share}
