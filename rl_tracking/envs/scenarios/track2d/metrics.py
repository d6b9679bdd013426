"""What is measured in each step of a basic track, and the figures of an episode."""

from __future__ import annotations

from torch import Tensor

from rl_tracking.envs.base import Metric
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.totals import SHARE

METRICS = (
    Metric("capture_rate", "captured", "ever", unit=SHARE, headline=True, success=True),
    Metric("time_to_capture", "captured", "first", unit="s", better="down"),
    Metric("mean_distance", "distance", "mean", unit="m", better="down"),
)


def measures(step: TargetStep) -> dict[str, Tensor]:
    """``distance`` of robot and target at the step's end [m], and whether the target was ``captured`` on the way."""
    return {"distance": step.nearest, "captured": step.captured}
