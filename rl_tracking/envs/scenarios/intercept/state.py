"""The state of a search."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rl_tracking.envs.parts.flight import FlightState


@dataclasses.dataclass(frozen=True)
class InterceptState(FlightState):
    """B worlds with P pursuers in D dimensions, W words of 64 cells.

    Attributes:
        visible: whether some pursuer sees the target ``[B]`` bool.
        seen_position: where it was seen last ``[B, D]`` [m]; the middle of the arena before that.
        seen_velocity: how it moved then ``[B, D]`` [m/s]; 0 before that.
        since_seen: how long ago that was ``[B]`` [s]; the time limit before that, and at most.
        visited: a bit for each cell that was visited ``[B, W]`` int64; see :mod:`rl_tracking.envs.parts.exploration`.
        visited_of_block: number of visited cells in each block ``[B, 2^D]``.
    """

    visible: Tensor
    seen_position: Tensor
    seen_velocity: Tensor
    since_seen: Tensor
    visited: Tensor
    visited_of_block: Tensor
