"""What is measured in each step of a search, and the figures of an episode."""

from __future__ import annotations

from torch import Tensor

from rl_tracking.envs.base import Metric
from rl_tracking.envs.scenarios.intercept.step import InterceptStep
from rl_tracking.envs.totals import SHARE

METRICS = (
    Metric("capture_rate", "captured", "ever", unit=SHARE, success=True, headline=True),
    Metric("time_to_capture", "captured", "first", unit="s", better="down"),
    Metric("time_to_sight", "visible", "first", unit="s", better="down"),
    Metric("time_in_sight", "visible", "mean", unit=SHARE),
    Metric("explored", "explored", "greatest", unit=SHARE),
)


def measures(step: InterceptStep) -> dict[str, Tensor]:
    """The measures of a step, ``[B]`` each.

    ``captured`` on the way through it, ``visible`` at its end, ``explored`` (share of the cells) and ``distance`` of
    the nearest pursuer [m].
    """
    return {
        "captured": step.captured,
        "visible": step.visible,
        "explored": step.explored,
        "distance": step.nearest,
    }
