"""Figures of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rl_tracking.studies.config.study import Budget, Task
from rl_tracking.studies.statistics.metrics import Array
from rl_tracking.studies.statistics.records import Run
from rl_tracking.studies.statistics.survival import Times, time_to_threshold


def final(run: Run, task: Task) -> float:
    """The score of the last evaluation."""
    return float(run.scores(task.metric)[-1])


def area(run: Run, task: Task, budget: Budget) -> float:
    """The mean score over the budget: the area under the learning curve (trapezoids) over its length."""
    return mean_height(run.along(budget.unit), run.scores(task.metric))


def mean_height(along: Array, heights: Array) -> float:
    """Mean of a curve of straight lines through ``[P]`` points."""
    length = along[-1] - along[0]
    if length <= 0:
        return float(heights[-1])
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(along)).sum() / length)


def drawdown(run: Run, task: Task) -> float:
    """The largest fall of the score below the best one before: 0 for a run that never gets worse."""
    scores = run.scores(task.metric)
    return float((np.maximum.accumulate(scores) - scores).max())


def update_mean(run: Run, name: str) -> float:
    """The mean over a run of a figure that its updates logged; not a number if they never did."""
    figures = [record.updates[name] for record in run.records if math.isfinite(record.updates.get(name, math.nan))]
    return float(np.mean(figures)) if figures else math.nan


def times(runs: Sequence[Run], task: Task, unit: str) -> Times:
    """When each run reached the task's threshold, which must be given."""
    assert task.threshold is not None
    found = [time_to_threshold(run.along(unit), run.scores(task.metric), task.threshold) for run in runs]
    return Times(np.array([time for time, _ in found]), np.array([reached for _, reached in found], dtype=bool))


def normalised(scores: Array, task: Task) -> Array:
    """Scores on the scale on which the task's range is 0 to 1."""
    low, high = task.range
    return (scores - low) / (high - low)
