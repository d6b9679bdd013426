"""Motions that turn on their way, without a point to go to: weave, jink, random.

They keep a direction beside the velocity, so that a target of speed 0 stands still and knows where it looks.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.geometry import dot, length
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import below, constant, same
from rl_tracking.envs.parts.arena import Arena, Motion, Target
from rl_tracking.envs.parts.motion_options import JinkOptions, WeaveOptions

_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Weave:
    """A course that is kept, and a heading that swings about it like a pendulum: v (cos a course + sin a side).

    The angle is a = A sin(2 pi t / T). Course and side are unit vectors at right angles; walls reflect both, so that
    the swing goes on. Memory: course (D), side (D), phase [rad], angular rate of the swing [rad/s].

    Attributes:
        speed: [m/s].
        amplitude: A [rad].
        periods: T is drawn from this range [s].
    """

    speed: float
    amplitude: float
    periods: tuple[float, float]

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        dimensions, zeros = anchor.shape[-1], torch.zeros_like(key)
        course, other = noise.normal(key, zeros, Stream.TARGET_MOTION, 2 * dimensions).split(dimensions, dim=-1)
        course = _unit(course)
        u = noise.uniform(key, zeros, Stream.TARGET_TURN, 2)
        low, high = self.periods
        rate = 2 * math.pi / (low + u[:, 1:] * (high - low))
        memory = layout.cat([course, _across(course, other), u[:, :1] * (2 * math.pi), rate], dim=-1)
        return Target(anchor, torch.zeros_like(anchor), memory)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        dimensions = target.position.shape[-1]
        course, side, phase, rate = target.memory.split([dimensions, dimensions, 1, 1], dim=-1)
        phase = (phase + rate * constant(arena.dt)).remainder(2 * math.pi).contiguous()
        angle = constant(self.amplitude) * torch.sin(phase)
        velocity = (torch.cos(angle) * course + torch.sin(angle) * side) * self.speed
        position, turned = _within(target.position, velocity, arena)
        memory = layout.cat([course * turned, side * turned, phase, rate], dim=-1)
        return Target(position, velocity * turned, memory)


@dataclasses.dataclass(frozen=True)
class Jink:
    """Straight ahead, with sudden turns at random times, by a random angle to a random side; walls reflect.

    The times are those of a Poisson process: the chance of a turn is the same in every step. Memory: direction (D).

    Attributes:
        speed: [m/s].
        interval: mean time between two turns [s].
        turns: the angle is drawn from this range [rad].
    """

    speed: float
    interval: float
    turns: tuple[float, float]

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        direction = _unit(noise.normal(key, torch.zeros_like(key), Stream.TARGET_MOTION, anchor.shape[-1]))
        return Target(anchor, direction * self.speed, direction)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        direction = target.memory
        # One draw a step says whether it turns and where to; the start has drawn at step 0.
        draw = noise.normal(key, step, Stream.TARGET_MOTION, direction.shape[-1] + 1, ahead=1)
        chance = 1.0 - math.exp(-arena.dt / self.interval)
        turns = below(draw[:, :1], constant(NormalDist().inv_cdf(min(chance, 1.0 - 1e-9)))) > 0
        # On the CPU it is worth asking whether any world turns; on a GPU asking would cost more.
        if not turns.is_cpu or bool(turns.any()):
            u = noise.uniform(key, step, Stream.TARGET_TURN, 1).contiguous()
            low, high = self.turns
            angle = low + u * (high - low)
            across = _across(direction, draw[:, 1:])
            direction = torch.where(turns, _unit(torch.cos(angle) * direction + torch.sin(angle) * across), direction)
        velocity = direction * self.speed
        position, turned = _within(target.position, velocity, arena)
        return Target(position, velocity * turned, direction * turned)


@dataclasses.dataclass(frozen=True)
class RandomAxes:
    """The paper author's unused `random` motion: in each step a uniform displacement along one, two or three axes.

    One axis with probability .4, two with .4, all three with .2 (in the plane: .4 and .6), which ones by chance. Each
    displacement is uniform between the two that together along all axes make ``speed``: his U(-10, 10) in a step of
    1 s is a speed of 10 times the root of 3. No memory.
    """

    speed: float

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        return Target(anchor, torch.zeros_like(anchor), anchor.new_zeros(anchor.shape[0], 0))

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        dimensions = target.position.shape[-1]
        u = noise.uniform(key, step, Stream.TARGET_MOTION, 2 * dimensions + 1)
        number, share, order = u.split([1, dimensions, dimensions], dim=-1)
        # An axis moves if fewer others come before it, in a random order, than axes move.
        axes = 1.0 + (number >= 0.4) + (number >= 0.8)
        before = torch.stack([below(order, order[:, axis : axis + 1]) for axis in range(dimensions)]).sum(dim=-1).T
        longest = self.speed * (arena.dt / math.sqrt(dimensions))
        moved = arena.clip(target.position + (2.0 * share - 1.0) * longest * below(before, axes.expand_as(before)))
        return Target(moved, (moved - target.position) / constant(arena.dt), target.memory)


def _unit(vector: Tensor) -> Tensor:
    return vector / length(vector).clamp(min=_TINY).unsqueeze(-1)


def _across(direction: Tensor, other: Tensor) -> Tensor:
    """Unit vectors at right angles to ``direction``, towards ``other``, ``[B, D]`` each."""
    across = _unit(other - dot(other, direction).unsqueeze(-1) * direction)
    # Twice: where the two are almost parallel, the difference has few digits left.
    return _unit(across - dot(across, direction).unsqueeze(-1) * direction)


def _within(position: Tensor, velocity: Tensor, arena: Arena) -> tuple[Tensor, Tensor]:
    """Positions a step later, inside the arena, and what the walls make of a velocity: -1 on an axis turned round."""
    free = position.add(velocity, alpha=arena.dt)
    inside = arena.clip(free)
    return inside, constant(-1.0).add(same(free, inside), alpha=2.0)


def weave(speed: float, arena_size: float, options: WeaveOptions = WeaveOptions()) -> Motion:  # noqa: B008
    """A course that is kept, with a heading that swings about it; reflected by the walls."""
    return Weave(speed, math.radians(options.amplitude), _range(options.period))


def jink(speed: float, arena_size: float, options: JinkOptions = JinkOptions()) -> Motion:  # noqa: B008
    """Straight ahead, with sudden turns to a random side at random times; reflected by the walls."""
    low, high = _range(options.turn)
    return Jink(speed, options.interval, (math.radians(low), math.radians(high)))


def random_axes(speed: float, arena_size: float) -> Motion:
    """A random displacement along one to three axes in each step (the author's sandbox, unused there)."""
    return RandomAxes(speed)


def _range(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)
