"""A task that is a Gymnasium environment: an id and its parameters, as one value."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import plugins
from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.checked_vec_env import CheckedVecEnv
from rl_tracking.adapters.describing import time_limit
from rl_tracking.agents.controllers import options
from rl_tracking.envs.totals import SHARE, Metric
from rl_tracking.errors import UsageError, brief
from rl_tracking.restoring.protocol import NotRestorableError
from rl_tracking.runs.intervals import figures
from rl_tracking.runs.tasks.base import Pilot, does_not_apply
from rl_tracking.runs.tasks.environment_episodes import RandomPilot, run_episodes
from rl_tracking.runs.tasks.repeating import RepeatedStep, SavedStep, repeat_in_environment

METRICS = (
    Metric("return", headline=True),
    Metric("success_rate", unit=SHARE, success=True),
    Metric("episode_length", unit="steps"),
)


@dataclasses.dataclass(frozen=True)
class GymnasiumTask:
    """An environment by its id; see :class:`rl_tracking.runs.tasks.base.Task` for what it answers.

    Attributes:
        name: the id, as ``gymnasium.make`` takes it.
        parameters: its keyword arguments.
    """

    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)

    metrics = METRICS
    controllers = baselines = ("random",)
    known_parameters = None  # keyword arguments of a constructor
    closing_episodes = 20  # an environment takes its steps one by one

    @property
    def names(self) -> dict[str, str]:
        """The environment's id, and no scenario."""
        return {"scenario": "", "env": self.name}

    @property
    def title(self) -> str:
        """The id."""
        return self.name

    @property
    def label(self) -> str:
        """The id, for errors."""
        return f"environment '{self.name}'"

    @property
    def summary(self) -> str:
        """The id with the parameters."""
        given = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.name} ({given})" if given else self.name

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """One environment; observations that are tuples are flattened, as no policy reads those.

        Raises:
            UsageError: an unknown id, a missing package, or parameters it does not take.
        """
        try:
            made = registry.make(self.name, **{**self.parameters, **more})
        except UsageError:
            raise
        except Exception as error:  # whatever a constructor raises at parameters that it was not made for
            given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items()) or "none"
            raise UsageError(f"environment '{self.name}' refuses its parameters ({given}): {brief(error)}") from error
        tuples = isinstance(made.observation_space, gym.spaces.Tuple)
        return gym.wrappers.FlattenObservation(made) if tuples else made

    @functools.cached_property
    def _spaces(self) -> tuple[gym.Space[Any], gym.Space[Any], int | None]:
        """Of observations and of actions, and the time limit; an environment is made to see."""
        env = self.make()
        try:
            return env.observation_space, env.action_space, time_limit(env)
        finally:
            env.close()

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Of one environment."""
        return self._spaces[0]

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one environment."""
        return self._spaces[1]

    @property
    def max_steps(self) -> int | None:
        """The time limit of an episode; None without one."""
        return self._spaces[2]

    @property
    def normalize(self) -> bool:
        """Where both observations and actions are rows of numbers."""
        pair = self.observation_space, self.action_space
        return all(isinstance(space, spaces.Box) and len(space.shape) == 1 for space in pair)

    def worlds(self, num_envs: int, seed: int, device: str = "cpu", *, must_restore: bool = True) -> VecEnv:
        """Many of them as a ``VecEnv``: restorable, or a plain one where it need not be and cannot be.

        Raises:
            NotRestorableError: it must be restorable and is not.
            UsageError: as :meth:`make`.
        """
        self.make().close()  # says in one line what is wrong with it
        description = self.describe()["env"]
        try:
            return RestorableGymVecEnv(self.make, num_envs, seed, described_as=description)
        except NotRestorableError:
            if must_restore:
                raise
        env = CheckedVecEnv([lambda: Monitor(self.make()) for _ in range(num_envs)], description)
        env.seed(seed)
        return env

    def check_first_step(self) -> None:
        """Nothing: environments are tried when their worlds are made, and checked at every step."""

    def controller(self, name: str) -> Pilot:
        """``random`` samples the action space.

        Raises:
            UsageError: any other one; they read the state of a scenario.
        """
        bare = options.check(name)
        if bare not in self.controllers:
            raise does_not_apply(self, bare)
        return RandomPilot()

    def measure(self, pilot: Pilot, episodes: int, seed: int, skip: int = 0) -> dict[str, Any]:
        """``return``, ``episode_length`` and, where infos say ``is_success``, ``success_rate``.

        Episode i is seeded with ``seed + i``.

        Raises:
            UsageError: steps are to be skipped.
        """
        if skip:
            raise UsageError(f"skip is for scenarios; in {self.label} every step counts")
        return figures(self.metrics, run_episodes(pilot, self.make, episodes, seed))

    def bound(self, episodes: int, seed: int, skip: int = 0) -> None:
        """Nothing is known of the best policy in an environment."""
        return

    def repeat(self, saved: SavedStep) -> RepeatedStep:
        """In one environment."""
        return repeat_in_environment(self.worlds(1, 0), saved, self.label)

    def identify(self) -> dict[str, Any]:
        """``env`` and ``parameters``."""
        return {"env": self.name, "parameters": self.parameters}

    def describe(self) -> dict[str, Any]:
        """The environment's id and parameters; no scenario."""
        return {"scenario": None, "env": {"id": self.name, "parameters": self.parameters}}

    def render(self, pilot: Pilot, seed: int, **outputs: Any) -> list[Any]:
        """By the pictures that the environment renders."""
        written: list[Any] = plugins.resolve("viewer", "pictures")(self, pilot, seed, **outputs)
        return written
