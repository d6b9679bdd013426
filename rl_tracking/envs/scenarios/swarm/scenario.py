"""Swarm: pursuers keep a commanded formation about a moving target.

Presets: ``drone`` (the default; drones with inertia about a wandering target) and ``sandbox`` (the paper author's
world: displacements of up to 10 units an axis in an arena of 500, `cube` motion, history observation). Action,
observation, reward, start, end and metrics are in ``docs/scenarios/swarm.md``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import torch
from torch import Tensor

from rl_tracking.envs.base import new_episode
from rl_tracking.envs.noise import next_episode
from rl_tracking.envs.operations import int_constant
from rl_tracking.envs.parts.checked_motion import warn_of_cuts
from rl_tracking.envs.parts.flight import Flight, remembered, repeated_record, reward_of
from rl_tracking.envs.parts.formations import FORMATIONS, slots
from rl_tracking.envs.parts.motions import Cube
from rl_tracking.envs.parts.sensors import OBSERVATION_LIMIT, History, relative
from rl_tracking.envs.scenarios.swarm.metrics import METRICS, measures
from rl_tracking.envs.scenarios.swarm.parameters import SwarmParameters, swarm_parameters
from rl_tracking.envs.scenarios.swarm.scene import scene
from rl_tracking.envs.scenarios.swarm.sensors import RelativeSlots, SwarmHistory, SwarmSensor
from rl_tracking.envs.scenarios.swarm.spawn import formation, pursuer_spawn
from rl_tracking.envs.scenarios.swarm.state import SwarmState
from rl_tracking.envs.scenarios.swarm.step import SwarmFacts, SwarmStep
from rl_tracking.envs.scene import Scene


def make_swarm(preset: str = "drone", **parameters: Any) -> Swarm:
    """Pursuers keep a commanded formation about a moving target.

    Args:
        preset: ``drone`` or ``sandbox``.
        **parameters: of :class:`SwarmParameters`, in place of the preset's.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    made = Swarm(swarm_parameters({**parameters, "preset": preset}))
    warn_of_cuts(made.flight.motion, made.flight.of_target)
    return made


class Swarm:
    """The scenario; see :class:`SwarmParameters` for what can be set."""

    name = "swarm"
    declared = SwarmParameters
    state_class = SwarmState
    shared_reward = True
    metrics = METRICS
    controllers = ("random", "hover", "formation-keeping")

    def __init__(self, values: SwarmParameters, device: torch.device | str = "cpu") -> None:
        self._values = values
        self.parameters: dict[str, Any] = msgspec.to_builtins(values)
        self.dt, self.max_steps = values.dt, values.max_steps
        self.flight = Flight(values, device, values.target_margin)
        if values.target_rests and isinstance(self.flight.motion, Cube):
            self.flight.motion = dataclasses.replace(self.flight.motion, rests=True)
        self.reward_terms = reward_of(values.reward, self.name, SwarmStep)
        self.facts = _facts(values, self.flight, device)
        self.sensor = _sensor(values, self.flight, self.facts)
        size = self.sensor.size(values.pursuers, values.dimensions)
        self.observation_space, self.action_space = self.flight.spaces(size, OBSERVATION_LIMIT)
        self.agents = tuple(f"pursuer_{number}" for number in range(values.pursuers))

    def on(self, device: torch.device | str) -> Swarm:
        """The same scenario with its constants on ``device``."""
        return self if self.facts.slots.device == torch.device(device) else Swarm(self._values, device)

    def initial(self, key: Tensor, episode: Tensor) -> SwarmState:
        """The worlds at step 0: target, formation, then the pursuers about their slots."""
        values, target = self._values, self.flight.target_spawn(key)
        commanded = formation(values, key, torch.zeros_like(key))
        places = target.position.unsqueeze(1) + self.facts.offsets(commanded)
        position = self.flight.arena.clip(pursuer_spawn(values, key, places))
        state = SwarmState(
            **new_episode(key, episode),
            **self.flight.start(position, target),
            formation=commanded,
            earlier=position[:, : values.pursuers if values.author_bugs else 0],
        )
        return self._remembering(state)

    def restart(self, state: SwarmState) -> SwarmState:
        """The next episode of every world; with ``author_bugs`` it still remembers where this one ended."""
        fresh = self.initial(next_episode(state.key), state.episode + 1)
        if not self._values.author_bugs:
            return fresh
        return self._remembering(fresh.replace(earlier=state.position), state.position)

    def transition(self, state: SwarmState, action: Tensor) -> SwarmState:
        """Pursuers and target move; then another formation may be commanded."""
        after = state.replace(**self.flight.move(state, action))
        if self._values.switch_interval > 0:
            step = state.step + int_constant(1)
            after = after.replace(formation=formation(self._values, state.key, step, state.formation))
        if state.history.shape[1]:
            after = after.replace(history=remembered(state.history, self.sensor.record(after)))
        return after

    def slot_position(self, state: SwarmState) -> Tensor:
        """Where each pursuer belongs, ``[B, P, D]`` [m]; the slots move with the target."""
        places: Tensor = state.target_position.unsqueeze(1) + self.facts.offsets(state.formation)
        return places

    def step(self, before: SwarmState, action: Tensor, after: SwarmState) -> SwarmStep:
        """The step with its distances to the slots."""
        return SwarmStep.of(before=before, action=after.action, after=after, facts=self.facts)

    def observation(self, state: SwarmState) -> Tensor:
        """What the sensor sees, ``[B, O]``."""
        return self.sensor.observe(state)

    def reward(self, step: SwarmStep) -> dict[str, Tensor]:
        """The terms of the reward."""
        return self.reward_terms(step)

    def terminal(self, step: SwarmStep) -> Tensor:
        """Never; with ``author_bugs`` the time limit is a termination."""
        over: Tensor = (step.after.step >= int_constant(self.max_steps)) & self._values.author_bugs
        return over

    def measures(self, step: SwarmStep) -> dict[str, Tensor]:
        """See :func:`rl_tracking.envs.scenarios.swarm.metrics.measures`."""
        return measures(step, self.max_steps)

    def scene(self, state: SwarmState) -> Scene:
        """See :func:`rl_tracking.envs.scenarios.swarm.scene.scene`."""
        return scene(self.facts, state)

    def _remembering(self, state: SwarmState, position: Tensor | None = None) -> SwarmState:
        """The start of an episode whose history says that pursuers have always been at ``position``, or here."""
        if self._values.sensor != "history":
            return state
        record = self.sensor.record(state if position is None else state.replace(position=position))
        return state.replace(history=repeated_record(record, self._values.history_steps))


def _facts(values: SwarmParameters, flight: Flight, device: torch.device | str) -> SwarmFacts:
    places = torch.zeros(values.pursuers, values.dimensions, len(FORMATIONS))
    for number, name in enumerate(FORMATIONS):
        places[:, :2, number] = torch.tensor(slots(name, values.pursuers, values.scale))
    return SwarmFacts(
        **flight.facts(),
        capture_radius=values.tolerance * values.scale,
        author_bugs=values.author_bugs,
        slots=places.to(device),
        pairs=torch.triu_indices(values.pursuers, values.pursuers, 1, device=device),
        near_slot=values.near_slot,
        collision_distance=values.collision_distance,
        scale=values.scale,
    )


def _sensor(values: SwarmParameters, flight: Flight, facts: SwarmFacts) -> SwarmSensor:
    if values.sensor == "history":
        return SwarmHistory(History(flight.arena, values.history_steps))
    scale = flight.dynamics.acceleration_limit if values.dynamics == "drone" else None
    return RelativeSlots(relative(flight.arena, facts.near_slot, flight.dynamics.speed_limit, scale), facts)
