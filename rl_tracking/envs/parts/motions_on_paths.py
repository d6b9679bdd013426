"""Motions along straight legs from point to point: square."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import constant
from rl_tracking.envs.parts.arena import Arena, Motion, Target
from rl_tracking.envs.parts.motion_options import SquareOptions, Way

_WAYS: dict[Way, tuple[float, float]] = {"left": (1.0, 1.0), "right": (-1.0, -1.0), "either": (1.0, -1.0)}
# Of the leg that starts at each corner, turning left: the corner in half sides from the centre, then its direction.
_LEGS = ((1.0, 1.0, -1.0, 0.0), (-1.0, 1.0, 0.0, -1.0), (-1.0, -1.0, 1.0, 0.0), (1.0, -1.0, 0.0, 1.0))


@functools.lru_cache(maxsize=8)
def _legs(device: torch.device) -> Tensor:
    """``_LEGS`` by column, ``[4, legs]``."""
    with torch.inference_mode(False):
        return torch.tensor(_LEGS, device=device).T.contiguous()


@dataclasses.dataclass(frozen=True)
class Square:
    """A level square about the arena's centre, flown round and round at constant speed.

    A target starts anywhere on it; the spawn point says its height alone. Memory: way from the corner (+, +) turning
    left [m], and 1 where it turns left or -1.

    Attributes:
        speed: [m/s].
        side: [m].
        ways: 1 and -1 are a target that turns left and right; one of the two is drawn.
    """

    speed: float
    side: float
    ways: tuple[float, float] = _WAYS["either"]

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_MOTION, 2)
        way = torch.where(u[:, 1:] < 0.5, *self.ways)
        return self._at(layout.cat([u[:, :1] * (4 * self.side), way], dim=-1), anchor, arena)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        gone, way = target.memory.split(1, dim=-1)
        gone = (gone + way * (self.speed * arena.dt)).remainder(4 * self.side)
        return self._at(layout.cat([gone, way], dim=-1), target.position, arena)

    def _at(self, memory: Tensor, position: Tensor, arena: Arena) -> Target:
        gone, way = memory.split(1, dim=-1)
        # remainder() may round up to the whole way, which is the first corner again.
        leg = (gone.squeeze(-1) / self.side).floor_().clamp_(max=3.0)
        corner, direction = _legs(position.device).index_select(1, leg.long()).T.split(2, dim=-1)
        on_leg = gone - leg.unsqueeze(-1) * constant(self.side)
        level = arena.centre[:2] + corner * constant(self.side / 2) + direction * on_leg
        height = position[:, 2:]
        velocity = layout.cat([direction * way * self.speed, torch.zeros_like(height)], dim=-1)
        return Target(layout.cat([level, height], dim=-1), velocity, memory)


def square(speed: float, arena_size: float, options: SquareOptions = SquareOptions()) -> Motion:  # noqa: B008
    """A level square about the centre at constant speed (the author's basic track: side 30 of 100)."""
    return Square(speed, options.side * arena_size, _WAYS[options.way])
