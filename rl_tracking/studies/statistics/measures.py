"""Figures of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rl_tracking.studies.config.study import Budget, StudyTask
from rl_tracking.studies.statistics.metrics import Array
from rl_tracking.studies.statistics.records import Run
from rl_tracking.studies.statistics.survival import Times, time_to_threshold


def final(run: Run, task: StudyTask) -> float:
    """The score of the last evaluation."""
    return float(run.scores(task.metric)[-1])


def area(run: Run, task: StudyTask, budget: Budget) -> float:
    """The mean score over the budget: the area under the learning curve (trapezoids) over its length."""
    return mean_height(run.along(budget.unit), run.scores(task.metric))


def mean_height(along: Array, heights: Array) -> float:
    """Mean of a curve of straight lines through ``[P]`` points."""
    length = along[-1] - along[0]
    if length <= 0:
        return float(heights[-1])
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(along)).sum() / length)


def drawdown(run: Run, task: StudyTask) -> float:
    """How much worse the score gets than the best one before, at most: 0 for a run that never gets worse."""
    scores = task.sign * run.scores(task.metric)
    return float((np.maximum.accumulate(scores) - scores).max())


def update_mean(run: Run, name: str) -> float:
    """The mean over a run of a figure that its updates logged; not a number if they never did."""
    figures = [record.updates[name] for record in run.records if name in record.updates]
    return float(np.mean(figures)) if figures else math.nan


def times(runs: Sequence[Run], task: StudyTask, unit: str) -> Times:
    """When each run reached the task's threshold, which must be given."""
    assert task.threshold is not None
    threshold = task.sign * task.threshold
    found = [time_to_threshold(run.along(unit), task.sign * run.scores(task.metric), threshold) for run in runs]
    return Times(np.array([time for time, _ in found]), np.array([reached for _, reached in found], dtype=bool))


def normalised(scores: Array, task: StudyTask) -> Array:
    """Scores on the scale on which the worst of the task's range is 0 and the best is 1."""
    low, high = task.range
    share = (scores - low) / (high - low)
    return share if task.sign > 0 else 1.0 - share
