"""Rewards normalised by the moments of a rolling window (eq. 17)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rl_tracking.agents.maths.estimators import rounding


class RewardWindow(nn.Module):
    """``(R - mu) / (sigma + eps)`` with the moments of the latest steps of all worlds and branches (eq. 17).

    All steps of the window have the same weight; it is saved with the model. Subtracting mu adds a constant to each
    step's reward: where the policy decides how long an episode lasts, that changes which policy is best.

    Args:
        steps: length of the window, in steps that all worlds make together.
    """

    moments: Tensor  # [steps, 2]: mean and variance of the rewards of each step, oldest first; NaN where none was yet

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.register_buffer("moments", torch.full((steps, 2), torch.nan, dtype=torch.float64))

    def observe(self, reward: Tensor) -> None:
        """See :class:`~rl_tracking.agents.extensions.seams.RewardNormalizer`."""
        # Moments a step of all worlds and branches, not single rewards: N E numbers a step would fill the memory.
        steps = reward.detach().flatten(0, -3).flatten(1).double()
        latest = torch.stack([steps.mean(dim=1), steps.var(dim=1, correction=0)], dim=1)
        self.moments = torch.cat([self.moments, latest])[-len(self.moments) :].clone()

    def forward(self, reward: Tensor) -> Tensor:
        """Normalised rewards, same shape."""
        mean, deviation = self.mean_and_deviation()
        normalised = ((reward - mean) / (deviation + 1e-8)).to(reward.dtype)
        # Rewards that differ only by rounding are equal, and their deviation must not be divided by.
        return torch.where(deviation > rounding(mean.to(reward.dtype)), normalised, 0.0)

    def mean_and_deviation(self) -> tuple[Tensor, Tensor]:
        """Moments of all rewards in the window, by the law of total variance; 0 and 1 while it is empty."""
        # Law of total variance: within the steps, and between them.
        known = self.moments[~self.moments[:, 0].isnan()]
        if len(known) == 0:
            return self.moments.new_tensor(0.0), self.moments.new_tensor(1.0)
        mean, variance = known.unbind(dim=1)
        return mean.mean(), (variance.mean() + mean.var(correction=0)).sqrt()
