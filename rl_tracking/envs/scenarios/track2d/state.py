"""The state of a basic track."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rl_tracking.envs.base import WorldState


@dataclasses.dataclass(frozen=True)
class Track2dState(WorldState):
    """B worlds with one robot each; the second axis, of size 1, is that of pursuers elsewhere.

    Attributes:
        position: of the robot ``[B, 1, 2]`` [m].
        velocity: ``[B, 1, 2]`` [m/s].
        acceleration: ``[B, 1, 2]`` [m/s^2].
        target_position: ``[B, 2]`` [m].
        target_velocity: ``[B, 2]`` [m/s].
        target_memory: what the target's motion remembers ``[B, M]``.
        trail: past positions of the robot ``[B, L, 1, 2]`` [m], oldest first; L is what the reward looks back.
    """

    position: Tensor
    velocity: Tensor
    acceleration: Tensor
    target_position: Tensor
    target_velocity: Tensor
    target_memory: Tensor
    trail: Tensor
