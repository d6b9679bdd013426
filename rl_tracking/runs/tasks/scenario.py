"""A task that is a scenario of this package or of a plugin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import plugins
from rl_tracking.agents.controllers import options
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.checked_scenario import CheckedScenario, checked_scenario
from rl_tracking.envs.simulator import Simulator, require_memory, world_keys
from rl_tracking.envs.totals import Metric
from rl_tracking.envs.vec_env import TrackingVecEnv
from rl_tracking.errors import StepError, UsageError, is_plugin, naming
from rl_tracking.runs.intervals import figures
from rl_tracking.runs.tasks.base import Pilot, does_not_apply
from rl_tracking.runs.tasks.repeating import RepeatedStep, SavedStep, repeat_in_scenario
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly


class ScenarioTask:
    """A scenario with its parameters; see :class:`rl_tracking.runs.tasks.base.Task` for what it answers."""

    closing_episodes = None
    normalize = False  # a scenario's sensors give observations of moderate size

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.name, self.parameters, self.max_steps = scenario.name, scenario.parameters, scenario.max_steps
        self.names, self.known_parameters = {"scenario": self.name, "env": ""}, tuple(self.parameters)
        self.observation_space, self.action_space = scenario.observation_space, scenario.action_space
        self.controllers, self.metrics = scenario.controllers, (*scenario.metrics, Metric("return"))
        self.baselines = tuple(name for name in self.controllers if name not in options.PLANNERS)

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

    def worlds(self, num_envs: int, seed: int, device: str = "cpu", *, must_restore: bool = True) -> VecEnv:
        """As tensors on the device; always restorable."""
        return TrackingVecEnv(self.scenario, num_envs, seed, device)

    def check_first_step(self) -> None:
        """In two worlds, with every answer checked; those of other packages are checked at every step."""
        if not is_plugin(self.scenario):
            _check_first_step(self.scenario)

    def controller(self, name: str) -> Pilot:
        """One that reads the true state; those of other packages are taken to apply to every scenario.

        Raises:
            UsageError: one of this package that the scenario does not name.
        """
        bare = options.check(name)
        if bare not in self.controllers and plugins.names("controller").get(bare) == "built-in":
            raise does_not_apply(self, bare)
        return ControllerPilot(name, options.make(name), checked_scenario(self.scenario))

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

    def bound(self, episodes: int, seed: int, skip: int = 0) -> dict[str, Any] | None:
        """Of the metrics that the scenario has a bound of; see ``bound`` in :class:`rl_tracking.envs.base.Scenario`."""
        answer = getattr(self.scenario, "bound", None)
        if answer is None:
            return None
        with naming(f"scenario '{self.name}' in bound()"):
            values = answer(world_keys(seed, episodes), skip)
        if values is None:
            return None
        return figures(self.metrics, {name: value[~value.isnan()].cpu().numpy() for name, value in values.items()})

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


def _check_first_step(scenario: Scenario) -> None:
    """Make one step of two worlds with every answer of the scenario checked.

    Where a reward or a motion of another package fails instead, the training says so, and keeps what repeats the step.
    """
    simulator = Simulator(CheckedScenario(scenario))
    try:
        state = simulator.initial(world_keys(0, 2))
        simulator.observation(state)
        action = np.zeros((2, *simulator.action_shape), scenario.action_space.dtype)
        simulator.scenario.scene(simulator.transition(state, torch.from_numpy(action)).after)
    except StepError as error:
        if error.problem.startswith(f"scenario '{scenario.name}'"):
            raise
