"""A step of a swarm: where the slots are, how far the pursuers are from them and from each other."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rl_tracking.envs import layout
from rl_tracking.envs.geometry import least_length, length, summed
from rl_tracking.envs.operations import constant
from rl_tracking.envs.parts.flight import FlightStep, gaps
from rl_tracking.envs.parts.target_step import TargetFacts
from rl_tracking.envs.transition import cached


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwarmFacts(TargetFacts):
    """The constants of a swarm; ``capture_radius`` is the slot error that counts as in formation [m].

    Attributes:
        slots: of each formation, from the target ``[P, D, F]`` [m].
        pairs: the pursuers of each of the K pairs ``[2, K]``.
        near_slot: distance to the own slot that counts as near [m].
        collision_distance: two pursuers nearer than this collide [m].
        scale: of the formation [m].
    """

    slots: Tensor
    pairs: Tensor
    near_slot: float
    collision_distance: float
    scale: float

    def offsets(self, formation: Tensor) -> Tensor:
        """The slots of commanded formations ``[B]`` from the target, ``[B, P, D]`` [m]."""
        return layout.worlds_first(self.slots.index_select(-1, formation))

    def gaps(self, position: Tensor) -> Tensor:
        """From one to the other pursuer of each pair, ``[B, K, D]`` [m]."""
        return gaps(position, self.pairs)


@dataclasses.dataclass(frozen=True)
class SwarmStep(FlightStep):
    """A step of P pursuers, each with a slot of the formation that was commanded before it.

    Attributes:
        facts: the constants of the task.
    """

    facts: SwarmFacts

    @cached
    def slot_offset(self) -> Tensor:
        """Of each slot from the target, ``[B, P, D]`` [m]."""
        return self.facts.offsets(self.before.formation)

    @cached
    def slot_distance(self) -> Tensor:
        """Of each pursuer to its slot when the step is judged, ``[B, P]`` [m]."""
        return length(self.offset + self.slot_offset)

    @cached
    def slot_distance_before(self) -> Tensor:
        """Of each pursuer to its slot before the step, ``[B, P]`` [m]."""
        return length(self.offset_before + self.slot_offset)

    @cached
    def slot_error(self) -> Tensor:
        """Of each pursuer to its slot at the end of the step, ``[B, P]`` [m]."""
        if not self.facts.target_moves_last:
            return self.slot_distance
        return length(self.after.target_position.unsqueeze(1) + self.slot_offset - self.after.position)

    @cached
    def mean_slot_error(self) -> Tensor:
        """:attr:`slot_error`, mean over pursuers, ``[B]`` [m]."""
        return summed(self.slot_error) / self.slot_error.shape[1]

    @cached
    def gap(self) -> Tensor:
        """From one to the other pursuer of each pair at the end of the step, ``[B, K, D]`` [m]."""
        return self.facts.gaps(self.after.position)

    @cached
    def separation(self) -> Tensor:
        """Distance of each pair at the end of the step, ``[B, K]`` [m]."""
        return length(self.gap)

    @cached
    def close_pairs(self) -> Tensor:
        """Number of pairs nearer than the collision distance at the end of the step, ``[B]``."""
        return (self.separation < constant(self.facts.collision_distance)).sum(dim=-1).to(self.separation.dtype)

    @cached
    def colliding_pairs(self) -> Tensor:
        """Number of pairs that came nearer than the collision distance on their way through the step, ``[B]``.

        Their relative motion is taken as straight between the step's ends.
        """
        limit = self.facts.collision_distance
        if self.separation.is_cpu and not torch.compiler.is_compiling() and not self._come_near(limit):
            return torch.zeros_like(self.separation[:, 0])
        nearest = least_length(self.facts.gaps(self.before.position), self.gap)
        return (nearest < constant(limit)).sum(dim=-1).to(nearest.dtype)

    def _come_near(self, limit: float) -> bool:
        """Whether some two pursuers can have come nearer than ``limit`` [m] to each other in the step."""
        if not self.facts.commands_acceleration:
            return True
        longest = 2.0 * self.facts.speed_limit * self.facts.dt
        return self.separation.amin().item() <= limit + 1.001 * longest
