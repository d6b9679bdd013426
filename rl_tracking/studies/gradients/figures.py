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

import numpy as np
from torch import Tensor

from rl_tracking.errors import UsageError
from rl_tracking.runs.intervals import RESAMPLES, Array, percentiles
from rl_tracking.studies.statistics import Interval


@dataclasses.dataclass(frozen=True)
class Products:
    """All that the figures need of K gradients and R of the reference.

    Attributes:
        gram: g_j . g_k, ``[K, K]``.
        onto: g_k . r, ``[K]``, with r the mean of the reference.
        size: |r|, its own noise subtracted.
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
        size = np.sqrt(np.maximum(signal((theirs @ theirs.T).numpy()), 0.0))
        return cls((ours @ ours.T).numpy(), (ours @ mean).numpy(), float(size))


def signal(gram: Array, times: Array | None = None) -> Array:
    """Unbiased |E g|^2 ``[...]``: the mean of g_j . g_k over pairs of different rollouts.

    Args:
        gram: ``[K, K]``.
        times: how often each rollout was drawn, ``[..., K]``; once if not given. A rollout is no pair with itself, so
            draws of the same one are left out.
    """
    weight = np.ones(len(gram)) if times is None else times
    pairs = weight.sum(axis=-1) ** 2 - (weight**2).sum(axis=-1)
    total = ((weight @ gram) * weight).sum(axis=-1) - weight**2 @ gram.diagonal()
    # One rollout drawn K times has no pair: its mean cannot be distinguished from zero.
    return np.asarray(np.divide(total, pairs, out=np.zeros_like(total), where=pairs > 0))


def figures(products: Products, rng: np.random.Generator, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """``noise``, ``cosine`` and ``alignment``, with their 95 % intervals."""
    values = _values(products, np.ones(len(products.gram)))
    drawn = _values(products, _draws(products, rng, resamples))
    return {name: _interval(value, drawn[name]) for name, value in values.items()}


def noise_ratio(
    one: Products, other: Products, rng: np.random.Generator, *, scale: float = 1.0, resamples: int = RESAMPLES
) -> Interval:
    """How many times the noise of ``one`` is in that of ``other``.

    Args:
        one: of an estimator.
        other: of another one.
        rng: draws the resamples.
        scale: what the ratio is multiplied by, for rollouts of different length: noise falls as steps grow.
        resamples: bootstrap samples.
    """

    def ratio(ours: Array, theirs: Array) -> Array:
        below, above = _values(one, ours)["noise"], _values(other, theirs)["noise"]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(below > 0, scale * above / below, np.nan)

    drawn = ratio(_draws(one, rng, resamples), _draws(other, rng, resamples))
    return _interval(ratio(np.ones(len(one.gram)), np.ones(len(other.gram))), drawn)


def _draws(products: Products, rng: np.random.Generator, resamples: int) -> Array:
    """How often each rollout is drawn in each resample ``[resamples, K]``."""
    count = len(products.gram)
    return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)


def _values(products: Products, times: Array) -> dict[str, Array]:
    """The figures ``[...]`` of rollouts drawn ``times`` ``[..., K]`` each."""
    count = times.sum(axis=-1)
    squared = np.maximum(signal(products.gram, times), 0.0)
    total = times @ products.gram.diagonal() / count
    lengths = np.sqrt(products.gram.diagonal())
    cosines = products.onto / np.maximum(lengths * products.size, 1e-300)
    scale = np.sqrt(squared) * products.size
    with np.errstate(divide="ignore", invalid="ignore"):  # without a mean: infinitely noisy, and without a direction
        return {
            "noise": np.where(squared > 0, (total - squared) / squared, np.inf),
            "cosine": np.where(scale > 0, times @ products.onto / count / scale, np.nan),
            "alignment": times @ cosines / count,
        }


def _interval(value: Array, drawn: Array) -> Interval:
    return Interval(float(value), *map(float, percentiles(drawn)))
