"""The ``VecNormalize`` that a policy was trained under: its moments as JSON, as a scaling, and around an env again."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import numpy as np
from gymnasium import spaces
from msgspec import Meta, Struct
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    unwrap_vec_normalize,
)

from rl_tracking.agents.saving import checkpoint_schema
from rl_tracking.agents.saving.checkpoint_schema import DescriptionError
from rl_tracking.errors import UsageError

MOMENTS = "vec_normalize_moments"  # attribute of a saved model, which SB3's own load() puts back, too

_HARMLESS = (VecMonitor, VecCheckNan)  # wrappers that show what they are shown

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
    # Shapes against the space, and no negative variance, whose root would be NaN.
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


# -- of a model and its environment ------------------------------------------------------------------------------------


def saved_moments(model: Any) -> Moments | None:
    """The moments that a model was saved with and that no environment holds; None if there are none.

    Raises:
        UsageError: they are no moments.
    """
    plain = getattr(model, MOMENTS, None)
    if plain is None:
        return None
    try:
        moments: Moments = checkpoint_schema.convert(plain, Moments)
    except DescriptionError as error:
        raise UsageError(f"this model was saved with moments that cannot be read: {error}") from error
    return moments


def saved_scaling(model: Any) -> Normalizer | None:
    """The scaling of observations by :func:`saved_moments`; None if there is none.

    Raises:
        UsageError: they are no moments, or of other observations.
    """
    moments = saved_moments(model)
    try:
        return None if moments is None else build(moments, model.observation_space)
    except DescriptionError as error:
        raise UsageError(f"this model was saved with moments that do not fit its observations: {error}") from error


def moments_of(model: Any) -> dict[str, Any] | None:
    """What a checkpoint keeps of the ``VecNormalize`` of a model's environment, or else what it was saved with."""
    # The env's own first: a loaded model keeps the saved ones only until it has an env.
    found = model.get_vec_normalize_env()
    if found is not None:
        return {**describe(found), "outside": _outside(model.env)}
    saved: dict[str, Any] | None = getattr(model, MOMENTS, None)
    return saved


def put_around(env: VecEnv, moments: Moments) -> VecEnv:
    """``env`` in a ``VecNormalize`` with these moments, which it continues to update.

    It comes where it was at training: inside a ``VecFrameStack``, if that was around it. A ``VecNormalize`` in ``env``
    that was not used yet is given the moments; one that was stays as it is.

    Raises:
        UsageError: the moments are of other observations, or the wrappers around them are missing.
    """
    present = unwrap_vec_normalize(env)
    if present is not None:
        if present.ret_rms.count < 1.0:  # SB3 begins with a count of 1e-4
            _fill(present, moments)
        return env
    # Go down through the wrappers that were around it at training; a VecNormalize outside of them sees other numbers.
    holder: VecEnvWrapper | None = None
    inner = env
    for name in moments.outside:
        while isinstance(inner, _HARMLESS):
            holder, inner = inner, inner.venv
        if type(inner).__name__ != name or not isinstance(inner, VecEnvWrapper):
            raise UsageError(
                f"this model was trained under a VecNormalize inside a {name}, which this environment lacks; "
                f"wrap the environment in {' around '.join(moments.outside)} as at training"
            )
        holder, inner = inner, inner.venv
    made = _made(inner, moments)
    if holder is None:
        return made
    holder.venv = made
    return env


def _made(env: VecEnv, moments: Moments) -> VecNormalize:
    keys = list(moments.mean) if isinstance(moments.mean, dict) else None
    try:
        made = VecNormalize(
            env,
            norm_obs=moments.mean is not None,
            norm_reward=moments.norm_reward,
            clip_obs=number(moments.clip_obs),
            clip_reward=number(moments.clip_reward),
            gamma=moments.gamma,
            epsilon=moments.epsilon,
            norm_obs_keys=keys,
        )
    except (ValueError, KeyError, DescriptionError) as error:
        raise UsageError(f"the VecNormalize of this model does not fit the environment: {error}") from error
    _fill(made, moments)
    return made


def _fill(env: VecNormalize, moments: Moments) -> None:
    """Give a normaliser its moments, with the counts that say how much they weigh against what is still to come."""
    try:
        scaling = build(moments, env.observation_space)
    except DescriptionError as error:
        raise UsageError(f"the VecNormalize of this model does not fit the environment: {error}") from error
    if (scaling is not None) is not env.norm_obs:
        raise UsageError("the VecNormalize of this model and that of the environment differ in norm_obs")
    for key, (mean, var) in (scaling.moments if scaling is not None else {}).items():
        rms: Any = env.obs_rms if key is None else env.obs_rms[key]
        _set(rms, mean, var, moments.count if key is None else (moments.count or {}).get(key))
    _set(env.ret_rms, np.float64(moments.reward_mean), np.float64(moments.reward_var), moments.reward_count)


def _set(rms: RunningMeanStd, mean: Any, var: Any, count: Any) -> None:
    rms.mean, rms.var = mean, var
    if count is not None:
        rms.count = float(count)


def _outside(env: VecEnv) -> list[str]:
    """Names of the wrappers around the ``VecNormalize``, outermost first."""
    names = []
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        if not isinstance(env, _HARMLESS):
            names.append(type(env).__name__)
        env = env.venv
    return names
