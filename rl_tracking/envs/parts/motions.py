"""How a target moves: stationary, cube, circle, lissajous.

A motion is a frozen description; its ``speed`` [m/s] may also be a tensor ``[B, 1]``, one for each world. What it has
to remember of a world is the tensor ``memory`` ``[B, M]``, part of the world's state; its random numbers come from
(key, step). Positions in [m], times in [s].
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.geometry import length
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import below, constant
from rl_tracking.envs.parts.arena import Arena, Motion, Target, each
from rl_tracking.envs.transition import cached


@dataclasses.dataclass(frozen=True)
class Stationary:
    """Stays where it was spawned."""

    speed: float = 0.0

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        return Target(anchor, torch.zeros_like(anchor), anchor.new_zeros(anchor.shape[0], 0))

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        return target


@dataclasses.dataclass(frozen=True)
class Cube:
    """The paper author's motion: a rectangle flown once, then a climb or descent, over and over.

    The rectangle is parallel to x and y and centred where the target is when it draws it, with sides drawn from
    [``side_low``, ``side_high``]. Its corners follow in the order (+, +), (-, +), (-, -), (+, -); a goal nearer than
    one step is snapped to. From the last corner the target goes to a height drawn from [0, ``height``]; flat worlds
    skip it. Positions are clipped to the arena after each step and corners are not: one that lies a step or more
    outside is never reached, and the target stands against the wall from then on. With ``rests`` it stands still for a
    step before each rectangle and before each climb, as in the author's swarm. Memory: centre x, y, half sides x, y,
    height, leg.
    """

    speed: float
    side_low: float
    side_high: float
    height: float
    rests: bool = False

    @property
    def _legs(self) -> _Legs:
        return _RESTING if self.rests else _FLYING

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        memory = anchor.new_zeros(anchor.shape[0], 6)
        memory[:, 5] = self._legs.draw
        return Target(anchor, torch.zeros_like(anchor), memory)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        position, _, memory = target
        leg = memory[:, 5]
        # On the CPU it is worth asking whether any world needs a new rectangle; on a GPU asking would cost more.
        draw = self._legs.draw
        if not leg.is_cpu or leg.max().item() >= draw:
            over = (leg >= constant(draw)).unsqueeze(-1)
            memory = torch.where(over, self._draw(position, key, step), memory)
        return self.follow(position, memory, arena)

    def follow(self, position: Tensor, memory: Tensor, arena: Arena) -> Target:
        """One step towards the present goal; nothing is drawn."""
        goal = self._goal(position, memory)
        way = goal - position
        left = length(way)
        speed = each(self.speed)
        reach = speed * arena.dt if isinstance(speed, Tensor) else constant(speed * arena.dt)
        # The share of the way that is made in this step: all of it where the goal is nearer than one step.
        share = (reach / left.clamp(min=_LEAST_WAY)).clamp_(max=1.0)
        moved = arena.clip((way * share.unsqueeze(-1)).add_(position))
        memory = memory.clone()
        leg = memory[:, 5].add_(below(left, reach))
        if position.shape[-1] == 2:
            leg.masked_fill_(leg == constant(self._legs.climb), self._legs.draw)
        return Target(moved, (moved - position).div_(constant(arena.dt)), memory)

    def rectangle(self, centre: Tensor, sides: Tensor, height: Tensor) -> Tensor:
        """The memory ``[B, 6]`` of a target about to fly a rectangle.

        Args:
            centre: of the rectangle ``[B, 2]`` [m].
            sides: along x and y ``[B, 2]`` [m].
            height: gone to afterwards ``[B, 1]`` [m].
        """
        return layout.cat([centre, sides / 2, height, torch.zeros_like(height)], dim=-1)

    def _draw(self, position: Tensor, key: Tensor, step: Tensor) -> Tensor:
        """A new rectangle about ``position`` and the height after it."""
        u = noise.uniform(key, step, Stream.TARGET_MOTION, 3)
        sides = self.side_low + u[:, :2] * (self.side_high - self.side_low)
        return self.rectangle(position[:, :2], sides, u[:, 2:] * self.height)

    def _goal(self, position: Tensor, memory: Tensor) -> Tensor:
        """The point flown to on the present leg: a corner, or the height straight above or below."""
        centre, half_sides, height, leg = memory.split_with_sizes((2, 2, 1, 1), -1)  # `split` costs twice as much
        corner = _corners(self.rests, position.device).index_select(1, leg.squeeze(-1).long()).t()
        level = centre + corner * half_sides
        if position.size(-1) == 2:
            return level
        climbing = leg == constant(self._legs.climb)
        here, above = position.split_with_sizes((2, 1), -1)
        return layout.cat([torch.where(climbing, here, level), torch.where(climbing, height, above)], dim=-1)


_LEAST_WAY = 1e-9


@dataclasses.dataclass(frozen=True)
class _Legs:
    """Where each leg of :class:`Cube` leads, in half sides from the centre; the climb leads nowhere level.

    A world on the leg ``draw``, one after the climb, draws its next rectangle before it moves.
    """

    corners: tuple[tuple[float, float], ...]

    @cached
    def climb(self) -> float:
        return float(len(self.corners) - 2)

    @cached
    def draw(self) -> float:
        return float(len(self.corners) - 1)


_NOWHERE, _RECTANGLE = (0.0, 0.0), ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))
_FLYING = _Legs((*_RECTANGLE, _NOWHERE, _NOWHERE))
# A leg to where the target is already takes one step: the centre before the first corner, the last corner once more.
_RESTING = _Legs((_NOWHERE, *_RECTANGLE, _RECTANGLE[-1], _NOWHERE, _NOWHERE))


@functools.lru_cache(maxsize=8)
def _corners(rests: bool, device: torch.device) -> Tensor:
    """The corners by axis, ``[2, legs]``."""
    legs = _RESTING if rests else _FLYING
    with torch.inference_mode(False):
        return torch.tensor(legs.corners, device=device).T.contiguous()


@dataclasses.dataclass(frozen=True)
class Circle:
    """A level circle about the spawn point at constant speed, either way round.

    The radius is drawn from [``radius_low``, ``radius_high``] [m] and shortened, and the centre moved, until the
    circle lies inside the arena. Memory: centre (D), radius, signed angular rate [rad/s], angle [rad].
    """

    speed: float
    radius_low: float
    radius_high: float

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_MOTION, 3)
        radius = self.radius_low + u[:, :1] * (self.radius_high - self.radius_low)
        radius = radius.clamp(max=float(arena.half[:2].min()))
        centre = anchor.clone()
        centre[:, :2] = torch.minimum(torch.maximum(centre[:, :2], arena.low[:2] + radius), arena.high[:2] - radius)
        way = torch.where(u[:, 1:2] < 0.5, -1.0, 1.0)
        angle = u[:, 2:] * (2 * math.pi)
        memory = layout.cat([centre, radius, way * self.speed / radius, angle], dim=-1)
        return self._at(memory)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        memory = target.memory
        angle = memory[:, -1:] + memory[:, -2:-1] * arena.dt
        return self._at(layout.cat([memory[:, :-1], angle.remainder_(2 * math.pi)], dim=-1))

    def _at(self, memory: Tensor) -> Target:
        centre, radius, rate, angle = memory[:, :-3], memory[:, -3:-2], memory[:, -2:-1], memory[:, -1:].contiguous()
        cosine, sine = torch.cos(angle), torch.sin(angle)
        still = torch.zeros_like(centre[:, 2:])
        offset = layout.cat([radius * cosine, radius * sine, still], dim=-1)
        velocity = layout.cat([-radius * rate * sine, radius * rate * cosine, still], dim=-1)
        return Target(centre + offset, velocity, memory)


@dataclasses.dataclass(frozen=True)
class Lissajous:
    """A sum of sines, one an axis, whose frequencies have the ratios 2 : 3 : 1 (or 2 : 3 in the plane).

    Amplitudes are drawn between half of ``extent`` and all of it, ``extent`` being a share of the arena's half
    sides; the base frequency is as high as the speed limit allows. Centred in the arena; the spawn point is not
    used. Memory: amplitude (D), angular frequency (D) [rad/s], phase (D) [rad].
    """

    speed: float
    extent: float = 0.8

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        dimensions = anchor.shape[-1]
        u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_MOTION, 2 * dimensions)
        amplitude = arena.half * self.extent * (0.5 + 0.5 * u[:, :dimensions])
        ratio = anchor.new_tensor([2.0, 3.0, 1.0])[:dimensions]
        omega = ratio * (each(self.speed) / length(amplitude * ratio)).unsqueeze(-1)
        return self._at(layout.cat([amplitude, omega, u[:, dimensions:] * (2 * math.pi)], dim=-1), arena)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        amplitude, omega, phase = target.memory.chunk(3, dim=-1)
        phase = (phase + omega * arena.dt).remainder_(2 * math.pi)
        return self._at(layout.cat([amplitude, omega, phase], dim=-1), arena)

    def _at(self, memory: Tensor, arena: Arena) -> Target:
        amplitude, omega, phase = memory.chunk(3, dim=-1)
        phase = layout.worlds_fastest(phase)  # sines of numbers with gaps between them are rounded otherwise
        return Target(arena.centre + amplitude * torch.sin(phase), amplitude * omega * torch.cos(phase), memory)


# How a scenario builds a motion by name: (greatest speed [m/s], side of the arena [m]) -> Motion.


def stationary(speed: float, arena_size: float) -> Motion:
    """Stays where it was spawned."""
    return Stationary()


def cube(speed: float, arena_size: float) -> Motion:
    """Rectangles and climbs of the paper author's sandbox (sides 50 to 200 in an arena of 500)."""
    return Cube(speed, 0.1 * arena_size, 0.4 * arena_size, arena_size)


def circle(speed: float, arena_size: float) -> Motion:
    """Horizontal circles at constant speed."""
    return Circle(speed, 0.1 * arena_size, 0.3 * arena_size)


def lissajous(speed: float, arena_size: float) -> Motion:
    """Smooth closed figures through the whole arena."""
    return Lissajous(speed)
