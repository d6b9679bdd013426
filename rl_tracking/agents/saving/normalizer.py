"""The moments of a ``VecNormalize`` as numbers of a file, and the scaling of observations by them."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import numpy as np
from gymnasium import spaces
from msgspec import Meta, Struct
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking.agents.saving import checkpoint_schema
from rl_tracking.agents.saving.checkpoint_schema import DescriptionError

Numbers = np.ndarray[Any, np.dtype[np.float64]]
_Positive = Annotated[float, Meta(gt=0)]
_NotNegative = Annotated[float, Meta(ge=0)]


class Moments(Struct, omit_defaults=True):
    """``normalizer.json``. Infinities are texts.

    Attributes:
        mean: of observations, as nested lists; for a Dict observation one for each normalised key; None for none.
        var: their variance, likewise.
        count: observations that they are of, likewise a number for each key.
        epsilon: added to variances.
        clip_obs: the largest size of a scaled observation.
        reward_mean: of discounted returns.
        reward_var: likewise.
        reward_count: likewise.
        clip_reward: the largest size of a scaled reward.
        gamma: discount of those returns.
        norm_reward: whether rewards are scaled.
        outside: names of the wrappers around the ``VecNormalize``, outermost first.
    """

    mean: Any
    var: Any
    count: Any = None
    epsilon: _Positive = 1e-8
    clip_obs: _Positive | str = 10.0
    reward_mean: float = 0.0
    reward_var: _NotNegative = 1.0
    reward_count: _NotNegative | None = None
    clip_reward: _Positive | str = 10.0
    gamma: float = 0.99
    norm_reward: bool = True
    outside: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=20)] = []


def describe(normalizer: VecNormalize) -> dict[str, Any]:
    """What :func:`read` reads."""
    # A VecNormalize that leaves observations alone has no moments of them.
    rms = normalizer.obs_rms if normalizer.norm_obs else None
    return {
        **{name: _of(rms, name) for name in ("mean", "var", "count")},
        "epsilon": normalizer.epsilon,
        "clip_obs": _limit(normalizer.clip_obs),
        "reward_mean": float(normalizer.ret_rms.mean),
        "reward_var": float(normalizer.ret_rms.var),
        "reward_count": float(normalizer.ret_rms.count),
        "clip_reward": _limit(normalizer.clip_reward),
        "gamma": normalizer.gamma,
        "norm_reward": normalizer.norm_reward,
    }


def _of(rms: Any, name: str) -> Any:
    """``mean``, ``var`` or ``count`` of one set of moments, or of one for each key."""
    if isinstance(rms, dict):
        return {key: _of(part, name) for key, part in rms.items()}
    return None if rms is None else np.asarray(getattr(rms, name), dtype=np.float64).tolist()


def _limit(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """Scales observations by the moments they had at training.

    Attributes:
        moments: mean and variance of each normalised key of a Dict observation; of an array under the key None.
        epsilon: added to the variance.
        clip_obs: the largest size of what comes out.
    """

    moments: dict[str | None, tuple[Numbers, Numbers]]
    epsilon: float
    clip_obs: float

    def __call__(self, observation: Any) -> Any:
        """As ``VecNormalize.normalize_obs``, of an array or a dict of them."""
        if isinstance(observation, dict):
            return {key: self._scaled(key, part) for key, part in observation.items()}
        return self._scaled(None, observation)

    def _scaled(self, key: str | None, observation: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if key not in self.moments:
            return observation
        mean, var = self.moments[key]
        scaled = (observation - mean) / np.sqrt(var + self.epsilon)
        clipped: np.ndarray[Any, Any] = np.clip(scaled, -self.clip_obs, self.clip_obs).astype(np.float32)
        return clipped


def read(content: bytes) -> Moments:
    """``normalizer.json``.

    Raises:
        DescriptionError: it says something else.
    """
    # Schema 1 wrote an infinite limit as Python's json does, which JSON does not know.
    return checkpoint_schema.decode(content.replace(b": Infinity", b': "inf"'), Moments)


def build(moments: Moments, space: spaces.Space[Any]) -> Normalizer | None:
    """The scaling of observations of a space; None where they are left alone.

    Raises:
        DescriptionError: the moments are of other observations, or none that any could have.
    """
    if moments.mean is None:
        return None
    parts: dict[Any, spaces.Space[Any]] = dict(space.spaces) if isinstance(space, spaces.Dict) else {None: space}
    mean, var = (item if isinstance(space, spaces.Dict) else {None: item} for item in (moments.mean, moments.var))
    if not isinstance(mean, dict) or not isinstance(var, dict) or set(mean) != set(var) or not set(mean) <= set(parts):
        raise DescriptionError("its moments are of other keys than the observations have")
    pairs = {key: (_array(mean[key], parts[key]), _array(var[key], parts[key])) for key in mean}
    if any((variance < 0).any() for _, variance in pairs.values()):
        raise DescriptionError("a variance is negative")
    return Normalizer(pairs, moments.epsilon, number(moments.clip_obs))


def number(limit: float | str) -> float:
    """A limit that may be written as a text.

    Raises:
        DescriptionError: it is no limit.
    """
    if isinstance(limit, str) and limit != "inf":
        raise DescriptionError(f"a limit must be a number or 'inf', not {limit[:20]!r}")
    return float(limit)


def _array(nested: Any, space: spaces.Space[Any]) -> Numbers:
    try:
        array = np.array(nested, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DescriptionError("its moments are no numbers") from error
    if array.shape != space.shape or not np.isfinite(array).all():
        raise DescriptionError(
            f"moments of shape {array.shape}, not all finite perhaps; observations have {space.shape}"
        )
    return array
