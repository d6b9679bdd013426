"""Basic track: a robot in the plane catches a target that goes round a square.

Presets: ``robot`` (the default; actions accelerate a robot that starts anywhere, and observations are a full state) and
``sandbox`` (the paper author's world: actions set the velocity, the robot starts at the centre, four numbers are seen).

Action: Discrete(5), up, down, left, right, stay; or Box(-1, 1, (2,)) with ``actions=continuous``. Observation, reward,
starting state and episode end: ``docs/scenarios/track2d.md``.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking import plugins
from rl_tracking.envs import layout, noise
from rl_tracking.envs.base import Space, new_episode
from rl_tracking.envs.noise import Stream, next_episode
from rl_tracking.envs.operations import constant, same
from rl_tracking.envs.parts.arena import Motion, Target, advance, square_arena
from rl_tracking.envs.parts.checked_motion import named_motion, warn_of_cuts
from rl_tracking.envs.parts.dynamics import Body, Drone, Dynamics, Kinematic
from rl_tracking.envs.parts.rewards import plugin_reward, require_judge
from rl_tracking.envs.parts.sensors import OBSERVATION_LIMIT, relative
from rl_tracking.envs.parts.target_step import TargetFacts, TargetStep
from rl_tracking.envs.scenarios.track2d.metrics import METRICS, measures
from rl_tracking.envs.scenarios.track2d.parameters import Track2dParameters, track2d_parameters
from rl_tracking.envs.scenarios.track2d.scene import scene
from rl_tracking.envs.scenarios.track2d.state import Track2dState
from rl_tracking.envs.scene import Scene

MOVES = ((0.0, 1.0), (0.0, -1.0), (-1.0, 0.0), (1.0, 0.0), (0.0, 0.0))  # up, down, left, right, stay


def make_track2d(preset: str = "robot", **parameters: Any) -> Track2d:
    """A robot in the plane catches a target that goes round a square.

    Args:
        preset: ``robot`` or ``sandbox``.
        **parameters: of :class:`Track2dParameters`, in place of the preset's.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    made = Track2d(track2d_parameters({**parameters, "preset": preset}))
    warn_of_cuts(made.motion, made.arena)
    return made


class Track2d:
    """The scenario; see the module and :class:`Track2dParameters` for what can be set."""

    name = "track2d"
    declared = Track2dParameters
    state_class = Track2dState
    agents = ("robot",)
    shared_reward = True
    metrics = METRICS
    controllers: tuple[str, ...] = ("random", "pure-pursuit", "lead-pursuit", "pronav")

    def __init__(self, values: Track2dParameters, device: torch.device | str = "cpu") -> None:
        self._values = values
        self.parameters: dict[str, Any] = msgspec.to_builtins(values)
        self.dt, self.max_steps = values.dt, values.max_steps
        self.arena = square_arena(values.arena_size, 2, values.dt, whole_units=False, device=device)
        self.dynamics = _dynamics(values)
        self.motion: Motion = named_motion(values.motion, values.target_speed, values.arena_size)
        self.reward_terms = plugin_reward(values.reward, plugins.resolve("reward", values.reward))
        require_judge(values.reward, self.reward_terms, self.name, TargetStep)
        self._sensor = relative(self.arena, values.capture_radius, values.max_speed, None)
        numbers = self._sensor.size(1, 2) if values.observation == "relative" else 4
        self.observation_space = spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (numbers,), np.float32)
        is_discrete = values.actions == "discrete"
        self.action_space: Space = spaces.Discrete(len(MOVES)) if is_discrete else spaces.Box(-1.0, 1.0, (2,))
        if not is_discrete:  # planners plan numbers within bounds
            self.controllers = (*self.controllers, "mppi", "mppi-clairvoyant")
        self._moves = torch.tensor(MOVES, device=device) if is_discrete else None
        accelerates = values.dynamics == "acceleration"
        self.facts = TargetFacts(
            dt=values.dt,
            max_steps=values.max_steps,
            capture_radius=values.capture_radius,
            arena_low=self.arena.low,
            arena_high=self.arena.high,
            speed_limit=values.max_speed,
            action_scale=values.max_acceleration if accelerates else values.max_speed * values.dt,
            commands_acceleration=accelerates,
            target_moves_last=False,
            longest_approach=_longest_approach(values, self.motion),
            moves=self._moves,
        )

    def on(self, device: torch.device | str) -> Track2d:
        """The same scenario with its constants on ``device``."""
        return self if self.arena.low.device == torch.device(device) else Track2d(self._values, device)

    def initial(self, key: Tensor, episode: Tensor) -> Track2dState:
        """The worlds at step 0: the target by its motion, the robot at rest."""
        anchor = self.arena.centre.expand(len(key), -1).clone()
        target = self.motion.start(anchor, key, self.arena)
        position = anchor.unsqueeze(1)
        if self._values.spawn == "anywhere":
            share = noise.uniform(key, torch.zeros_like(key), Stream.PURSUER_SPAWN, 2)
            position = (self.arena.low + share * (self.arena.high - self.arena.low)).unsqueeze(1)
        zeros = torch.zeros_like(position)
        return Track2dState(
            **new_episode(key, episode),
            position=position,
            velocity=zeros,
            acceleration=zeros,
            target_position=target.position,
            target_velocity=target.velocity,
            target_memory=target.memory,
            trail=position.unsqueeze(1).repeat(1, self.reward_terms.lookback, 1, 1),
        )

    def restart(self, state: Track2dState) -> Track2dState:
        """The next episode of every world; with ``author_bugs`` the robot is left where it is, at its speed."""
        fresh = self.initial(next_episode(state.key), state.episode + 1)
        if not self._values.author_bugs:
            return fresh
        trail = state.position.unsqueeze(1).repeat(1, self.reward_terms.lookback, 1, 1)
        return fresh.replace(
            position=state.position, velocity=state.velocity, acceleration=state.acceleration, trail=trail
        )

    def transition(self, state: Track2dState, action: Tensor) -> Track2dState:
        """Robot and target move at the same time."""
        free = self.dynamics.step(Body(state.position, state.velocity, state.acceleration), self._command(action), None)
        position = self.arena.clip(free.position)
        start = Target(state.target_position, state.target_velocity, state.target_memory)
        target = advance(self.motion, start, state.position, state.key, state.step, self.arena)
        left = state.position.unsqueeze(1)
        return state.replace(
            position=position,
            velocity=free.velocity * same(free.position, position),  # a wall takes away the speed along it
            acceleration=free.acceleration,
            target_position=target.position,
            target_velocity=target.velocity,
            target_memory=target.memory,
            trail=layout.cat([state.trail[:, 1:], left], dim=1) if state.trail.shape[1] else state.trail,
        )

    def step(self, before: Track2dState, action: Tensor, after: Track2dState) -> TargetStep:
        """The step with its distances; its action is the command ``[B, 1, 2]``."""
        return TargetStep.of(before=before, action=self._command(action), after=after, facts=self.facts)

    def observation(self, state: Track2dState, step: TargetStep | None = None) -> Tensor:
        """What is seen, ``[B, 10]``; with ``observation=author`` ``[B, 4]``."""
        if self._values.observation == "author":
            offset = state.target_position - state.position.squeeze(1)
            seen = layout.cat([offset, state.velocity.squeeze(1)], dim=-1)
            return (seen * constant(1 / self._values.arena_size)).clamp_(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        return self._sensor.observe(state) if step is None else self._sensor.observe(state, step.offset, step.distance)

    def reward(self, step: TargetStep) -> dict[str, Tensor]:
        """The terms of the reward."""
        return self.reward_terms(step)

    def terminal(self, step: TargetStep) -> Tensor:
        """Whether the target was captured, unless ``capture_terminates`` says otherwise."""
        captured = step.captured
        return captured if self._values.capture_terminates else torch.zeros_like(captured)

    def measures(self, step: TargetStep) -> dict[str, Tensor]:
        """See :func:`rl_tracking.envs.scenarios.track2d.metrics.measures`."""
        return measures(step)

    def scene(self, state: Track2dState) -> Scene:
        """See :func:`rl_tracking.envs.scenarios.track2d.scene.scene`."""
        return scene(self.facts, state)

    def _command(self, action: Tensor) -> Tensor:
        """What an action asks of the robot ``[B, 1, 2]``, in [-1, 1]."""
        if self._moves is None:
            return layout.worlds_fastest(action.view(-1, 2)).unsqueeze(1)
        return layout.worlds_fastest(self._moves.index_select(0, action)).unsqueeze(1)


def _dynamics(values: Track2dParameters) -> Dynamics:
    if values.dynamics == "velocity":
        return Kinematic(values.dt, values.max_speed * values.dt)
    return Drone(
        values.dt,
        max_acceleration=values.max_acceleration,
        max_speed=values.max_speed,
        drag=values.drag,
        motor_lag=0.0,
        substeps=1,
    )


def _longest_approach(values: Track2dParameters, motion: Motion) -> float:
    """See :class:`rl_tracking.envs.parts.target_step.TargetFacts`."""
    axes = math.sqrt(2) if values.dynamics == "velocity" and values.actions == "continuous" else 1.0
    way = (values.max_speed * axes + motion.speed) * values.dt
    return 1.001 * way + 1e-5 * values.arena_size  # positions are rounded
