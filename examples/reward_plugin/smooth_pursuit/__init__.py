"""A reward for rl_tracking: fly at the target smoothly."""

from torch import Tensor

from rl_tracking.envs.parts.target_step import TargetStep

CHANGE_PENALTY = 0.05


def smooth_pursuit(step: TargetStep) -> Tensor:
    """Closing speed as a share of the top speed, minus a penalty on the change of the action.

    Args:
        step: B worlds before and after a step, and the actions ``[B, P, D]`` in [-1, 1] that were taken.

    Returns:
        One number a world, ``[B]``; the mean over its pursuers.
    """
    closing_speed = (step.distance_before - step.distance) / step.facts.dt  # [B, P], m/s
    change = (step.action - step.before.action).square().sum(dim=-1)  # [B, P]
    return (closing_speed / step.facts.speed_limit - CHANGE_PENALTY * change).mean(dim=-1)
