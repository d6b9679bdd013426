"""Pursuers that fly in an arena with one target: their state, one step of it, and what a step is judged by.

Scenarios add what their task is about: slots to keep, what is seen, what a step pays.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking import plugins
from rl_tracking.envs import layout, noise
from rl_tracking.envs.base import WorldState
from rl_tracking.envs.geometry import length
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import same
from rl_tracking.envs.parts.arena import Arena, Target, advance, square_arena
from rl_tracking.envs.parts.checked_motion import named_motion
from rl_tracking.envs.parts.dynamics import Body, Drone, Dynamics, Kinematic
from rl_tracking.envs.parts.flight_parameters import FlightParameters
from rl_tracking.envs.parts.rewards import Reward, plugin_reward, require_judge
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.transition import cached
from rl_tracking.errors import UsageError


@dataclasses.dataclass(frozen=True)
class FlightState(WorldState):
    """B worlds with P pursuers and one target in D dimensions.

    Attributes:
        position: pursuers ``[B, P, D]`` [m].
        velocity: ``[B, P, D]`` [m/s].
        acceleration: ``[B, P, D]`` [m/s^2].
        action: the last action ``[B, P, D]`` in [-1, 1].
        target_position: ``[B, D]`` [m].
        target_velocity: ``[B, D]`` [m/s].
        target_memory: what the target's motion remembers ``[B, M]``.
        history: past records of the sensor ``[B, H, F]``, oldest first.
    """

    position: Tensor
    velocity: Tensor
    acceleration: Tensor
    action: Tensor
    target_position: Tensor
    target_velocity: Tensor
    target_memory: Tensor
    history: Tensor


@dataclasses.dataclass(frozen=True)
class FlightStep(TargetStep):
    """A step after one target from a state that keeps nothing of how the step was judged.

    Where the target moves last, it was judged where it stood before the step.
    """

    @cached
    def target_position(self) -> Tensor:
        """Where the target is when the step is judged, ``[B, D]`` [m]."""
        judged: Any = self.before if self.facts.target_moves_last else self.after
        position: Tensor = judged.target_position
        return position

    @cached
    def distance(self) -> Tensor:
        """Distance of each pursuer to the target when the step is judged, ``[B, P]`` [m]."""
        return length(self.offset)


class Flight:
    """Moves pursuers and target.

    Args:
        values: the parameters.
        device: where constants live.
        margin: the target keeps this far from the walls [m].

    Attributes:
        arena: of the pursuers.
        of_target: the box that the target stays in.
        dynamics: of the pursuers.
        motion: of the target.
    """

    def __init__(self, values: FlightParameters, device: torch.device | str, margin: float = 0.0) -> None:
        self._values = values
        self.arena = square_arena(
            values.arena_size, values.dimensions, values.dt, whole_units=values.whole_units, device=device
        )
        self.of_target = _shrunk(self.arena, margin)
        self.dynamics = _dynamics(values)
        self.motion = named_motion(values.motion, values.target_speed, values.arena_size - 2 * margin)

    def facts(self) -> dict[str, Any]:
        """The fields of :class:`rl_tracking.envs.parts.target_step.TargetFacts` that follow from the flight."""
        values = self._values
        kinematic = values.dynamics == "kinematic"
        return {
            "dt": values.dt,
            "max_steps": values.max_steps,
            "arena_low": self.arena.low,
            "arena_high": self.arena.high,
            "speed_limit": self.dynamics.speed_limit,
            "action_scale": values.step_length if kinematic else values.max_acceleration,
            "commands_acceleration": not kinematic,
            "target_moves_last": values.target_moves_last,
        }

    def spaces(self, observed: int, limit: float) -> tuple[spaces.Box, spaces.Box]:
        """Observation and action space of one world, for ``observed`` numbers within ``limit``."""
        observation = spaces.Box(-limit, limit, (observed,), np.float32)
        return observation, spaces.Box(-1.0, 1.0, (self._values.pursuers * self._values.dimensions,), np.float32)

    def target_spawn(self, key: Tensor) -> Target:
        """The target at step 0, anywhere in its box about the centre."""
        u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_SPAWN, self._values.dimensions)
        size = self._values.target_spawn_size
        if self._values.whole_units:  # each whole number as often as another, both ends included
            spot = (self.arena.centre - size / 2 + u * (size + 1)).floor()
        else:
            spot = self.arena.centre + (u - 0.5) * size
        return self.motion.start(self.of_target.clip(spot), key, self.of_target)

    def start(self, position: Tensor, target: Target) -> dict[str, Tensor]:
        """The fields of :class:`FlightState` with pursuers at rest at ``position`` ``[B, P, D]``; no history."""
        zeros = torch.zeros_like(position)
        return {
            "position": position,
            "velocity": zeros,
            "acceleration": zeros,
            "action": zeros,
            "target_position": target.position,
            "target_velocity": target.velocity,
            "target_memory": target.memory,
            "history": position.new_zeros(len(position), 0, 0),
        }

    def move(self, state: FlightState, action: Tensor) -> dict[str, Tensor]:
        """The fields of :class:`FlightState` a control step later, but for the history.

        Args:
            state: the worlds before it.
            action: ``[B, P * D]`` in [-1, 1].
        """
        action = layout.worlds_fastest(action.view(state.position.shape))
        free = self.dynamics.step(Body(state.position, state.velocity, state.acceleration), action, None)
        position = self.arena.clip(free.position)
        start = Target(state.target_position, state.target_velocity, state.target_memory)
        target = advance(self.motion, start, state.position, state.key, state.step, self.of_target)
        return {
            "position": position,
            "velocity": free.velocity * same(free.position, position),  # a wall takes away the speed along it
            "acceleration": free.acceleration,
            "action": action,
            "target_position": target.position,
            "target_velocity": target.velocity,
            "target_memory": target.memory,
        }


def gaps(position: Tensor, pairs: Tensor) -> Tensor:
    """From one to the other pursuer of each of K pairs ``[2, K]``, ``[B, K, D]`` [m]; positions are ``[B, P, D]``."""
    first, second = pairs
    by_pursuer = position.transpose(0, 1)
    return (by_pursuer.index_select(0, second) - by_pursuer.index_select(0, first)).transpose(0, 1)


def remembered(history: Tensor, record: Tensor) -> Tensor:
    """A history ``[B, H, F]`` with a new record ``[B, F]`` in place of its oldest."""
    return layout.cat([history[:, 1:], record.unsqueeze(1)], dim=1)


def repeated_record(record: Tensor, steps: int) -> Tensor:
    """The history ``[B, H, F]`` of a world that has always been as a record ``[B, F]`` says."""
    return layout.worlds_fastest(record.unsqueeze(1).repeat(1, steps, 1))


def reward_of(spec: str, scenario: str, step: type[TargetStep]) -> Reward:
    """The reward of a name, or of code that is named.

    Raises:
        UsageError: it judges steps of another scenario, or looks back at positions, which these states don't keep.
    """
    found = plugin_reward(spec, plugins.resolve("reward", spec))
    require_judge(spec, found, scenario, step)
    if found.lookback:
        raise UsageError(
            f"reward '{spec}' looks {found.lookback} steps back, and scenario '{scenario}' keeps no past positions; "
            "choose a reward without lookback"
        )
    return found


def _shrunk(arena: Arena, margin: float) -> Arena:
    """The arena without a margin on every side [m]."""
    if margin == 0:
        return arena
    low, high = arena.bounds
    return dataclasses.replace(
        arena,
        bounds=(low + margin, high - margin),
        low=arena.low + margin,
        high=arena.high - margin,
        half=arena.half - margin,
    )


def _dynamics(values: FlightParameters) -> Dynamics:
    if values.dynamics == "kinematic":
        return Kinematic(values.dt, values.step_length)
    return Drone(values.dt, values.max_acceleration, values.max_speed, values.drag, values.motor_lag, values.substeps)
