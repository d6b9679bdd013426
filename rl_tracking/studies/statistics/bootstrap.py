"""Intervals by the stratified bootstrap: seeds are drawn anew within each task and variant (Agarwal et al. 2021)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from rl_tracking.runs.intervals import RESAMPLES, percentiles, resample
from rl_tracking.studies.statistics.metrics import Array, Samples


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval. Bounds can be infinite, where resamples have no finite figure."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """The interval of a figure multiplied by a factor above 0."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)


@dataclasses.dataclass(frozen=True)
class Band:
    """A figure at every point of a curve and its 95 % interval there, ``[...]`` each."""

    value: Array
    low: Array
    high: Array


def band(
    groups: tuple[Samples, ...], statistic: Callable[..., Array], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Band:
    """Percentile interval of a statistic at every point.

    Args:
        groups: one for each variant that the statistic compares; in each, one array a task ``[..., S]``. The axes
            before the last are points, and all points of a run are drawn together.
        statistic: called with the groups; reduces the last axis and the tasks.
        rng: draws the resamples.
        resamples: how many.

    A resample whose figure is not a number widens the interval on both sides.
    """
    drawn = statistic(*([resample(sample, rng, resamples) for sample in group] for group in groups))
    return Band(statistic(*groups), *percentiles(drawn))


def interval(
    samples: Samples, statistic: Callable[[Samples], Array], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Interval:
    """The interval of one figure of one variant; ``samples`` has an array ``[S]`` a task."""
    return _single(band((samples,), statistic, rng, resamples))


def pair_interval(
    samples: Samples,
    others: Samples,
    statistic: Callable[[Samples, Samples], Array],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """The interval of a figure that compares two variants, whose seeds are drawn independently."""
    return _single(band((samples, others), statistic, rng, resamples))


def ratio(statistic: Callable[[Samples], Array]) -> Callable[[Samples, Samples], Array]:
    """The ratio of a figure of two variants; over tasks the geometric mean of their ratios.

    It is not a number where one of the two is negative or both are 0.
    """

    def compared(samples: Samples, others: Samples) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = [
                np.log(statistic([sample])) - np.log(statistic([other]))
                for sample, other in zip(samples, others, strict=True)
            ]
            return np.asarray(np.exp(np.stack(logs).mean(axis=0)))

    return compared


def difference(statistic: Callable[[Samples], Array]) -> Callable[[Samples, Samples], Array]:
    """The figure of the first variant minus that of the second."""
    return lambda samples, others: statistic(samples) - statistic(others)


def _single(found: Band) -> Interval:
    return Interval(*(float(part) for part in (found.value, found.low, found.high)))
