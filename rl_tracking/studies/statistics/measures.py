"""Figures of one run, the time to the threshold among them: also of runs that did not reach it in their budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rl_tracking.studies.config.study import Budget, StudyTask
from rl_tracking.studies.statistics.metrics import Array, Samples
from rl_tracking.studies.statistics.records import Run


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


@dataclasses.dataclass(frozen=True)
class Times:
    """When runs reached a threshold.

    Attributes:
        values: ``[S]`` time of reaching it, or the end of a run that did not: its time is longer than that.
        reached: ``[S]``.
    """

    values: Array
    reached: NDArray[np.bool_]

    @property
    def sample(self) -> Array:
        """Both as one array ``[2, S]``, which the bootstrap can draw runs from."""
        return np.stack([self.values, self.reached.astype(np.float64)])

    def until(self, end: float) -> Array:
        """Times ``[S]`` cut off at an end which no run without the threshold stopped before: then all are known."""
        return np.minimum(self.values, end)


def time_to_threshold(along: Array, scores: Array, threshold: float) -> tuple[float, bool]:
    """When a run first reaches a threshold, and whether it does.

    Between the last evaluation below and the first one at the threshold the score is taken as a straight line. Without
    that every time would be rounded up to an evaluation, for both of two variants alike, which draws their ratio to 1.

    Args:
        along: where the evaluations were made ``[P]``.
        scores: ``[P]``.
        threshold: the score to reach.

    Returns:
        The time, or the end of the run, and whether the threshold was reached.
    """
    at = int(np.argmax(scores >= threshold))
    if scores[at] < threshold:
        return float(along[-1]), False
    if at == 0:
        return float(along[0]), True
    part = (threshold - scores[at - 1]) / (scores[at] - scores[at - 1])
    return float(along[at - 1] + part * (along[at] - along[at - 1])), True


def horizon(times: Times) -> float:
    """The time up to which every run is known: the first end of one that did not reach it; infinite if all did."""
    return float(np.min(times.values, where=~times.reached, initial=np.inf))


def restricted(times: Sequence[Times]) -> list[Array]:
    """Times of several variants, cut off where all are known, so that their means can be compared.

    The mean of such times is the restricted mean survival time (Royston and Parmar 2011): how long a run is below the
    threshold on average within that time.
    """
    end = min(horizon(each) for each in times)
    return [each.until(end) for each in times]


def survival_median(samples: Samples) -> Array:
    """Median time by Kaplan and Meier (1958): the first time by which half of the runs reached the threshold.

    Args:
        samples: of one task, ``[2, ..., S]`` as of :attr:`Times.sample`.

    Returns:
        ``[...]``; infinite where fewer than half are known to have reached it.
    """
    (sample,) = samples
    values, reached = sample[0], sample[1]
    order = np.lexsort((1 - reached, values), axis=-1)  # a run that ends as another reaches it was still there
    values, reached = np.take_along_axis(values, order, axis=-1), np.take_along_axis(reached, order, axis=-1)
    left = np.arange(values.shape[-1], 0, -1)
    surviving = np.cumprod(1 - reached / left, axis=-1)
    half = (surviving <= 0.5 + 1e-12) & (reached > 0)
    return np.asarray(np.min(values, axis=-1, where=half, initial=np.inf))
