"""The ``VecNormalize`` that a policy was trained under, put around an environment again: moments, counts and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    unwrap_vec_normalize,
)

from rl_tracking.agents.saving import checkpoint_schema, normalizer
from rl_tracking.agents.saving.checkpoint_schema import DescriptionError
from rl_tracking.agents.saving.normalizer import Moments, Normalizer
from rl_tracking.errors import UsageError

MOMENTS = "vec_normalize_moments"  # attribute of a saved model, which SB3's own load() puts back, too

_HARMLESS = (VecMonitor, VecCheckNan)  # wrappers that show what they are shown


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
        return None if moments is None else normalizer.build(moments, model.observation_space)
    except DescriptionError as error:
        raise UsageError(f"this model was saved with moments that do not fit its observations: {error}") from error


def moments_of(model: Any) -> dict[str, Any] | None:
    """What a checkpoint keeps of the ``VecNormalize`` of a model's environment, or else what it was saved with."""
    found = model.get_vec_normalize_env()
    if found is not None:
        return {**normalizer.describe(found), "outside": _outside(model.env)}
    saved: dict[str, Any] | None = getattr(model, MOMENTS, None)
    return saved


def put_around(env: VecEnv, moments: Moments) -> VecEnv:
    """``env`` in a ``VecNormalize`` with these moments, which goes on learning them.

    It comes where it was at training: inside a ``VecFrameStack``, if that was around it. A ``VecNormalize`` in ``env``
    that has not seen anything yet is given the moments; one that has stays as it is.

    Raises:
        UsageError: the moments are of other observations, or the wrappers around them are missing.
    """
    present = unwrap_vec_normalize(env)
    if present is not None:
        if present.ret_rms.count < 1.0:  # SB3 begins with a count of 1e-4
            _fill(present, moments)
        return env
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
            clip_obs=normalizer.number(moments.clip_obs),
            clip_reward=normalizer.number(moments.clip_reward),
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
        scaling = normalizer.build(moments, env.observation_space)
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
