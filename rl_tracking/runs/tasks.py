"""A Gymnasium environment as something to train on: an id and its parameters, as one value."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.checked import CheckedVecEnv
from rl_tracking.adapters.describing import describe, time_limit
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import NotRestorableError


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
            env = RestorableGymVecEnv(self.make, num_envs, seed, described_as=self.to_dict())
        except NotRestorableError:
            if must_restore:
                raise
            env = CheckedVecEnv([lambda: Monitor(self.make()) for _ in range(num_envs)], self.to_dict())
            env.seed(seed)
        return env

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {"id": self.id, "parameters": self.parameters}

    @classmethod
    def of(cls, env: Any) -> Task | None:
        """The environment of a ``VecEnv``; None unless its id and parameters say all there is to it."""
        said = (getattr(env, "describe", None) or functools.partial(describe, env))()["env"]
        return None if said is None else cls(said["id"], said["parameters"])


@dataclasses.dataclass(frozen=True)
class Facts:
    """What an environment is like; ``max_steps`` is None where there is no time limit."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    max_steps: int | None
