"""The state of a pursuit."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rl_tracking.envs.base import WorldState


@dataclasses.dataclass(frozen=True)
class PursuitState(WorldState):
    """B worlds with P pursuers in D dimensions.

    Attributes:
        position: pursuers ``[B, P, D]`` [m].
        velocity: ``[B, P, D]`` [m/s].
        acceleration: ``[B, P, D]`` [m/s^2].
        action: the last action ``[B, P, D]`` in [-1, 1].
        target_position: ``[B, D]`` [m].
        target_velocity: ``[B, D]`` [m/s].
        target_memory: what the target's motion remembers ``[B, M]``.
        target_judged: where the target was when the last step was judged ``[B, D]`` [m]; ``[B, 0]`` unless it moves
            after that.
        judged_distance: of each pursuer to the target when the last step was judged ``[B, P]`` [m]; ``[B, 0]``
            likewise.
        wind: gust ``[B, D]`` [m/s].
        drawn: the parameters drawn for this episode ``[B, V]``, V being how many are given as a range.
        trail: past positions ``[B, L, P, D]`` [m], oldest first; L is what the reward looks back.
        history: past records of the sensor ``[B, H, F]``, oldest first.
    """

    position: Tensor
    velocity: Tensor
    acceleration: Tensor
    action: Tensor
    target_position: Tensor
    target_velocity: Tensor
    target_memory: Tensor
    target_judged: Tensor
    judged_distance: Tensor
    wind: Tensor
    drawn: Tensor
    trail: Tensor
    history: Tensor
