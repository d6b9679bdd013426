"""A task that is a scenario of this package or of a plugin."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import plugins
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.totals import Metric
from rl_tracking.envs.vec_env import TrackingVecEnv, require_memory
from rl_tracking.errors import UsageError
from rl_tracking.runs.intervals import figures
from rl_tracking.runs.tasks.base import Pilot, does_not_apply
from rl_tracking.runs.tasks.repeating import RepeatedStep, SavedStep, repeat_in_scenario
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly


@dataclasses.dataclass(frozen=True)
class ScenarioTask:
    """A scenario with its parameters; see :class:`rl_tracking.runs.tasks.base.Task` for what it answers."""

    scenario: Scenario

    closing_episodes = None
    normalize = False  # a scenario's sensors give observations of moderate size

    @property
    def name(self) -> str:
        """Of the scenario."""
        return self.scenario.name

    @property
    def parameters(self) -> dict[str, Any]:
        """All of the scenario's, the preset among them."""
        return self.scenario.parameters

    @property
    def names(self) -> dict[str, str]:
        """The scenario's name, and no environment."""
        return {"scenario": self.name, "env": ""}

    @property
    def known_parameters(self) -> tuple[str, ...]:
        """All of the scenario's."""
        return tuple(self.parameters)

    @property
    def title(self) -> str:
        """Scenario and preset."""
        return f"{self.name} {self.parameters.get('preset') or ''}".strip()

    @property
    def label(self) -> str:
        """Scenario and preset, for errors."""
        return f"scenario {self.title}"

    @property
    def summary(self) -> str:
        """Scenario, preset and reward."""
        preset, reward = (self.parameters.get(name) for name in ("preset", "reward"))
        given = [*([str(preset)] if preset else []), *([f"reward {reward}"] if reward else [])]
        return f"{self.name} ({', '.join(given)})" if given else self.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The scenario's, and the return."""
        return (*self.scenario.metrics, Metric("return"))

    @property
    def controllers(self) -> tuple[str, ...]:
        """Those that the scenario names."""
        return self.scenario.controllers

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Of one world."""
        return self.scenario.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one world."""
        return self.scenario.action_space

    @property
    def max_steps(self) -> int:
        """The time limit of an episode."""
        return self.scenario.max_steps

    def worlds(self, num_envs: int, seed: int, device: str = "cpu", *, must_restore: bool = True) -> VecEnv:
        """As tensors on the device; always restorable."""
        return TrackingVecEnv(self.scenario, num_envs, seed, device)

    def controller(self, name: str) -> Pilot:
        """One that reads the true state; those of other packages are taken to apply to every scenario.

        Raises:
            UsageError: one of this package that the scenario does not name.
        """
        if name not in self.controllers and plugins.names("controller").get(name) == "built-in":
            raise does_not_apply(self, name)
        return ControllerPilot(name, plugins.resolve("controller", name), self.scenario)

    def measure(self, pilot: Pilot, episodes: int, seed: int, skip: int = 0) -> dict[str, Any]:
        """``skip`` and the figures; all episodes are simulated at once.

        Raises:
            UsageError: an episode has no steps left, or memory does not hold so many episodes.
        """
        if not 0 <= skip < self.max_steps:
            raise UsageError(f"skip must lie in 0..{self.max_steps - 1}, the episode's steps, not {skip}")
        simulator = Simulator(self.scenario)
        require_memory(simulator, episodes, f"{episodes:,} episodes")
        flown = fly(simulator, pilot, world_keys(seed, episodes), skip)
        return {"skip": skip, **figures(self.metrics, flown.values())}

    def repeat(self, saved: SavedStep) -> RepeatedStep:
        """In all worlds of the saved state."""
        return repeat_in_scenario(self.scenario, saved)

    def identify(self) -> dict[str, Any]:
        """``scenario`` and ``preset``."""
        return {"scenario": self.name, "preset": self.parameters.get("preset")}

    def describe(self) -> dict[str, Any]:
        """The scenario's name and parameters; no environment."""
        return {"scenario": {"name": self.name, "parameters": self.parameters}, "env": None}

    def render(self, pilot: Pilot, seed: int, **outputs: Any) -> list[Any]:
        """By its scene."""
        written: list[Any] = plugins.resolve("viewer", "scene")(self, pilot, seed, **outputs)
        return written
