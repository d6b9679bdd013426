"""Figures of many runs (Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice).

All of them take one array a task, ``[..., S]`` with the task's S seeds on the last axis, and reduce that axis and the
tasks, so they work on thousands of resamples at once. Every task weighs the same, however many of its runs finished.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl_tracking.runs.intervals import Array as Array

Samples = Sequence[Array]
"""One array a task, ``[..., S]``."""


def mean(samples: Samples) -> Array:
    """Mean over tasks of the mean over seeds."""
    return np.asarray(np.stack([sample.mean(axis=-1) for sample in samples]).mean(axis=0))


def median(samples: Samples) -> Array:
    """Median over tasks of the mean over seeds, as benchmarks of many tasks report it."""
    return np.asarray(np.median(np.stack([sample.mean(axis=-1) for sample in samples]), axis=0))


def interquartile_mean(samples: Samples) -> Array:
    """Mean of the middle half of the runs of all tasks: a quarter of the weight is cut off on each side.

    A run on the edge of the middle half counts with the part of it that lies inside. That is ``scipy.stats.trim_mean(.,
    0.25)`` where the number of runs is a multiple of 4; elsewhere SciPy rounds down what it cuts off.
    """
    values = np.concatenate(samples, axis=-1)
    weights = np.concatenate([np.full(sample.shape[-1], 1 / (len(samples) * sample.shape[-1])) for sample in samples])
    order = np.argsort(values, axis=-1)
    weight, value = weights[order], np.take_along_axis(values, order, axis=-1)
    end = np.cumsum(weight, axis=-1)
    inside = np.clip(np.minimum(end, 0.75) - np.maximum(end - weight, 0.25), 0.0, None)
    return np.asarray((value * inside).sum(axis=-1) / inside.sum(axis=-1))


def optimality_gap(samples: Samples, target: float = 1.0) -> Array:
    """How far runs stay below a target on average; being above it makes up for nothing. Lower is better."""
    return mean([np.clip(target - sample, 0.0, None) for sample in samples])


def above(sample: Array, levels: Array) -> Array:
    """Which runs score above each level, as 0 and 1: ``[S]`` and ``[K]`` give ``[K, S]``.

    Their :func:`mean` is the performance profile: the share of runs with a score above the level.
    """
    return (sample > levels[:, None]).astype(np.float64)


def probability_of_improvement(samples: Samples, others: Samples) -> Array:
    """P(X > Y) + P(X = Y) / 2 for a run X of ``samples`` and a run Y of ``others``, averaged over tasks.

    On one task it is the Mann-Whitney statistic U over the number of pairs (Mann and Whitney 1947).
    """
    tasks = []
    for sample, other in zip(samples, others, strict=True):
        x, y = sample[..., :, None], other[..., None, :]
        tasks.append(((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1)))
    return np.asarray(np.stack(tasks).mean(axis=0))
