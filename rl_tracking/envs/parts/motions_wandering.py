"""How a target wanders: random-walk. See :mod:`rl_tracking.envs.parts.motions` for what a motion is."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor

from rl_tracking.envs import noise
from rl_tracking.envs.geometry import is_within, limit_length_, limit_lengths
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import constant, same
from rl_tracking.envs.parts.arena import Arena, Motion, Target, limited

_BACK = constant(-1.0)


@dataclasses.dataclass(frozen=True)
class RandomWalk:
    """A wandering velocity: an Ornstein-Uhlenbeck process an axis, limited to ``speed``, reflected by the walls.

    ``time_constant`` [s] is how long a heading lasts. No memory beside the velocity.
    """

    speed: float
    time_constant: float = 2.0

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        draw = noise.normal(key, torch.zeros_like(key), Stream.TARGET_MOTION, anchor.shape[-1])
        velocity = limited(draw * self._deviation(anchor.shape[-1]), self.speed)
        return Target(anchor, velocity, anchor.new_zeros(anchor.shape[0], 0))

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        dimensions = target.position.size(-1)
        draw = noise.normal(key, step, Stream.TARGET_MOTION, dimensions, ahead=1, read_only=True)
        speed = self.speed
        if isinstance(speed, Tensor):
            rho, share = _kept_and_drawn(arena.dt, self.time_constant, 1.0)
            velocity = target.velocity * rho + draw * (self._deviation(dimensions) * share)
            return self._moved(target, limit_lengths(velocity, speed), arena)
        rho, share = _kept_and_drawn(arena.dt, self.time_constant, speed / math.sqrt(dimensions))
        velocity = (target.velocity * rho).add_(draw, alpha=share)
        return self._moved(target, limit_length_(velocity, speed), arena)

    def mean(self, target: Target, step: Tensor, arena: Arena) -> Target:
        """The target one control step later if its velocity changes as it does on average: it decays."""
        rho = math.exp(-arena.dt / self.time_constant)
        return self._moved(target, target.velocity * constant(rho), arena)

    def _moved(self, target: Target, velocity: Tensor, arena: Arena) -> Target:
        """The target after a step with a velocity, reflected by the walls."""
        free = target.position.add(velocity, alpha=arena.dt)
        if is_within(free, *arena.bounds):
            return Target(free, velocity, target.memory)
        position = arena.clip(free)
        # A wall met turns the velocity's part along it back into the arena.
        velocity = velocity * _BACK.add(same(free, position), alpha=2.0)
        return Target(position, velocity, target.memory)

    def _deviation(self, dimensions: int) -> float | Tensor:
        """Stationary deviation an axis for which the root mean square speed is the speed limit."""
        return self.speed / math.sqrt(dimensions)


@functools.lru_cache(maxsize=64)
def _kept_and_drawn(dt: float, time_constant: float, deviation: float) -> tuple[Tensor, float]:
    """Of an Ornstein-Uhlenbeck process: the share of its value that is left after ``dt``, and the noise in the rest."""
    rho = math.exp(-dt / time_constant)
    return constant(rho), deviation * math.sqrt(1 - rho * rho)


def random_walk(speed: float, arena_size: float) -> Motion:
    """Wanders with a heading that lasts about two seconds; reflected by the walls."""
    return RandomWalk(speed)
