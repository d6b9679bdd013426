"""Formation keeping: a classical controller that reads the true state.

Potential fields for separation as in Khatib, "Real-time obstacle avoidance for manipulators and mobile robots" (1986).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from rl_tracking.agents.controllers.guidance import TINY, Limits, fly_to, length

KEEP_OFF = 3.0  # collision distances within which pursuers push each other away


class FormationLimits(Limits, Protocol):
    """What this controller reads of the constants of a world besides :class:`Limits`.

    Attributes:
        collision_distance: two pursuers nearer than this collide [m].
    """

    collision_distance: float


def formation_keeping(scenario: Any, state: Any) -> Tensor:
    """Each pursuer flies to its slot, which moves with the target, and keeps off the others."""
    limits: FormationLimits = scenario.facts
    to_slot = scenario.slot_position(state) - state.position
    velocity = state.target_velocity.unsqueeze(1).expand_as(to_slot)
    # A point beside the slot, away from pursuers that are near.
    return fly_to(limits, state, to_slot + _push(state.position, KEEP_OFF * limits.collision_distance), velocity)


def _push(position: Tensor, reach: float) -> Tensor:
    """For each pursuer the sum of pushes away from those nearer than ``reach`` [m], ``[B, P, D]`` [m].

    A push grows from 0 at ``reach`` to ``reach`` at a distance of 0.
    """
    away = position.unsqueeze(2) - position.unsqueeze(1)
    distance = length(away)
    share = (reach - distance).clamp(min=0.0) / distance.clamp(min=TINY)
    return torch.sum(away * share, dim=2)
