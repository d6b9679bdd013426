"""Motions along straight legs from point to point: square, waypoints."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.geometry import length
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import constant, int_constant
from rl_tracking.envs.parts.arena import Arena, Motion, Target
from rl_tracking.envs.parts.motion_options import SquareOptions, Way, WaypointsOptions

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


@dataclasses.dataclass(frozen=True)
class Waypoints:
    """Straight at constant speed to a point drawn anywhere in the arena, then to the next one.

    The random waypoint model of Johnson, Maltz, "Dynamic source routing in ad hoc wireless networks" (1996). A point
    nearer than one step is snapped to. Memory: the point (D), steps left to stay where the target is.

    Attributes:
        speed: [m/s].
        extent: points lie in this share of the arena's sides, about its centre.
        pause: at each point [s].
    """

    speed: float
    extent: float = 0.9
    pause: float = 0.0

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_MOTION, anchor.shape[-1])
        memory = layout.cat([self._point(u, arena), torch.zeros_like(anchor[:, :1])], dim=-1)
        return Target(anchor, torch.zeros_like(anchor), memory)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        position, _, memory = target
        point, rest = memory[:, :-1], memory[:, -1:]
        way = point - position
        left, reach = length(way).unsqueeze(-1), torch.as_tensor(self.speed * arena.dt, device=position.device)
        # The share of the way that is made in this step: all of it where the point is nearer than one step.
        share = (reach / left.clamp(min=_LEAST_WAY)).clamp(max=1.0).masked_fill(rest > 0, 0.0)
        arrived = (left <= reach) & (rest <= 0) & (reach > 0)
        moved = torch.where(arrived, point, position + way * share)
        rest = torch.where(arrived, constant(round(self.pause / arena.dt)), (rest - constant(1.0)).clamp(min=0.0))
        # On the CPU it is worth asking whether any world needs a new point; on a GPU asking would cost more.
        if not arrived.is_cpu or bool(arrived.any()):
            # One step on: the first point was drawn at step 0.
            u = noise.uniform(key, step + int_constant(1), Stream.TARGET_MOTION, position.shape[-1])
            point = torch.where(arrived, self._point(u, arena), point)
        return Target(moved, (moved - position) / constant(arena.dt), layout.cat([point, rest], dim=-1))

    def _point(self, u: Tensor, arena: Arena) -> Tensor:
        """Points ``[B, D]`` from uniform numbers ``[B, D]``."""
        return arena.clip(arena.centre + (2.0 * u - 1.0) * arena.half * self.extent)


_LEAST_WAY = 1e-9


def square(speed: float, arena_size: float, options: SquareOptions = SquareOptions()) -> Motion:  # noqa: B008
    """A level square about the centre at constant speed (the author's basic track: side 30 of 100)."""
    return Square(speed, options.side * arena_size, _WAYS[options.way])


def waypoints(speed: float, arena_size: float, options: WaypointsOptions = WaypointsOptions()) -> Motion:  # noqa: B008
    """Straight to points drawn anywhere in the arena, one after the other, with a pause at each if wanted."""
    return Waypoints(speed, options.extent, options.pause)
