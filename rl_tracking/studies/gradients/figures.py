"""Noise, bias and direction of gradients, with bootstrap intervals over the rollouts they came from.

Of an estimator's gradients g_k, k in [0, K), one a rollout, with mean m and the reference's mean r:

* ``noise``: tr Cov(g) / |E g|^2, what one rollout's gradient varies about its mean, relative to that mean. It does not
  change when the estimator is multiplied by a constant, as advantages normalised by their deviation are.
* ``cosine``: E[g . r] / (|E g| |r|), the direction of the mean gradient: 1 is unbiased up to scale.
* ``alignment``: E[cos(g_k, r)], how well one rollout's gradient points the way.

|E g|^2 is estimated by the mean of g_j . g_k over j != k, which, unlike |m|^2, has no noise of its own added.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rl_tracking.errors import UsageError

Array = NDArray[np.float64]
LEVEL = 0.95
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Products:
    """All that the figures need of K gradients and R of the reference.

    Attributes:
        gram: g_j . g_k, ``[K, K]``.
        onto: g_k . r, ``[K]``, with r the mean of the reference.
        size: |r|, its own noise taken off.
    """

    gram: Array
    onto: Array
    size: float

    @classmethod
    def of(cls, gradients: Tensor, reference: Tensor) -> Products:
        """From gradients ``[K, P]`` and those of the reference ``[R, P]``.

        Raises:
            UsageError: fewer than two of either.
        """
        if len(gradients) < 2 or len(reference) < 2:
            raise UsageError("gradients are compared from 2 rollouts or more of each estimator and of the reference")
        ours, theirs = gradients.double(), reference.double()
        mean = theirs.mean(dim=0)
        return cls((ours @ ours.T).numpy(), (ours @ mean).numpy(), _root(signal((theirs @ theirs.T).numpy())))


def signal(gram: Array, times: Array | None = None) -> float:
    """Unbiased |E g|^2: the mean of g_j . g_k over pairs of different rollouts.

    Args:
        gram: ``[K, K]``.
        times: how often each rollout was drawn, ``[K]``; once if not given. A rollout is no pair with itself, so draws
            of the same one are left out.
    """
    weight = np.ones(len(gram)) if times is None else times
    pairs = weight.sum() ** 2 - (weight**2).sum()
    if pairs == 0:  # one rollout and nothing else: no mean can be told from zero
        return 0.0
    return float((weight @ gram @ weight - (weight**2) @ gram.diagonal()) / pairs)


def figures(products: Products, rng: np.random.Generator, resamples: int = _RESAMPLES) -> dict[str, dict[str, Any]]:
    """``noise``, ``cosine`` and ``alignment``, each with its ``value`` and 95 % interval ``ci95``."""
    count = len(products.gram)
    once = np.ones(count)
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)
    samples = np.array([list(_values(products, times).values()) for times in drawn])
    values = _values(products, once)
    return {
        name: {"value": value, "ci95": interval(samples[:, column])}
        for column, (name, value) in enumerate(values.items())
    }


def noise_ratio(
    one: Products, other: Products, rng: np.random.Generator, *, scale: float = 1.0, resamples: int = _RESAMPLES
) -> dict[str, Any]:
    """How many times the noise of ``other`` is that of ``one``.

    Args:
        one: of an estimator.
        other: of another one.
        rng: draws the resamples.
        scale: what the ratio is multiplied by, for rollouts of different length: noise falls as steps grow.
        resamples: bootstrap samples.

    Returns:
        ``value`` and ``ci95``.
    """

    def ratio(ours: Array, theirs: Array) -> float:
        above, below = _values(other, theirs)["noise"], _values(one, ours)["noise"]
        return scale * above / below if below > 0 else np.nan

    def draws(count: int) -> Array:
        return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)

    ours, theirs = draws(len(one.gram)), draws(len(other.gram))
    samples = np.array([ratio(a, b) for a, b in zip(ours, theirs, strict=True)])
    value = ratio(np.ones(len(one.gram)), np.ones(len(other.gram)))
    return {"value": value, "ci95": interval(samples)}


def _values(products: Products, times: Array) -> dict[str, float]:
    """The figures of rollouts drawn ``times`` ``[K]`` each."""
    count = times.sum()
    squared = max(signal(products.gram, times), 0.0)
    total = float(times @ products.gram.diagonal()) / count
    lengths_of_means = _root(squared) * products.size
    lengths = np.sqrt(products.gram.diagonal())
    cosines = products.onto / np.maximum(lengths * products.size, 1e-300)
    return {
        "noise": (total - squared) / squared if squared > 0 else np.inf,
        "cosine": float(times @ products.onto) / count / lengths_of_means if lengths_of_means > 0 else np.nan,
        "alignment": float(times @ cosines) / count,
    }


def interval(samples: Array) -> list[float]:
    """Percentiles of resampled values, 95 % between them; one that is not a number could be anything."""
    tails = ((1.0 - LEVEL) / 2.0, -np.inf), ((1.0 + LEVEL) / 2.0, np.inf)
    unknown = np.isnan(samples)
    return [float(np.quantile(np.where(unknown, worst, samples), tail, method="nearest")) for tail, worst in tails]


def _root(squared: float) -> float:
    return float(np.sqrt(max(squared, 0.0)))
