"""Getters and setters of the values that :mod:`rl_tracking.agents.saving.resuming` saves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec
import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize
from torch import Tensor

from rl_tracking.agents.collect.wrappers import branch_wrappers
from rl_tracking.agents.extensions.critic_calibration import CalibratedCriticWeight
from rl_tracking.agents.extensions.critic_weight import ExplainedCriticWeight
from rl_tracking.agents.saving.scalars import Scalar, from_scalar, to_scalar
from rl_tracking.errors import UsageError

Array = np.ndarray[Any, Any]
Arrays = dict[str, np.ndarray]  # of an observation that is no dictionary under ""


# -- worlds ------------------------------------------------------------------------------------------------------------


def why_not_saved(env: VecEnv | None) -> str | None:
    """Why some worlds cannot be saved, in one line; None if they can."""
    inner = cast(Any, getattr(env, "unwrapped", None))
    if not all(callable(getattr(inner, name, None)) for name in ("get_state", "set_state")):
        return f"the state of {type(inner).__name__} cannot be saved"
    try:
        branch_wrappers(cast(VecEnv, env))
    except UsageError:
        return "the state of a wrapper around the worlds is not known"
    return None


def worlds(model: Any) -> Any:
    """States of all worlds, a value; None where they cannot be saved."""
    return None if why_not_saved(model.env) is not None else model.env.unwrapped.get_state()


def worlds_to_bytes(states: Any) -> bytes | None:
    """States as bytes; None if they have no such form.

    Raises:
        UsageError: something in them has none.
    """
    if isinstance(states, bytes):
        return states
    if states is None or not all(callable(getattr(type(states), name, None)) for name in ("to_bytes", "from_bytes")):
        return None
    return cast(bytes, states.to_bytes())


def put_worlds(model: Any, states: Any) -> None:
    """Put states back, or begin new episodes where none were saved."""
    env = model.env.unwrapped
    if states is None:
        # A seed of its own, or the training would repeat its first episodes.
        env.seed((model.seed or 0) + model.num_timesteps + 1)
        model._last_obs = None
        return
    # A seed that waits for a reset would otherwise take effect after the restore.
    env.reset()
    if isinstance(states, bytes):
        states = type(env.get_state()).from_bytes(states)
    env.set_state(states)


def observation(model: Any) -> Any:
    """The last observation: an array or tensor, or a dict of arrays; None before the first one."""
    last = model._last_obs
    if isinstance(last, dict):
        return {key: part.copy() for key, part in last.items()}
    return last.clone() if isinstance(last, Tensor) else None if last is None else last.copy()


def put_observation(model: Any, value: Any) -> None:
    """Set it."""
    env = model.env
    on_device = getattr(env, "off_cpu", False) and env.unwrapped is env
    model._last_obs = torch.as_tensor(value, device=model.device) if on_device and value is not None else value


def _pack_observation(value: Any) -> Arrays | None:
    if value is None or isinstance(value, dict):
        return value
    return {"": value.cpu().numpy() if isinstance(value, Tensor) else value}


def _unpack_observation(value: Arrays | None) -> Any:
    return value[""] if value is not None and "" in value else value


ARRAYS = (_pack_observation, _unpack_observation)


def episode_starts(model: Any) -> Array | None:
    """In which worlds the last observation is an episode's first, ``[E]``."""
    starts = model._last_episode_starts
    return None if starts is None else np.array(starts)


def put_episode_starts(model: Any, value: Array | None) -> None:
    """Set them."""
    model._last_episode_starts = value


# -- wrappers ----------------------------------------------------------------------------------------------------------


class Moments(msgspec.Struct, forbid_unknown_fields=True):
    """Of a ``RunningMeanStd``."""

    mean: np.ndarray
    var: np.ndarray
    count: float


def _moments(rms: RunningMeanStd) -> Moments:
    return Moments(np.array(rms.mean), np.array(rms.var), float(rms.count))


def _set_moments(rms: RunningMeanStd, value: Moments) -> None:
    # NumPy would broadcast moments of another shape without a word.
    if value.mean.shape != np.shape(rms.mean) or value.var.shape != np.shape(rms.var):
        raise ValueError(f"moments of shape {list(value.mean.shape)}, not {list(np.shape(rms.mean))}")
    rms.mean, rms.var, rms.count = value.mean, value.var, value.count


def _observed(normalizer: VecNormalize) -> dict[str, RunningMeanStd]:
    rms = normalizer.obs_rms if normalizer.norm_obs else {}
    return rms if isinstance(rms, dict) else {"": rms}


def _of_normalizer(
    get: Callable[[VecNormalize], Any], put: Callable[[VecNormalize, Any], None]
) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    """Getter and setter of something of the ``VecNormalize`` around a model's worlds; None where there is none."""

    def get_of(model: Any) -> Any:
        normalizer = model.get_vec_normalize_env()
        return None if normalizer is None else get(normalizer)

    def put_into(model: Any, value: Any) -> None:
        normalizer = model.get_vec_normalize_env()
        if value is not None and normalizer is not None:
            put(normalizer, value)

    return get_of, put_into


def _put_observed(normalizer: VecNormalize, value: dict[str, Moments]) -> None:
    for key, rms in _observed(normalizer).items():
        _set_moments(rms, value[key])


# Of the observations by key, of the discounted returns, and those returns of the episodes under way, ``[E]``.
MOMENTS = _of_normalizer(lambda env: {key: _moments(rms) for key, rms in _observed(env).items()}, _put_observed)
REWARD_MOMENTS = _of_normalizer(lambda env: _moments(env.ret_rms), lambda env, value: _set_moments(env.ret_rms, value))
RETURNS = _of_normalizer(lambda env: env.returns.copy(), lambda env, value: setattr(env, "returns", value))


def _wrappers_of(env: Any) -> list[VecEnvWrapper]:
    found = []
    while isinstance(env, VecEnvWrapper):
        found.append(env)
        env = env.venv
    return found


def _remembered(wrapper: VecEnvWrapper) -> dict[str, Array]:
    """The arrays in which frame stacks and monitors keep state, by name; not copies."""
    if isinstance(wrapper, VecFrameStack):
        stacks = getattr(wrapper.stacked_obs, "sub_stacked_observations", {"": wrapper.stacked_obs})
        return {f"frames {key}": stack.stacked_obs for key, stack in stacks.items()}
    if isinstance(wrapper, VecMonitor):
        return {"returns": wrapper.episode_returns, "lengths": wrapper.episode_lengths}
    return {}


def wrappers(model: Any) -> list[dict[str, Array]]:
    """The state of frame stacks and monitors, outermost first."""
    found = (_remembered(wrapper) for wrapper in _wrappers_of(model.env))
    return [{name: array.copy() for name, array in each.items()} for each in found]


def put_wrappers(model: Any, value: list[dict[str, Array]]) -> None:
    """Set it."""
    for wrapper, arrays in zip(_wrappers_of(model.env), value, strict=True):
        if isinstance(wrapper, VecMonitor):
            # A monitor makes new arrays at a reset, and has none before.
            wrapper.episode_returns, wrapper.episode_lengths = arrays["returns"], arrays["lengths"]
            continue
        for name, live in _remembered(wrapper).items():
            np.copyto(live, arrays[name])


# -- statistics and what extensions learned ----------------------------------------------------------------------------


def episodes(model: Any) -> list[dict[str, Any]]:
    """Figures of the latest episodes."""
    return [dict(episode) for episode in model.ep_info_buffer or ()]


def put_episodes(model: Any, value: list[dict[str, Any]]) -> None:
    """Set it."""
    model.ep_info_buffer = deque((dict(episode) for episode in value), maxlen=model._stats_window_size)


def _pack_episodes(value: list[dict[str, Any]]) -> list[dict[str, Scalar]]:
    packed = [{name: to_scalar(number) for name, number in episode.items()} for episode in value]
    return [{name: scalar for name, scalar in episode.items() if scalar is not None} for episode in packed]


def _unpack_episodes(value: list[dict[str, Scalar]]) -> list[dict[str, Any]]:
    return [{name: from_scalar(scalar) for name, scalar in episode.items()} for episode in value]


EPISODES = (_pack_episodes, _unpack_episodes)


def successes(model: Any) -> list[Any]:
    """Which of the latest episodes were successes."""
    return list(model.ep_success_buffer or ())


def put_successes(model: Any, value: list[Any]) -> None:
    """Set them."""
    model.ep_success_buffer = deque(value, maxlen=model._stats_window_size)


SUCCESSES = (
    lambda value: [scalar for scalar in map(to_scalar, value) if scalar is not None],
    lambda value: [from_scalar(scalar) for scalar in value],
)


def activated_so_far(model: Any) -> Tensor | None:
    """Activated rewards of the episodes under way, ``[E]``."""
    return model._figures.so_far if hasattr(model, "_figures") else None


def put_activated_so_far(model: Any, value: Tensor | None) -> None:
    """Set them."""
    if hasattr(model, "_figures"):
        model._figures.so_far = None if value is None else value.to(model.device)


def activated_returns(model: Any) -> Tensor:
    """Activated returns of the latest episodes."""
    returns = model._figures.returns if hasattr(model, "_figures") else ()
    return torch.tensor(list(returns), dtype=torch.float64)


def put_activated_returns(model: Any, value: Tensor) -> None:
    """Set them."""
    if hasattr(model, "_figures"):
        model._figures.returns.clear()
        model._figures.returns.extend(value.tolist())


def critic_share(model: Any) -> float | None:
    """How far the critic counts, where that is learned."""
    weight = getattr(model, "critic_weight", None)
    return weight.share if isinstance(weight, ExplainedCriticWeight) else None


def put_critic_share(model: Any, value: float | None) -> None:
    """Set it."""
    if value is not None and isinstance(model.critic_weight, ExplainedCriticWeight):
        model.critic_weight.share = model.trusted_share = value


def critic_evidence(model: Any) -> list[float] | None:
    """What the critic's weight was calibrated by, where it is."""
    weight = getattr(model, "critic_weight", None)
    return weight.evidence if isinstance(weight, CalibratedCriticWeight) else None


def put_critic_evidence(model: Any, value: list[float] | None) -> None:
    """Set it."""
    if value is not None and isinstance(model.critic_weight, CalibratedCriticWeight):
        model.critic_weight.evidence = model.critic_evidence = value
