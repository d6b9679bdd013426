"""Figures with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rl_tracking.envs.totals import Metric

Array = NDArray[np.float64]
LEVEL = 0.95
RESAMPLES = 2_000


def proportion(successes: int, trials: int) -> dict[str, Any]:
    """Wilson's score interval (Wilson 1927): sensible at 0 and 1 too; none of a single trial."""
    if trials == 1:
        return {"value": float(successes), "ci95": [None, None]}
    z = 1.959963984540054
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"value": p, "ci95": [max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))]}


def mean(values: Array) -> dict[str, Any]:
    """Mean and percentile bootstrap interval, from a generator of its own.

    Without values both are None; one value has no interval, since nothing says how far others lie. Where a value is
    not finite, or their mean is not, there is neither, and ``not_finite`` counts such values.
    """
    if len(values) == 0:
        return {"value": None, "ci95": [None, None]}
    if len(values) == 1 and np.isfinite(values[0]):
        return {"value": float(values[0]), "ci95": [None, None]}
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = map(float, percentiles(resample(values, np.random.default_rng(0)).mean(axis=-1)))
        value = float(values.mean())
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        bad = int((~np.isfinite(values)).sum())
        return {"value": None, "ci95": [None, None], "not_finite": bad or len(values)}
    return {"value": value, "ci95": [low, high]}


def resample(sample: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """Draw S items with replacement, many times, along the last axis: ``[..., S]`` to ``[..., resamples, S]``."""
    size = sample.shape[-1]
    return sample[..., rng.integers(size, size=(resamples, size))]


def percentiles(figures: Array) -> tuple[Array, Array]:
    """The interval of a bootstrap by percentiles (Efron 1979): 95 % of the figures lie within.

    Args:
        figures: of the resamples ``[..., R]``. One that is not a number widens the interval on both sides.

    Returns:
        Lower and upper bound ``[...]``, each the figure of a resample: nothing is interpolated, as figures can be
        infinite.
    """
    unknown, tail = np.isnan(figures), (1 - LEVEL) / 2
    low = np.quantile(np.where(unknown, -np.inf, figures), tail, axis=-1, method="lower")
    high = np.quantile(np.where(unknown, np.inf, figures), 1 - tail, axis=-1, method="higher")
    return np.asarray(low), np.asarray(high)


def figures(metrics: Iterable[Metric], values: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Each metric's mean over episodes with its 95 % interval: Wilson's for successes, bootstrap for other numbers.

    Args:
        metrics: of the task.
        values: of each metric by name, one number an episode that has one; metrics that are not here have no figure.
    """
    return {
        metric.name: proportion(int(values[metric.name].sum()), len(values[metric.name]))
        if metric.success
        else mean(values[metric.name])
        for metric in metrics
        if metric.name in values
    }


def not_finite(results: list[dict[str, Any]]) -> str | None:
    """A sentence on the figures of evaluations that are not finite; None if all are."""
    found = [
        f"{name} of {result['policy']} in {figure['not_finite']} of {result['episodes']} episodes"
        for result in results
        for name, figure in result.items()
        if isinstance(figure, dict) and figure.get("not_finite")
    ]
    return f"figures are not finite: {', '.join(found)}" if found else None
