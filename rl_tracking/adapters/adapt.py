"""The adapter of Gymnasium environments that :mod:`rl_tracking.plugins` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.stacks import CHECKING_WRAPPERS, Env
from rl_tracking.adapters.usable import maker_of


def adapt(env: str | Env | Callable[[], Env] | DummyVecEnv) -> Any:
    """A restorable ``VecEnv`` of an environment.

    An environment with ``to_vec`` becomes the batch of one world that this returns, unless a wrapper around it keeps
    state; every other goes into a :class:`RestorableGymVecEnv`.

    Args:
        env: a registered id, an environment, a function that makes one, or a ``DummyVecEnv`` of some.

    Raises:
        NotRestorableError: its state cannot be saved and restored; it says why.
        UsageError: an unknown id.
    """
    if isinstance(env, DummyVecEnv):
        return RestorableGymVecEnv.of(env)
    if isinstance(env, gym.Env):
        return _own_batch(env) or RestorableGymVecEnv(env)
    _, made = maker_of(env, {})
    own = _own_batch(made)
    made.close()
    return own or RestorableGymVecEnv(env)


def _own_batch(env: Env) -> Any:
    """The batch of one world that the environment makes itself; None if it makes none or a wrapper keeps state."""
    layer: Any = env
    while type(layer).__name__ in CHECKING_WRAPPERS:
        layer = layer.env
    if isinstance(layer, gym.Wrapper) or not callable(getattr(layer, "to_vec", None)):
        return None
    return layer.to_vec()
