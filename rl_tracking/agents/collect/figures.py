"""What is logged of rollouts with branches, beside the figures of the update."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.utils import safe_mean
from torch import Tensor

from rl_tracking.agents.maths.estimators import explained_variance, rounding

if TYPE_CHECKING:
    from rl_tracking.agents.collect.rollout import Estimate


class RolloutFigures:
    """Rates of collecting and updating, and the activated returns of episodes; the raw return is what the env reports.

    Args:
        window: how many of the latest episodes count.

    Attributes:
        returns: activated returns of the latest episodes.
        so_far: activated rewards of the episodes in progress, ``[E]``; None before the first rollout.
    """

    def __init__(self, window: int) -> None:
        self.returns: deque[float] = deque(maxlen=window)
        self.so_far: Tensor | None = None
        self._started, self._counts = time.perf_counter(), (0, 0)
        self._collected = (0, 0, 0.0)

    def restart(self) -> None:
        """Forget the episodes."""
        self.returns.clear()
        self.so_far = None

    def begin(self, macro_steps: int, simulator_steps: int) -> None:
        """A rollout begins at these counts."""
        self._started, self._counts = time.perf_counter(), (macro_steps, simulator_steps)

    def end(self, macro_steps: int, simulator_steps: int) -> None:
        """It ends at these counts; the time until :meth:`of_update` is not counted, as callbacks may evaluate there."""
        seconds = time.perf_counter() - self._started
        self._collected = (macro_steps - self._counts[0], simulator_steps - self._counts[1], seconds)

    def of_update(self, rollout: Any, estimate: Estimate, seconds: float) -> dict[str, float]:
        """Figures by the names they are logged under.

        Args:
            rollout: the latest one.
            estimate: of it.
            seconds: that the update took.
        """
        macro_steps, simulator_steps, collecting = self._collected
        # Of the executed branch alone: the others are what might have happened, no part of an episode.
        reward = rollout.executed(estimate.reward)
        self._add(reward, rollout.executed_episode_end)
        alone = estimate.advantage.shape[-2] == 1  # one sample has no spread
        found = {
            "train/explained_variance": explained_variance(estimate.value_target, rollout.value),
            "train/group_spread": 0.0 if alone else float(estimate.advantage.std(dim=-2).mean()),
            "rollout/raw_reward_mean": float(rollout.executed(rollout.reward).mean()),
            "rollout/activated_reward_mean": float(reward.mean()),
            "time/macro_steps_per_second": macro_steps / (collecting + seconds),
            "time/simulator_steps_per_second": simulator_steps / (collecting + seconds),
        }
        if not alone:
            found["train/tied_groups"] = tied_groups(rollout.earned(estimate.reward))
        return found | ({"rollout/activated_return_mean": safe_mean(list(self.returns))} if self.returns else {})

    def _add(self, reward: Tensor, episode_end: Tensor) -> None:
        """Sum the activated reward ``[T, E]`` over episodes, which end where ``episode_end`` ``[T, E]`` holds."""
        # Episodes continue from one rollout to the next, so the sums of those in progress are kept.
        so_far = reward.new_zeros(reward.shape[1:]) if self.so_far is None else self.so_far
        for step_reward, step_end in zip(reward, episode_end, strict=True):
            so_far = so_far + step_reward
            self.returns.extend(so_far[step_end].tolist())
            so_far = so_far * ~step_end
        self.so_far = so_far


def tied_groups(earned: Tensor) -> float:
    """Share of the groups whose branches all earned the same, but for rounding: their rewards say nothing.

    Args:
        earned: by each branch, ``[R, N, E]``.
    """
    spread = earned.amax(dim=1) - earned.amin(dim=1)
    return float((spread <= rounding(earned.abs().amax(dim=1))).to(earned.dtype).mean())
