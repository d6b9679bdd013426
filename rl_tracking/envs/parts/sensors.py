"""What is observed. Every number is scaled to about [-1, 1] and bounded by :data:`OBSERVATION_LIMIT`."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import torch
from torch import Tensor

from rl_tracking.envs import layout
from rl_tracking.envs.geometry import length
from rl_tracking.envs.operations import constant, is_worth_numpy
from rl_tracking.envs.parts.arena import Arena

OBSERVATION_LIMIT = 4.0


class Sensor(Protocol):
    """Turns a state into an observation."""

    def size(self, pursuers: int, dimensions: int) -> int:
        """Length O of the observation."""

    def memory_shape(self, pursuers: int, dimensions: int) -> tuple[int, int]:
        """Steps and numbers a step (H, F) of past records that the state must keep; (0, 0) for none."""

    def record(self, state: Any) -> Tensor:
        """What is kept of the present state, ``[B, F]``."""

    def remembered(self, state: Any) -> Tensor:
        """The records ``[B, H, F]`` of a state whose ``history`` is still that of the step before."""

    def observe(self, state: Any, offset: Tensor | None = None, distance: Tensor | None = None) -> Tensor:
        """The observation ``[B, O]``.

        Args:
            state: of B worlds.
            offset: from each pursuer to the target ``[B, P, D]`` [m], where it is known already.
            distance: its length ``[B, P]`` [m].
        """


@dataclasses.dataclass(frozen=True)
class Relative:
    """The target as each pursuer sees it.

    For each pursuer, D numbers each: offset of the target / half the arena; offset / (range + ``near_range``),
    a bearing that also resolves the last metres; relative velocity and own velocity / the speed limit; own
    position in the arena; and, where it has a meaning, own acceleration / its limit. :func:`relative` builds it.
    """

    centre: Tensor
    scale: Tensor
    near_range: float
    with_acceleration: bool

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`Sensor`."""
        return pursuers * dimensions * (6 if self.with_acceleration else 5)

    def memory_shape(self, pursuers: int, dimensions: int) -> tuple[int, int]:
        """See :class:`Sensor`."""
        return 0, 0

    def record(self, state: Any) -> Tensor:
        """See :class:`Sensor`."""
        empty: Tensor = state.position.new_zeros(len(state), 0)
        return empty

    def remembered(self, state: Any) -> Tensor:
        """See :class:`Sensor`."""
        empty: Tensor = state.history
        return empty

    def observe(self, state: Any, offset: Tensor | None = None, distance: Tensor | None = None) -> Tensor:
        """See :class:`Sensor`."""
        if offset is None or distance is None:
            offset = state.target_position.unsqueeze(1) - state.position
            distance = length(offset)
        if is_worth_numpy(distance) and not offset.requires_grad:
            return self._observe_many(state, offset, distance)
        velocity = state.velocity
        worlds, pursuers, _ = offset.shape
        spread, target_velocity = distance + constant(self.near_range), state.target_velocity
        if worlds > 1 or pursuers > 1:  # else both are broadcast as they are
            spread, target_velocity = spread.unsqueeze(-1), target_velocity.unsqueeze(1)
        parts = [offset, offset / spread, target_velocity - velocity, velocity, state.position - self.centre]
        if self.with_acceleration:
            parts.append(state.acceleration)
        if worlds == 1:
            seen = torch.cat(parts, -1).mul_(self.scale)
        elif pursuers == 1:  # the usual case of `layout.cat`
            seen = torch.cat([part.transpose(0, 2) for part in parts]).transpose(0, 2).mul_(self.scale)
        else:
            seen = layout.cat(parts, -1).mul_(self.scale)
        seen = seen.clamp_(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        return seen.squeeze(1) if pursuers == 1 else seen.flatten(1)

    def _observe_many(self, state: Any, offset: Tensor, distance: Tensor) -> Tensor:
        """:meth:`observe` without a gradient, to the last bit: each part is written to where it belongs."""
        worlds, pursuers, dimensions = offset.shape
        seen = offset.new_empty(pursuers, self.scale.size(0), worlds)
        scales = self.scale.unsqueeze(-1).split(dimensions)
        parts = seen.split(dimensions, dim=1)
        position, velocity = layout.worlds_last(state.position), layout.worlds_last(state.velocity)
        offset, target_velocity = layout.worlds_last(offset), layout.worlds_last(state.target_velocity)
        torch.mul(offset, scales[0], out=parts[0])
        torch.div(offset, (layout.worlds_last(distance) + constant(self.near_range)).unsqueeze(1), out=parts[1])
        torch.sub(target_velocity, velocity, out=parts[2]).mul_(scales[2])
        torch.mul(velocity, scales[3], out=parts[3])
        torch.sub(position, self.centre.unsqueeze(-1), out=parts[4]).mul_(scales[4])
        if self.with_acceleration:
            torch.mul(layout.worlds_last(state.acceleration), scales[5], out=parts[5])
        return layout.worlds_first(seen.clamp_(-OBSERVATION_LIMIT, OBSERVATION_LIMIT).flatten(0, 1))


def relative(arena: Arena, near_range: float, speed: float, acceleration: float | None) -> Relative:
    """The sensor for an arena [m], a near range [m], a speed scale [m/s] and an acceleration scale [m/s^2]."""
    scales = [1 / arena.half, torch.ones_like(arena.half)]
    scales += [torch.full_like(arena.half, 1 / speed)] * 2 + [1 / arena.half]
    if acceleration is not None:
        scales.append(torch.full_like(arena.half, 1 / acceleration))
    return Relative(arena.centre, torch.cat(scales), near_range, acceleration is not None)


@dataclasses.dataclass(frozen=True)
class History:
    """The paper author's observation: the last ``steps`` records, oldest first.

    A record is every pursuer's position, its action, and the target's position: 2 P D + D numbers, positions
    scaled to [-1, 1] over the arena, actions as given. Before the first step the start is repeated.
    """

    arena: Arena
    steps: int

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`Sensor`."""
        return self.steps * (2 * pursuers + 1) * dimensions

    def memory_shape(self, pursuers: int, dimensions: int) -> tuple[int, int]:
        """See :class:`Sensor`."""
        return self.steps, (2 * pursuers + 1) * dimensions

    def record(self, state: Any) -> Tensor:
        """See :class:`Sensor`."""
        return layout.cat(self._parts(state), dim=-1)

    def remembered(self, state: Any) -> Tensor:
        """See :class:`Sensor`."""
        kept = state.history[:, 1:].flatten(1)
        records: Tensor = layout.cat([kept, *self._parts(state)], dim=-1).view(state.history.shape)
        return records

    def _parts(self, state: Any) -> list[Tensor]:
        centre, half = self.arena.centre, self.arena.half
        own = (state.position - centre).div_(half)
        target = (state.target_position - centre).div_(half)
        return [own.flatten(1), state.action.flatten(1), target]

    def observe(self, state: Any, offset: Tensor | None = None, distance: Tensor | None = None) -> Tensor:
        """See :class:`Sensor`."""
        records: Tensor = state.history.flatten(1)  # a view; environments hand out copies
        return records
