"""What an episode is worth, by name: how each figure is measured in, shown and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from rl_tracking.runs import intervals

SHARE = "%"  # unit of a number between 0 and 1


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of an episode.

    Attributes:
        name: as in JSON, such as ``time_in_radius``.
        unit: ``%`` for a share between 0 and 1; else the unit of the number, empty where it has none.
        better: whether more is better (``up``) or less (``down``).
        headline: the one that says most of a policy.
        success: 1 for an episode that succeeded and 0 for another.
    """

    name: str
    unit: str = ""
    better: Literal["up", "down"] = "up"
    headline: bool = False
    success: bool = False

    @property
    def title(self) -> str:
        """The name in words, with the unit."""
        words = self.name.replace("_", " ")
        return f"{words} [{self.unit}]" if self.unit not in ("", SHARE) else words

    def text(self, value: float) -> str:
        """A value as tables show it."""
        if self.unit == SHARE:
            return f"{value:.1%}"
        return f"{value:.1f}" if self.unit in ("", "steps") else f"{value:.2f}"


def figures(metrics: Iterable[Metric], values: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Each metric's mean over episodes with its 95 % interval: Wilson's for successes, bootstrap for other numbers.

    Args:
        metrics: of the task.
        values: of each metric by name, one number an episode that has one; metrics that are not here have no figure.
    """
    return {
        metric.name: intervals.proportion(int(values[metric.name].sum()), len(values[metric.name]))
        if metric.success
        else intervals.mean(values[metric.name])
        for metric in metrics
        if metric.name in values
    }
