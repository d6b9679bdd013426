"""What is measured in each step of a pursuit, and the figures of an episode."""

from __future__ import annotations

from torch import Tensor

from rl_tracking.envs.base import Metric
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.totals import SHARE

METRICS = (
    Metric("capture_rate", "captured", "ever", unit=SHARE, success=True),
    Metric("time_in_radius", "in_radius", "mean", unit=SHARE, headline=True),
    Metric("time_to_capture", "captured", "first", unit="s", better="down"),
    Metric("mean_distance", "distance", "mean", unit="m", better="down"),
)


def measures(step: TargetStep) -> dict[str, Tensor]:
    """``distance`` of the nearest pursuer [m], ``in_radius`` at the step's end, ``captured`` on the way through it."""
    return {"distance": step.nearest, "in_radius": step.in_radius, "captured": step.captured}
