"""What is observed of a search: what was seen last, or records of all positions; and whether the target is seen."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from rl_tracking.envs import layout
from rl_tracking.envs.geometry import length
from rl_tracking.envs.operations import constant
from rl_tracking.envs.parts.arena import Arena
from rl_tracking.envs.parts.exploration import BLOCKS, Grid
from rl_tracking.envs.parts.sensors import Relative
from rl_tracking.envs.scenarios.intercept.state import InterceptState

UNSEEN = -1.0  # coordinates [m] that are shown of a target out of sight


class InterceptSensor(Protocol):
    """Turns a state into an observation."""

    def size(self, pursuers: int, dimensions: int) -> int:
        """Length O of the observation."""

    def record(self, state: InterceptState) -> Tensor:
        """What is kept of the present state, ``[B, F]``; F is 0 where nothing is."""

    def observe(self, state: InterceptState) -> Tensor:
        """The observation ``[B, O]``."""


def shown(state: InterceptState) -> Tensor:
    """The target's position as it is shown ``[B, D]`` [m]: (-1, -1, -1) while it is out of sight."""
    return torch.where(state.visible.unsqueeze(-1), state.target_position, UNSEEN)


@dataclasses.dataclass(frozen=True)
class LastSeen:
    """What :class:`rl_tracking.envs.parts.sensors.Relative` says of the target as it was seen last, and what is known.

    Then D numbers of the target as it is shown, in the arena; 1 while it is seen; how long ago that was / the time
    limit; and of each of the 2^D blocks of the arena the share that is visited.
    """

    relative: Relative
    arena: Arena
    grid: Grid
    longest: float

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`InterceptSensor`."""
        return self.relative.size(pursuers, dimensions) + dimensions + 2 + int(BLOCKS**dimensions)

    def record(self, state: InterceptState) -> Tensor:
        """See :class:`InterceptSensor`."""
        return self.relative.record(state)

    def observe(self, state: InterceptState) -> Tensor:
        """See :class:`InterceptSensor`."""
        offset = state.seen_position.unsqueeze(1) - state.position
        as_seen = state.replace(target_velocity=state.seen_velocity)
        parts = [
            self.relative.observe(as_seen, offset, length(offset)),
            (shown(state) - self.arena.centre) / self.arena.half,
            state.visible.to(offset.dtype).unsqueeze(-1),
            (state.since_seen * constant(1.0 / self.longest)).unsqueeze(-1),
            self.grid.share(state.visited_of_block),
        ]
        return layout.cat(parts, dim=-1)


@dataclasses.dataclass(frozen=True)
class InterceptHistory:
    """The paper author's observation: the last ``steps`` records, oldest first.

    A record is every pursuer's position and its action, the target's position as it is shown, and 1 while it is seen.
    """

    arena: Arena
    steps: int

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`InterceptSensor`."""
        return self.steps * ((2 * pursuers + 1) * dimensions + 1)

    def record(self, state: InterceptState) -> Tensor:
        """See :class:`InterceptSensor`."""
        own = (state.position - self.arena.centre) / self.arena.half
        target = (shown(state) - self.arena.centre) / self.arena.half
        seen = state.visible.to(own.dtype).unsqueeze(-1)
        return layout.cat([own.flatten(1), state.action.flatten(1), target, seen], dim=-1)

    def observe(self, state: InterceptState) -> Tensor:
        """See :class:`InterceptSensor`."""
        records: Tensor = state.history.flatten(1)  # a view; environments hand out copies
        return records
