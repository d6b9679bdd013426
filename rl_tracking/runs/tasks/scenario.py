"""A task that is a scenario of this package or of a plugin."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import limits, plugins
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import TrackingVecEnv, spaces_of
from rl_tracking.errors import UsageError
from rl_tracking.runs.tasks.base import Pilot
from rl_tracking.runs.tasks.metrics import SHARE, Metric, figures
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly, values

_BYTES_A_STEP = 2 * 11  # of an episode: distance, reward and three flags, as rows and stacked


@dataclasses.dataclass(frozen=True)
class ScenarioTask:
    """A scenario with its parameters; see :class:`rl_tracking.runs.tasks.base.Task` for what it answers."""

    scenario: Scenario

    metrics = (
        Metric("capture_rate", SHARE, success=True),
        Metric("time_in_radius", SHARE, headline=True),
        Metric("time_to_capture", "s", "down"),
        Metric("mean_distance", "m", "down"),
        Metric("return"),
    )
    controllers = ("random", "hover", "pure-pursuit", "lead-pursuit")
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
        said = [*([str(preset)] if preset else []), *([f"reward {reward}"] if reward else [])]
        return f"{self.name} ({', '.join(said)})" if said else self.name

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Of one world."""
        return spaces_of(self.scenario)[0]

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one world."""
        return spaces_of(self.scenario)[1]

    @property
    def max_steps(self) -> int:
        """The time limit of an episode."""
        return self.scenario.facts.max_steps

    def worlds(self, num_envs: int, seed: int, device: str = "cpu", *, must_restore: bool = True) -> VecEnv:
        """As tensors on the device; always restorable."""
        return TrackingVecEnv(self.scenario, num_envs, seed, device)

    def controller(self, name: str) -> Pilot:
        """One that reads the true state."""
        return ControllerPilot(name, plugins.resolve("controller", name), self.scenario.facts)

    def measure(self, pilot: Pilot, episodes: int, seed: int, skip: int = 0) -> dict[str, Any]:
        """``skip`` and the figures; all episodes are simulated at once.

        Raises:
            UsageError: an episode has no steps left, or memory does not hold so many episodes.
        """
        if not 0 <= skip < self.max_steps:
            raise UsageError(f"skip must lie in 0..{self.max_steps - 1}, the episode's steps, not {skip}")
        limits.require(
            episodes * self.max_steps * _BYTES_A_STEP,
            f"{episodes:,} episodes of {self.max_steps:,} steps",
            "ask for fewer",
        )
        flown = fly(Simulator(self.scenario), pilot, world_keys(seed, episodes))
        return {"skip": skip, **figures(self.metrics, values(flown, skip))}

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
