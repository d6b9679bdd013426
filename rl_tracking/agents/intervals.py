"""Figures with their 95 % intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_RESAMPLES = 2_000


def proportion(successes: int, trials: int) -> dict[str, Any]:
    """Wilson's score interval (Wilson 1927): sensible at 0 and 1 too."""
    z = 1.959963984540054
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"value": p, "ci95": [max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))]}


def mean(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Mean and percentile bootstrap interval (Efron 1979), from a generator of its own; None without values."""
    if len(values) == 0:
        return {"value": None, "ci95": [None, None]}
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(values.mean()), "ci95": [float(low), float(high)]}
