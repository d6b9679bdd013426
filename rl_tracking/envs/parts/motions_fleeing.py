"""A motion that sees who chases it: evader."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rl_tracking.envs import noise
from rl_tracking.envs.geometry import dot, length, summed
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import constant, same
from rl_tracking.envs.parts.arena import Arena, Motion, Target, limited
from rl_tracking.envs.parts.motion_options import EvaderOptions

_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Evader:
    """Flies away from the pursuers that it sees, the nearer the more, as its limits allow; turns off at walls.

    The wanted direction is that of sum (x - p) / |x - p|^2 over the pursuers in sight, and the wanted velocity lies
    along it at full speed. Towards a wall it is no faster than half of the acceleration can stop, sqrt(a d) at a
    distance d; what that takes back goes across the wanted direction, to where it flies already or the centre lies. The
    target accelerates as hard as it may to this velocity. While nobody is in sight it flies on. Walls that are met
    reflect it. It starts at full speed in a direction drawn from the noise key. No memory beside the velocity.

    Attributes:
        speed: [m/s].
        acceleration: [m/s^2].
        sight: pursuers further away are not seen [m].
    """

    speed: float
    acceleration: float
    sight: float

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        draw = noise.normal(key, torch.zeros_like(key), Stream.TARGET_MOTION, anchor.shape[-1])
        return Target(anchor, _unit(draw) * self.speed, anchor.new_zeros(anchor.shape[0], 0))

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """Nobody is in sight; see :class:`rl_tracking.envs.parts.arena.Motion`."""
        return self._moved(target, torch.zeros_like(target.position), arena)

    def respond(self, target: Target, pursuers: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Responding`."""
        offset = target.position.unsqueeze(1) - pursuers
        square = dot(offset, offset)
        weight = (square <= constant(self.sight**2)) / square.clamp(min=_TINY)
        return self._moved(target, summed((offset * weight.unsqueeze(-1)).transpose(1, 2)), arena)

    def _moved(self, target: Target, push: Tensor, arena: Arena) -> Target:
        """The target after a step in which it wants to go in the direction of ``push`` ``[B, D]``."""
        missing = self._wanted(target, _unit(push), arena) - target.velocity
        seen = (push != 0).any(dim=-1, keepdim=True)
        velocity = limited(target.velocity + limited(missing * seen, self.acceleration * arena.dt), self.speed)
        free = target.position.add(velocity, alpha=arena.dt)
        position = arena.clip(free)
        return Target(position, velocity * constant(-1.0).add(same(free, position), alpha=2.0), target.memory)

    def _wanted(self, target: Target, away: Tensor, arena: Arena) -> Tensor:
        """The wanted velocity ``[B, D]`` in the direction ``away``, turned aside where a wall is near."""
        position, velocity, _ = target
        fastest = torch.as_tensor(self.speed, device=position.device).clamp(min=_TINY)
        rooms = (arena.high - position, position - arena.low)
        high, low = ((self.acceleration * room.clamp(min=_TINY)).sqrt() for room in rooms)
        ahead = torch.maximum(torch.minimum(away * fastest, high), -low)
        blocked = 1.0 - dot(ahead, ahead).unsqueeze(-1) / fastest**2
        along = velocity / fastest + (arena.centre - position) / arena.half
        aside = _unit(along - dot(along, away).unsqueeze(-1) * away)
        turned = ahead + blocked * fastest * aside
        return limited(torch.maximum(torch.minimum(turned, high), -low), self.speed)


def _unit(vector: Tensor) -> Tensor:
    return vector / length(vector).clamp(min=_TINY).unsqueeze(-1)


def evader(speed: float, arena_size: float, options: EvaderOptions = EvaderOptions()) -> Motion:  # noqa: B008
    """Accelerates away from the pursuers that it sees, within its limits; turns off at walls."""
    return Evader(speed, options.acceleration, options.sight)
