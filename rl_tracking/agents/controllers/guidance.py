"""Classical controllers: what a policy is measured against. Each maps (facts, state) to an action ``[B, P * D]``.

They read the true state. Drones are flown by a velocity loop: the command is what brings the velocity to the wanted
one within :data:`RESPONSE`; kinematic pursuers make the wanted displacement at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl_tracking.envs import noise
from rl_tracking.envs.geometry import bearing, intercept_time, length, limit_length
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.transition import Facts

Controller = Callable[[Facts, Any], Tensor]

RESPONSE = 0.4  # time in which a velocity error is to vanish [s]
APPROACH = 0.8  # time constant of the last metres: the wanted closing speed is range / APPROACH [s]


def random_policy(facts: Facts, state: Any) -> Tensor:
    """Uniform in [-1, 1], from the world's own noise key."""
    worlds, pursuers, dimensions = state.position.shape
    draws = [
        noise.uniform(state.key, state.step * pursuers + pursuer, Stream.POLICY, dimensions)
        for pursuer in range(pursuers)
    ]
    return torch.stack(draws, dim=1).reshape(worlds, -1) * 2.0 - 1.0


def hover(facts: Facts, state: Any) -> Tensor:
    """No command at all."""
    return torch.zeros_like(state.position).flatten(1)


def pure_pursuit(facts: Facts, state: Any) -> Tensor:
    """Fly at where the target is now."""
    offset = state.target_position.unsqueeze(1) - state.position
    return _fly(facts, state, offset, torch.zeros_like(offset))


def lead_pursuit(facts: Facts, state: Any) -> Tensor:
    """Fly at where the target will be met if it keeps its velocity; close by, match that velocity."""
    offset = state.target_position.unsqueeze(1) - state.position
    target_velocity = state.target_velocity.unsqueeze(1).expand_as(offset)
    # A target too fast to be met is led by the time that its present range takes.
    fallback = length(offset) / facts.speed_limit
    time = torch.minimum(intercept_time(offset, target_velocity, facts.speed_limit), 2.0 * fallback)
    lead = offset + target_velocity * time.unsqueeze(-1)
    return _fly(facts, state, lead, target_velocity)


def _fly(facts: Facts, state: Any, offset: Tensor, velocity: Tensor) -> Tensor:
    """The action that goes for a point at ``offset`` [m] which itself moves with ``velocity`` [m/s]."""
    if not facts.commands_acceleration:
        return (offset / facts.action_scale).clamp(-1.0, 1.0).flatten(1)
    closing = (length(offset) / APPROACH).clamp(max=facts.speed_limit).unsqueeze(-1)
    wanted = limit_length(bearing(offset) * closing + velocity, facts.speed_limit)
    command = (wanted - state.velocity) / RESPONSE
    return (limit_length(command, facts.action_scale) / facts.action_scale).flatten(1)
