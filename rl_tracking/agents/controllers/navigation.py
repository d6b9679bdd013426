"""Proportional navigation: turn the velocity at a rate proportional to that at which the line of sight turns.

Zarchan, "Tactical and Strategic Missile Guidance" (2012), chapter 2; Shneydor, "Missile Guidance and Pursuit" (1998),
chapter 5, "true" proportional navigation: the command lies across the line of sight.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rl_tracking.agents.controllers.guidance import (
    RESPONSE,
    TINY,
    Limits,
    as_action,
    command_to,
    lead_command,
    length,
    limited,
)

if TYPE_CHECKING:
    from rl_tracking.agents.controllers.options import NavigationOptions


@dataclasses.dataclass(frozen=True)
class LineOfSight:
    """The line from each pursuer to its target.

    Attributes:
        distance: along it ``[B, P, 1]`` [m].
        direction: unit vector ``[B, P, D]``.
        closing_speed: at which the distance shrinks ``[B, P, 1]`` [m/s].
        rate: derivative of the direction ``[B, P, D]`` [1/s]; its length is the angular rate [rad/s].
        target_velocity: ``[B, P, D]`` [m/s].
    """

    distance: Tensor
    direction: Tensor
    closing_speed: Tensor
    rate: Tensor
    target_velocity: Tensor

    @classmethod
    def of(cls, state: Any) -> LineOfSight:
        """From positions and velocities; in a plane and in space alike, as no cross product is taken."""
        offset = state.target_position.unsqueeze(1) - state.position
        target_velocity = state.target_velocity.unsqueeze(1).expand_as(offset)
        distance = length(offset).clamp(min=TINY)
        direction = offset / distance
        relative = target_velocity - state.velocity
        closing_speed = -_along(relative, direction)
        return cls(
            distance, direction, closing_speed, (relative + closing_speed * direction) / distance, target_velocity
        )


@dataclasses.dataclass(frozen=True)
class ProportionalNavigation:
    """Proportional navigation: turn N times as fast as the line of sight; near the target, match its velocity.

    Across the line of sight the command is N Vc dlambda/dt: navigation constant, closing speed, rate of the line of
    sight. It is zero on a collision course. The law says nothing of the direction along the line, since a missile's
    speed is given; a pursuer here starts at rest and uses what its limits leave to close in as fast as it may.

    The law alone would pass the target at full speed. A drone keeps station, by the velocity loop of the pursuit laws,
    once the target is no further than the way in which it brakes from full speed; a kinematic pursuer needs no way to
    brake and does so, by lead pursuit, within the capture radius or one step.
    """

    options: NavigationOptions

    def __call__(self, scenario: Any, state: Any) -> Tensor:
        """Actions ``[B, P * D]``, or the numbers ``[B]`` of the nearest ones where they are numbered."""
        limits: Limits = scenario.facts
        sight = LineOfSight.of(state)
        # Far away, navigate; near the target, keep station.
        if limits.commands_acceleration:
            command = self.acceleration(limits, sight) / limits.action_scale
            near = limits.speed_limit**2 / (2.0 * limits.action_scale)
            keeping = command_to(limits, state, sight.distance * sight.direction, sight.target_velocity)
        else:
            command = self.velocity(limits, scenario.dt, state, sight) / limits.speed_limit
            near = max(limits.action_scale, limits.capture_radius)
            keeping = lead_command(limits, state)
        return as_action(limits, torch.where(sight.distance > near, command, keeping))

    def turn(self, sight: LineOfSight) -> Tensor:
        """The acceleration ``[B, P, D]`` [m/s^2] across the line of sight, N Vc dlambda/dt; none while opening."""
        return self.options.navigation_constant * sight.closing_speed.clamp(min=0.0) * sight.rate

    def acceleration(self, limits: Limits, sight: LineOfSight) -> Tensor:
        """The commanded acceleration ``[B, P, D]`` [m/s^2] of a drone, within its limit; turning comes first."""
        turn = limited(self.turn(sight), limits.action_scale)
        left = (limits.action_scale**2 - _square(turn)).clamp(min=0.0).sqrt()
        missing = (_greatest_closing_speed(limits, sight) - sight.closing_speed) / RESPONSE
        return turn + missing.clamp(-left, left) * sight.direction

    def velocity(self, limits: Limits, dt: float, state: Any, sight: LineOfSight) -> Tensor:
        """The velocity ``[B, P, D]`` [m/s] that a kinematic pursuer flies next, within its limit on each axis."""
        flown: Tensor = state.velocity - _along(state.velocity, sight.direction) * sight.direction
        # A step is long: no turn goes beyond the one that stops the line of sight.
        gain = self.options.navigation_constant * sight.closing_speed.clamp(min=0.0) * dt / sight.distance
        across = flown + gain.clamp(max=1.0) * sight.distance * sight.rate
        across = across / (across.abs().amax(dim=-1, keepdim=True) / limits.speed_limit).clamp(min=1.0)
        # As fast along the line as leaves every axis within its limit.
        room = (limits.speed_limit - across * sight.direction.sign()) / sight.direction.abs().clamp(min=TINY)
        return across + room.amin(dim=-1, keepdim=True) * sight.direction


def _greatest_closing_speed(limits: Limits, sight: LineOfSight) -> Tensor:
    """The closing speed ``[B, P, 1]`` [m/s] at the speed limit on a collision course."""
    away = _along(sight.target_velocity, sight.direction)
    across = sight.target_velocity - away * sight.direction
    greatest: Tensor = (limits.speed_limit**2 - _square(across)).clamp(min=0.0).sqrt() - away
    return greatest


def _along(vector: Tensor, direction: Tensor) -> Tensor:
    share: Tensor = torch.linalg.vecdot(vector, direction).unsqueeze(-1)
    return share


def _square(vector: Tensor) -> Tensor:
    return _along(vector, vector)
