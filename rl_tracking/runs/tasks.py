"""A Gymnasium environment as something to train on: an id and its parameters, as one value."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.checked import CheckedVecEnv
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import NotRestorableError

# Layers that `gymnasium.make`, rl_zoo3 or a training puts around an environment, and that change nothing of the task.
_ADDED = (
    *("TimeLimit", "PatchedTimeLimit", "OrderEnforcing", "PassiveEnvChecker"),
    *("Monitor", "RecordEpisodeStatistics", "EpisodeMonitor"),
)
_ADDED_BY_REPLAY = ("Recorder",)


@dataclasses.dataclass(frozen=True)
class Task:
    """An environment by its id.

    Attributes:
        id: as ``gymnasium.make`` takes it.
        parameters: its keyword arguments.
    """

    id: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """One environment; observations that are tuples are flattened, as no policy reads those.

        Raises:
            UsageError: an unknown id, a missing package, or parameters it does not take.
        """
        try:
            made = registry.make(self.id, **{**self.parameters, **more})
        except UsageError:
            raise
        except Exception as error:  # whatever a constructor raises at parameters that it was not made for
            given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items()) or "none"
            text = " ".join(str(error).split())[:200]
            raise UsageError(f"environment '{self.id}' refuses its parameters ({given}): {text}") from error
        tuples = isinstance(made.observation_space, gym.spaces.Tuple)
        return gym.wrappers.FlattenObservation(made) if tuples else made

    def facts(self) -> Facts:
        """What it is like; makes one to see."""
        env = self.make()
        try:
            return Facts(env.observation_space, env.action_space, time_limit(env))
        finally:
            env.close()

    def worlds(self, num_envs: int, seed: int, *, must_restore: bool) -> VecEnv:
        """Many of them as a ``VecEnv``: restorable, or a plain one where it need not be and cannot be.

        Raises:
            NotRestorableError: it must be restorable and is not.
            UsageError: as :meth:`make`.
        """
        env: VecEnv
        self.make().close()  # says in one line what is wrong with it
        try:
            env = RestorableGymVecEnv(self.make, num_envs, seed)
        except NotRestorableError:
            if must_restore:
                raise
            env = CheckedVecEnv([lambda: Monitor(self.make()) for _ in range(num_envs)])
            env.seed(seed)
        env.task = self  # type: ignore[attr-defined]
        return env

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {"id": self.id, "parameters": self.parameters}

    @classmethod
    def of(cls, env: Any) -> Task | None:
        """The task of a ``VecEnv``; None unless its id and parameters say all there is to it."""
        known = getattr(env, "task", None)
        if isinstance(known, cls):
            return known
        worlds = getattr(env, "envs", None)
        return _read(worlds[0]) if worlds else None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What an environment is like; ``max_steps`` is None where there is no time limit."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    max_steps: int | None


def time_limit(env: gym.Env[Any, Any]) -> int | None:
    """Steps after which an episode is truncated, where a ``TimeLimit`` says so."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None


def _read(env: gym.Env[Any, Any]) -> Task | None:
    """The task of an environment that somebody else made."""
    layer = env
    while isinstance(layer, gym.Wrapper):
        if type(layer).__name__ not in (*_ADDED, *_ADDED_BY_REPLAY):
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
    return Task(spec.id, given)
