"""Pursuit laws: classical controllers, against which policies are measured; they read the true state.

A controller maps (scenario, state) to actions ``[B, *action_space.shape]``. It is a function, or an object of a class
of which each pilot has its own, made with its options (:mod:`rl_tracking.agents.controllers.options`) and free to
remember what it did. All but ``random`` need the constants :class:`Limits` in ``scenario.facts``.

Drones are flown by a velocity loop: the command brings the velocity to the wanted one within :data:`RESPONSE`.
Kinematic pursuers make the wanted displacement in one step. Both pursuit laws are in Shneydor, "Missile Guidance and
Pursuit" (1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from gymnasium import spaces
from torch import Tensor

RESPONSE = 0.4  # time in which a velocity error is to vanish [s]
APPROACH = 0.8  # time constant of the last metres: the wanted closing speed is range / APPROACH [s]
TINY = 1e-9
_LANES = 16  # numbers that a state draws at once


class Limits(Protocol):
    """What a controller reads of the constants of a world.

    Attributes:
        speed_limit: greatest speed of a pursuer [m/s].
        action_scale: an action of 1, in metres a step or in [m/s^2].
        commands_acceleration: an action is an acceleration, not a displacement.
        capture_radius: a pursuer this near has captured the target [m].
    """

    speed_limit: float
    action_scale: float
    capture_radius: float
    commands_acceleration: bool


Controller = Callable[[Any, Any], Tensor]


def random_policy(scenario: Any, state: Any) -> Tensor:
    """Uniform over the action space, from the world's own noise key; for any scenario."""
    space, rows = scenario.action_space, len(scenario.agents)
    numbers = math.prod(space.shape)
    if numbers % rows or numbers // rows > _LANES:
        rows = numbers
    share: Tensor = state.controller_noise(rows, numbers // rows).reshape(-1, *space.shape)
    if isinstance(space, spaces.Discrete):
        return (share * int(space.n)).long() + int(space.start)
    low, high = (torch.as_tensor(bound, device=share.device) for bound in (space.low, space.high))
    uniform: Tensor = share * (high - low) + low
    return uniform


def hover(scenario: Any, state: Any) -> Tensor:
    """Zero action."""
    return torch.zeros(len(state), *scenario.action_space.shape, device=state.device)


def pure_pursuit(scenario: Any, state: Any) -> Tensor:
    """Fly at where the target is now."""
    # The line of sight alone; the target's velocity is ignored, so a crossing target is chased from behind.
    offset = state.target_position.unsqueeze(1) - state.position
    return fly_to(scenario.facts, state, offset, torch.zeros_like(offset))


def lead_pursuit(scenario: Any, state: Any) -> Tensor:
    """Fly at the point of interception with a target at constant velocity; near it, match its velocity."""
    return as_action(scenario.facts, lead_command(scenario.facts, state))


def lead_command(limits: Limits, state: Any) -> Tensor:
    """The command ``[B, P, D]`` of :func:`lead_pursuit`."""
    offset = state.target_position.unsqueeze(1) - state.position
    target_velocity = state.target_velocity.unsqueeze(1).expand_as(offset)
    # Constant velocity is a guess that holds until the target turns; the lead is computed anew at every step.
    # A target too fast to be met is led by the time that its present range takes.
    fallback = length(offset).squeeze(-1) / limits.speed_limit
    time = torch.minimum(intercept_time(offset, target_velocity, limits.speed_limit), 2.0 * fallback)
    lead = offset + target_velocity * time.unsqueeze(-1)
    return command_to(limits, state, lead, target_velocity)


def fly_to(limits: Limits, state: Any, offset: Tensor, velocity: Tensor) -> Tensor:
    """The action that goes for a point at ``offset`` [m] which itself moves with ``velocity`` [m/s]."""
    return as_action(limits, command_to(limits, state, offset, velocity))


def command_to(limits: Limits, state: Any, offset: Tensor, velocity: Tensor) -> Tensor:
    """The command ``[B, P, D]`` in [-1, 1] to a point at ``offset`` [m] which itself moves with ``velocity`` [m/s]."""
    # A kinematic pursuer commands a displacement: straight to the point, as far as one step goes.
    if not limits.commands_acceleration:
        return (offset / limits.action_scale).clamp(-1.0, 1.0)
    # Slower near the target, so that the pursuer does not overshoot it.
    closing = (length(offset) / APPROACH).clamp(max=limits.speed_limit)
    wanted = limited(_unit(offset) * closing + velocity, limits.speed_limit)
    # A proportional velocity loop: the acceleration that removes the error within RESPONSE.
    command = (wanted - state.velocity) / RESPONSE
    return limited(command, limits.action_scale) / limits.action_scale


def as_action(limits: Limits, command: Tensor) -> Tensor:
    """The action ``[B, P * D]`` of a command ``[B, P, D]``; its nearest action's number ``[B]`` where they have one.

    Numbered actions are those of a single pursuer.
    """
    moves: Tensor | None = getattr(limits, "moves", None)
    if moves is None:
        return command.flatten(1)
    return length(command - moves).squeeze(-1).argmin(dim=-1)


def intercept_time(offset: Tensor, target_velocity: Tensor, speed: float) -> Tensor:
    """Least time [s] in which a pursuer of constant ``speed`` [m/s] meets a target of constant velocity.

    Solves ``|offset + v t| = speed * t`` for the smallest t >= 0; infinity where there is none.
    """
    a = torch.linalg.vecdot(target_velocity, target_velocity) - speed**2
    b = torch.linalg.vecdot(offset, target_velocity)
    c = torch.linalg.vecdot(offset, offset)
    discriminant = b * b - a * c
    root = discriminant.clamp(min=0.0).sqrt_()
    # c / (-b +- root) is the form of the quadratic's roots that stays exact when a is near zero.
    first, second = c / (-b + root), c / (-b - root)
    infinity = torch.full_like(first, torch.inf)
    first = torch.where(torch.isfinite(first) & (first >= 0), first, infinity)
    second = torch.where(torch.isfinite(second) & (second >= 0), second, infinity)
    time = torch.where(discriminant >= 0, torch.minimum(first, second), infinity)
    # Where they have met already both roots are 0 / 0.
    return time.masked_fill_(c == 0, 0.0)


def length(vector: Tensor) -> Tensor:
    """``[..., D] -> [..., 1]``."""
    found: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return found


def _unit(offset: Tensor) -> Tensor:
    """Unit vector along the line of sight, zero where the offset is zero."""
    return offset / length(offset).clamp(min=TINY)


def limited(vector: Tensor, limit: float) -> Tensor:
    """``vector`` shortened to ``limit`` where it is longer."""
    return vector * (limit / length(vector).clamp(min=TINY)).clamp(max=1.0)
