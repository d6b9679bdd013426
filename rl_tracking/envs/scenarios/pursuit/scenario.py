"""Pursuit: one or more pursuers fly after one target and stay with it.

Presets: ``drone`` (the default; a drone with inertia in a 60 m arena after a wandering target) and ``sandbox``
(the paper author's world: whole-unit displacements in an arena of 500, `cube` motion, history observation).

Action: for each pursuer D numbers in [-1, 1]: commanded acceleration / limit (``drone``) or displacement / step
length (``kinematic``). Episode end: the time limit truncates; capture terminates only with ``capture_terminates``.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import msgspec
import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.base import new_episode
from rl_tracking.envs.geometry import is_within, length
from rl_tracking.envs.noise import Stream, next_episode
from rl_tracking.envs.operations import int_constant, same
from rl_tracking.envs.parts.arena import (
    Advance,
    Motion,
    Target,
    advance,
    cut_of,
    mean_or_sample,
    responds,
    square_arena,
)
from rl_tracking.envs.parts.checked_motion import named_motion
from rl_tracking.envs.parts.dynamics import Body, Dynamics, gust
from rl_tracking.envs.parts.target_step import TargetFacts, TargetStep
from rl_tracking.envs.scenarios.pursuit.bound import bound
from rl_tracking.envs.scenarios.pursuit.drawn import DrawnParameters, at_most
from rl_tracking.envs.scenarios.pursuit.making import dynamics_of, longest_approach, reward_of, sensor_of, spaces_of
from rl_tracking.envs.scenarios.pursuit.metrics import METRICS, measures
from rl_tracking.envs.scenarios.pursuit.parameters import PursuitParameters, highest, pursuit_parameters
from rl_tracking.envs.scenarios.pursuit.scene import scene
from rl_tracking.envs.scenarios.pursuit.spawn import pursuer_spawn, target_spawn
from rl_tracking.envs.scenarios.pursuit.state import PursuitState
from rl_tracking.envs.scene import Scene
from rl_tracking.errors import SettingWarning


def make_pursuit(preset: str = "drone", **parameters: Any) -> Pursuit:
    """One or more pursuers fly after one target and stay with it.

    Args:
        preset: ``drone`` or ``sandbox``.
        **parameters: of :class:`PursuitParameters`, in place of the preset's.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    made = Pursuit(preset, pursuit_parameters({**parameters, "preset": preset}))
    for text in made.unusual:
        warnings.warn(text, SettingWarning, stacklevel=2)
    return made


class Pursuit:
    """The scenario; see the module for its tables and :class:`PursuitParameters` for what can be set."""

    name = "pursuit"
    declared = PursuitParameters
    state_class = PursuitState
    shared_reward = True
    metrics = METRICS
    controllers = ("random", "hover", "pure-pursuit", "lead-pursuit", "pronav", "mppi", "mppi-clairvoyant")

    def __init__(self, preset: str, values: PursuitParameters, device: torch.device | str = "cpu") -> None:
        self._preset, self._values = preset, values
        self._drawn = DrawnParameters(values)
        self.parameters: dict[str, Any] = msgspec.to_builtins(values)
        values = at_most(values)
        self.dt, self.max_steps = values.dt, values.max_steps
        self.arena = square_arena(
            values.arena_size, values.dimensions, values.dt, whole_units=values.whole_units, device=device
        )
        self.dynamics = dynamics_of(values)
        self.motion: Motion = named_motion(values.motion, highest(values.target_speed), values.arena_size)
        self._drawn.check_motion(values.motion, self.motion)
        self.sensor = sensor_of(values, self.arena, self.dynamics)
        self.reward_terms = reward_of(values.reward)
        self.observation_space, self.action_space = spaces_of(values, self.sensor)
        self.agents = tuple(f"pursuer_{number}" for number in range(values.pursuers))
        self.facts = TargetFacts(
            dt=values.dt,
            max_steps=values.max_steps,
            capture_radius=values.capture_radius,
            arena_low=self.arena.low,
            arena_high=self.arena.high,
            speed_limit=self.dynamics.speed_limit,
            action_scale=values.step_length if values.dynamics == "kinematic" else highest(values.max_acceleration),
            commands_acceleration=values.dynamics == "drone",
            target_moves_last=values.target_moves_last,
            longest_approach=longest_approach(values, self.motion),
            author_bugs=values.author_bugs,
        )
        self._target_after: Advance = advance
        self._draws_alone = not responds(self.motion)
        self.unusual = [*values.unusual(self.motion.speed), *cut_of(self.motion, self.arena)]
        self._windy = values.wind_speed != 0
        self._is_single, self._varies = values.pursuers == 1, self._drawn.any
        self._shares_array = values.author_bugs and values.spawn == "at-target"

    def on(self, device: torch.device | str) -> Pursuit:
        """The same scenario with its constants on ``device``."""
        return self if self.arena.low.device == torch.device(device) else Pursuit(self._preset, self._values, device)

    def initial(self, key: Tensor, episode: Tensor) -> PursuitState:
        """The worlds at step 0: target, then pursuers, each from noise of its own."""
        values, worlds = self._values, key.shape[0]
        drawn = self._drawn.draw(key)
        motion = self._drawn.motion(self.motion, drawn)
        target = motion.start(target_spawn(values, self.arena, key), key, self.arena)
        position = pursuer_spawn(values, self.arena, key, target.position)
        zeros = torch.zeros_like(position)
        steps, numbers = self.sensor.memory_shape(values.pursuers, values.dimensions)
        state = PursuitState(
            **new_episode(key, episode),
            position=position,
            velocity=zeros,
            acceleration=zeros,
            action=zeros,
            target_position=target.position,
            target_velocity=target.velocity,
            target_memory=target.memory,
            **self._judged(target.position, position),
            wind=self._still_or_steady_wind(key, drawn),
            drawn=drawn,
            trail=position.unsqueeze(1).repeat(1, self.reward_terms.lookback, 1, 1),
            history=position.new_zeros(worlds, steps, numbers),
        )
        if values.author_bugs:
            return self._remembering(state, self._earlier_position(key))
        return state.replace(history=self._first_history(state)) if steps else state

    def restart(self, state: PursuitState) -> PursuitState:
        """The next episode of every world; with ``author_bugs`` it still remembers where this one ended."""
        fresh = self.initial(next_episode(state.key), state.episode + 1)
        if not self._values.author_bugs:
            return fresh
        return self._remembering(fresh, state.position).replace(judged_distance=state.judged_distance)

    def transition(self, state: PursuitState, action: Tensor) -> PursuitState:
        """Pursuers and target move at the same time; see :class:`TargetFacts` for when the step is judged."""
        start_position, step = state.position, state.step
        action = action.unsqueeze(1) if self._is_single else action.view(start_position.shape)
        if action.stride(0) != 1:
            action = layout.worlds_fastest(action)
        wind, push = state.wind, None
        if self._windy:
            wind = self._next_wind(state)
            push = wind.unsqueeze(1)
        dynamics = self.dynamics_of(state) if self._varies else self.dynamics
        free = dynamics.step(Body(start_position, state.velocity, state.acceleration), action, push)
        start = Target(state.target_position, state.target_velocity, state.target_memory)
        if self._shares_array:
            free, start = _moved_together(state, free, start)
        position, velocity, acceleration = free
        if not is_within(position, *self.arena.bounds):
            free_position, position = position, self.arena.clip(position)
            velocity = velocity * same(free_position, position)  # a wall takes away the speed along it
        motion = self._drawn.motion(self.motion, state.drawn) if self._varies else self.motion
        if self._draws_alone:
            target = motion.advance(start, state.key, step, self.arena)
        else:
            target = self._target_after(motion, start, start_position, state.key, step, self.arena)
        after = state.replace(
            position=position,
            velocity=velocity,
            acceleration=acceleration,
            action=action,
            target_position=target.position,
            target_velocity=target.velocity,
            target_memory=target.memory,
            wind=wind,
            trail=self._next_trail(state) if self.reward_terms.lookback else state.trail,
            **(self._judged(start.position, position) if self._values.target_moves_last else {}),
        )
        if state.history.size(1):
            after.complete(history=self.sensor.remembered(after))
        return after

    def forecast(self) -> Pursuit:
        """The scenario as it is expected to go on: the target moves by the mean of its motion, if that says one."""
        expected = copy.copy(self)
        expected._target_after, expected._draws_alone = mean_or_sample, False
        return expected

    def bound(self, key: Tensor, skip: int = 0) -> dict[str, Tensor] | None:
        """See :func:`rl_tracking.envs.scenarios.pursuit.bound.bound`; None where pursuers may move the target."""
        return None if self._values.author_bugs or responds(self.motion) else bound(self, key, skip)

    def dynamics_of(self, state: PursuitState) -> Dynamics:
        """How the pursuers of these worlds move."""
        return self._drawn.dynamics(self.dynamics, state.drawn)

    def step(self, before: PursuitState, action: Tensor, after: PursuitState) -> TargetStep:
        """The step with its distances to the target."""
        return TargetStep.measured(before, after.action, after, self.facts)

    def observation(self, state: PursuitState, step: TargetStep | None = None) -> Tensor:
        """What the sensor sees, ``[B, O]``."""
        if step is None or self._values.target_moves_last:
            return self.sensor.observe(state)
        return self.sensor.observe(state, step.offset, step.distance)

    def reward(self, step: TargetStep) -> dict[str, Tensor]:
        """The terms of the reward."""
        return self.reward_terms(step)

    def terminal(self, step: TargetStep) -> Tensor:
        """Whether capture ends the episode; with ``author_bugs`` the time limit does so too."""
        ends = step.captured if self._values.capture_terminates else torch.zeros_like(step.in_radius)
        return ends | (step.after.step >= int_constant(self.max_steps)) if self._values.author_bugs else ends

    def measures(self, step: TargetStep) -> dict[str, Tensor]:
        """See :func:`rl_tracking.envs.scenarios.pursuit.metrics.measures`."""
        return measures(step)

    def scene(self, state: PursuitState) -> Scene:
        """See :func:`rl_tracking.envs.scenarios.pursuit.scene.scene`."""
        return scene(self.facts, state)

    def _judged(self, target: Tensor, position: Tensor) -> dict[str, Tensor]:
        """What a state keeps of where the target was when the step was judged, if it moves after that."""
        if not self._values.target_moves_last:
            return {"target_judged": target[:, :0], "judged_distance": target[:, :0]}
        return {"target_judged": target, "judged_distance": length(target.unsqueeze(1) - position)}

    def _first_history(self, state: PursuitState) -> Tensor:
        """The history of a world that has always been where it is now, ``[B, H, F]``."""
        return self.sensor.record(state).unsqueeze(1).repeat(1, state.history.shape[1], 1)

    def _remembering(self, state: PursuitState, position: Tensor) -> PursuitState:
        """The start of an episode whose pursuers take ``position`` ``[B, P, D]`` for where they have always been."""
        trail = position.unsqueeze(1).repeat(1, self.reward_terms.lookback, 1, 1)
        return state.replace(trail=trail, history=self._first_history(state.replace(position=position)))

    def _earlier_position(self, key: Tensor) -> Tensor:
        """Where the pursuers were before the first episode ``[B, P, D]``: the author's constructor places them too."""
        earlier = noise.bits(key, torch.zeros_like(key), Stream.EARLIER_EPISODE, 1).squeeze(-1)
        target = target_spawn(self._values, self.arena, earlier)
        return pursuer_spawn(self._values, self.arena, earlier, target)

    def _still_or_steady_wind(self, key: Tensor, drawn: Tensor) -> Tensor:
        """A gust of the stationary distribution, so that an episode starts in the weather it stays in."""
        speed = self._values.wind_speed
        if highest(speed) == 0:
            return torch.zeros(key.shape[0], self._values.dimensions, device=key.device)
        draw = noise.normal(key, torch.zeros_like(key), Stream.WIND, self._values.dimensions)
        wind: Tensor = draw * self._drawn.value("wind_speed", speed, drawn)
        return wind

    def _next_trail(self, state: PursuitState) -> Tensor:
        """The latest positions ``[B, L, P, D]`` of the pursuers, the one that they leave last."""
        left = state.position.unsqueeze(1)
        if self._values.author_bugs:  # where an episode starts is never remembered, only where the last one ended
            left = torch.where((state.step == 0).view(-1, 1, 1, 1), state.trail[:, -1:], left)
        return layout.cat([state.trail[:, 1:], left], dim=1)

    def _next_wind(self, state: PursuitState) -> Tensor:
        values = self._values
        draw = noise.normal(state.key, state.step, Stream.WIND, values.dimensions, ahead=1, read_only=True)
        speed = self._drawn.value("wind_speed", values.wind_speed, state.drawn)
        return gust(state.wind, draw, speed=speed, time_constant=values.wind_time_constant, dt=values.dt)


def _moved_together(state: PursuitState, free: Body, target: Target) -> tuple[Body, Target]:
    """The first step of the author's ``at target`` spawn, where one array is every pursuer's position and the target's.

    Each pursuer's move adds to it, and each pursuer is left where it stands after its own.
    """
    first = (state.step == 0).view(-1, 1, 1)
    so_far = torch.where(first, (free.position - state.position).cumsum(dim=1), free.position - state.position)
    moved = torch.where(first.squeeze(-1), target.position + so_far[:, -1], target.position)
    return free._replace(position=state.position + so_far), target._replace(position=moved)
