"""Intercept: pursuers search for a target that they see from near only, and catch it.

Presets: ``drone`` (the default; drones with inertia and a wandering target) and ``sandbox`` (the paper author's world:
displacements of up to 10 units an axis in an arena of 500, a stationary target, history observation). Action,
observation, reward, start, end and metrics are in ``docs/scenarios/intercept.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import Tensor

from rl_tracking.envs.base import new_episode
from rl_tracking.envs.geometry import length
from rl_tracking.envs.noise import next_episode
from rl_tracking.envs.operations import constant, int_constant
from rl_tracking.envs.parts.checked_motion import warn_of_cuts
from rl_tracking.envs.parts.exploration import Grid
from rl_tracking.envs.parts.flight import Flight, remembered, repeated_record, reward_of
from rl_tracking.envs.parts.sensors import OBSERVATION_LIMIT, relative
from rl_tracking.envs.scenarios.intercept.metrics import METRICS, measures
from rl_tracking.envs.scenarios.intercept.parameters import InterceptParameters, intercept_parameters
from rl_tracking.envs.scenarios.intercept.scene import scene
from rl_tracking.envs.scenarios.intercept.sensors import InterceptHistory, InterceptSensor, LastSeen
from rl_tracking.envs.scenarios.intercept.spawn import pursuer_spawn
from rl_tracking.envs.scenarios.intercept.state import InterceptState
from rl_tracking.envs.scenarios.intercept.step import InterceptFacts, InterceptStep
from rl_tracking.envs.scene import Scene


def make_intercept(preset: str = "drone", **parameters: Any) -> Intercept:
    """Pursuers search for a target that they see from near only, and catch it.

    Args:
        preset: ``drone`` or ``sandbox``.
        **parameters: of :class:`InterceptParameters`, in place of the preset's.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    made = Intercept(intercept_parameters({**parameters, "preset": preset}))
    warn_of_cuts(made.flight.motion, made.flight.of_target)
    return made


class Intercept:
    """The scenario; see :class:`InterceptParameters` for what can be set."""

    name = "intercept"
    declared = InterceptParameters
    state_class = InterceptState
    shared_reward = True
    metrics = METRICS
    controllers = ("random", "hover", "lawn-mower", "pure-pursuit", "lead-pursuit", "pronav")

    def __init__(self, values: InterceptParameters, device: torch.device | str = "cpu") -> None:
        self._values = values
        self.parameters: dict[str, Any] = msgspec.to_builtins(values)
        self.dt, self.max_steps = values.dt, values.max_steps
        self.flight = Flight(values, device)
        self.reward_terms = reward_of(values.reward, self.name, InterceptStep)
        self.facts = InterceptFacts(
            **self.flight.facts(),
            capture_radius=values.capture_radius,
            author_bugs=values.author_bugs,
            sight_range=values.sight_range,
            grid=Grid.over(values.arena_size, values.cell_size, values.dimensions),
            pairs=torch.triu_indices(values.pursuers, values.pursuers, 1, device=device),
        )
        self.sensor = _sensor(values, self.flight, self.facts)
        size = self.sensor.size(values.pursuers, values.dimensions)
        self.observation_space, self.action_space = self.flight.spaces(size, OBSERVATION_LIMIT)
        self.agents = tuple(f"pursuer_{number}" for number in range(values.pursuers))

    def on(self, device: torch.device | str) -> Intercept:
        """The same scenario with its constants on ``device``."""
        return self if self.facts.pairs.device == torch.device(device) else Intercept(self._values, device)

    def initial(self, key: Tensor, episode: Tensor) -> InterceptState:
        """The worlds at step 0; the target may be in sight already."""
        target = self.flight.target_spawn(key)
        position = pursuer_spawn(self._values, self.flight.arena, key)
        visited, counts = self.facts.grid.start(position)
        visible = self._sees(position, target.position)
        longest = torch.full_like(target.position[:, 0], self.max_steps * self.dt)
        wide = visible.unsqueeze(-1)
        state = InterceptState(
            **new_episode(key, episode),
            **self.flight.start(position, target),
            visible=visible,
            seen_position=torch.where(wide, target.position, self.flight.arena.centre),
            seen_velocity=torch.where(wide, target.velocity, 0.0),
            since_seen=longest.masked_fill(visible, 0.0),
            visited=visited,
            visited_of_block=counts,
        )
        return self._remembering(state)

    def restart(self, state: InterceptState) -> InterceptState:
        """The next episode of every world; with ``author_bugs`` its history says where this one ended."""
        fresh = self.initial(next_episode(state.key), state.episode + 1)
        return self._remembering(fresh, state.position) if self._values.author_bugs else fresh

    def transition(self, state: InterceptState, action: Tensor) -> InterceptState:
        """Pursuers and target move; then the pursuers look, and remember where they are."""
        after = state.replace(**self.flight.move(state, action))
        visible = self._sees(after.position, after.target_position)
        wide = visible.unsqueeze(-1)
        longer = (state.since_seen + constant(self.dt)).clamp(max=self.max_steps * self.dt)
        visited, counts = self.facts.grid.visit(state.visited, state.visited_of_block, after.position)
        after = after.replace(
            visible=visible,
            seen_position=torch.where(wide, after.target_position, state.seen_position),
            seen_velocity=torch.where(wide, after.target_velocity, state.seen_velocity),
            since_seen=longer.masked_fill(visible, 0.0),
            visited=visited,
            visited_of_block=counts,
        )
        if state.history.shape[1]:
            after = after.replace(history=remembered(state.history, self.sensor.record(after)))
        return after

    def step(self, before: InterceptState, action: Tensor, after: InterceptState) -> InterceptStep:
        """The step with what was seen in it."""
        return InterceptStep.of(before=before, action=after.action, after=after, facts=self.facts)

    def observation(self, state: InterceptState) -> Tensor:
        """What the sensor sees, ``[B, O]``."""
        return self.sensor.observe(state)

    def reward(self, step: InterceptStep) -> dict[str, Tensor]:
        """The terms of the reward."""
        return self.reward_terms(step)

    def terminal(self, step: InterceptStep) -> Tensor:
        """Whether the target is captured; with ``author_bugs`` the time limit is a termination too."""
        ends = step.captured if self._values.capture_terminates else torch.zeros_like(step.captured)
        return ends | (step.after.step >= int_constant(self.max_steps)) if self._values.author_bugs else ends

    def measures(self, step: InterceptStep) -> dict[str, Tensor]:
        """See :func:`rl_tracking.envs.scenarios.intercept.metrics.measures`."""
        return measures(step)

    def scene(self, state: InterceptState) -> Scene:
        """See :func:`rl_tracking.envs.scenarios.intercept.scene.scene`."""
        return scene(self.facts, state)

    def _sees(self, position: Tensor, target: Tensor) -> Tensor:
        """Whether some pursuer sees the target, ``[B]`` bool."""
        nearest = length(target.unsqueeze(1) - position).amin(dim=-1)
        seen: Tensor = nearest <= constant(self._values.sight_range)
        return seen

    def _remembering(self, state: InterceptState, position: Tensor | None = None) -> InterceptState:
        """The start of an episode whose history says that pursuers have always been at ``position``, or here."""
        if self._values.sensor != "history":
            return state
        record = self.sensor.record(state if position is None else state.replace(position=position))
        return state.replace(history=repeated_record(record, self._values.history_steps))


def _sensor(values: InterceptParameters, flight: Flight, facts: InterceptFacts) -> InterceptSensor:
    if values.sensor == "history":
        return InterceptHistory(flight.arena, values.history_steps)
    scale = flight.dynamics.acceleration_limit if values.dynamics == "drone" else None
    seen = relative(flight.arena, values.capture_radius, flight.dynamics.speed_limit, scale)
    return LastSeen(seen, flight.arena, facts.grid, values.max_steps * values.dt)
