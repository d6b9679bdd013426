"""Figures with their 95 % intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_RESAMPLES = 2_000


def proportion(successes: int, trials: int) -> dict[str, Any]:
    """Wilson's score interval (Wilson 1927): sensible at 0 and 1 too; none of a single trial."""
    if trials == 1:
        return {"value": float(successes), "ci95": [None, None]}
    z = 1.959963984540054
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"value": p, "ci95": [max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))]}


def mean(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Mean and percentile bootstrap interval (Efron 1979), from a generator of its own.

    Without values both are None; one value has no interval, since nothing says how far others lie. Where a value is
    not finite, or their mean is not, there is neither, and ``not_finite`` counts such values.
    """
    if len(values) == 0:
        return {"value": None, "ci95": [None, None]}
    if len(values) == 1 and np.isfinite(values[0]):
        return {"value": float(values[0]), "ci95": [None, None]}
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):
        means = values[rng.integers(len(values), size=(_RESAMPLES, len(values)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        value = float(values.mean())
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        bad = int((~np.isfinite(values)).sum())
        return {"value": None, "ci95": [None, None], "not_finite": bad or len(values)}
    return {"value": value, "ci95": [float(low), float(high)]}


def not_finite(results: list[dict[str, Any]]) -> str | None:
    """A sentence on the figures of evaluations that are not finite; None if all are."""
    found = [
        f"{name} of {result['policy']} in {figure['not_finite']} of {result['episodes']} episodes"
        for result in results
        for name, figure in result.items()
        if isinstance(figure, dict) and figure.get("not_finite")
    ]
    return f"figures are not finite: {', '.join(found)}" if found else None
