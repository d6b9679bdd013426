"""What a checkpoint says of Gymnasium environments: an id and parameters, where these say all there is to them."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

Description = dict[str, Any]  # {"id": as gymnasium.make takes it, "parameters": its keyword arguments}

# Layers that `gymnasium.make`, rl_zoo3 or a training puts around an environment, and that change nothing of the task.
_NEUTRAL_LAYERS = (
    *("TimeLimit", "PatchedTimeLimit", "OrderEnforcing", "PassiveEnvChecker"),
    *("Monitor", "RecordEpisodeStatistics", "EpisodeMonitor", "Recorder"),
)


def describe(venv: VecEnv) -> dict[str, Description | None]:
    """What ``rltrack.json`` says of a ``VecEnv`` of Gymnasium environments; nothing where no id says all of it.

    Args:
        venv: any ``VecEnv``; SB3's ``DummyVecEnv`` is looked into.
    """
    envs = getattr(venv, "envs", None)
    return {"scenario": None, "env": describe_env(envs[0]) if envs else None}


def describe_env(env: gym.Env[Any, Any]) -> Description | None:
    """The id and the parameters of an environment; None if it is more than these, such as one in a reward wrapper."""
    layer = env
    while isinstance(layer, gym.Wrapper):
        if type(layer).__name__ not in _NEUTRAL_LAYERS:
            return None
        layer = layer.env
    spec = layer.spec
    registered = gym.registry.get(spec.id) if spec is not None else None
    if spec is None or registered is None:
        return None
    missing = object()
    given = {
        name: value
        for name, value in spec.kwargs.items()
        if name != "render_mode" and registered.kwargs.get(name, missing) != value
    }
    if time_limit(env) != registered.max_episode_steps:
        given["max_episode_steps"] = time_limit(env)
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return {"id": spec.id, "parameters": given}


def time_limit(env: gym.Env[Any, Any]) -> int | None:
    """Steps after which an episode is truncated; None where no ``TimeLimit`` says so."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None
