"""The figures of a policy: each metric over episodes, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rl_tracking.envs.totals import SHARE as SHARE
from rl_tracking.envs.totals import Metric as Metric
from rl_tracking.runs import intervals


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
