"""A step of pursuers after a target: the constants of the task, distances, and captures on the way.

The step of any scenario whose state has pursuers and one target; the rewards in ``parts`` read it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs import layout
from rl_tracking.envs.geometry import least_length, length
from rl_tracking.envs.operations import MANY, constant
from rl_tracking.envs.transition import Step, cached

_MORE = 1.0 + 1e-6  # covers the rounding of a bound to float32


@dataclasses.dataclass(frozen=True)
class TargetFacts:
    """The constants of a world that a reward may need.

    Attributes:
        dt: control step [s].
        max_steps: time limit [steps].
        capture_radius: a pursuer this near has captured the target [m].
        arena_low: lower corner of the arena ``[D]`` [m].
        arena_high: upper corner of the arena ``[D]`` [m].
        speed_limit: greatest speed of a pursuer [m/s].
        action_scale: what an action of 1 stands for in the units of the dynamics: metres a step for
            ``kinematic``, [m/s^2] for ``drone``.
        commands_acceleration: an action is an acceleration (``drone``), not a displacement (``kinematic``).
        target_moves_last: the step is judged before the target moves, as in the paper author's sandbox:
            distances are to where the target was before the step.
        longest_approach: no pursuer and target move further than this relative to each other in a step, or in each
            half of it where the target moves last [m]; infinite where nothing bounds it.
        author_bugs: rewards are computed with the errors of the author's code.
        moves: what each action commands where actions are numbered ``[n, D]``; None where an action is the command.
    """

    dt: float
    max_steps: int
    capture_radius: float
    arena_low: Tensor
    arena_high: Tensor
    speed_limit: float
    action_scale: float
    commands_acceleration: bool
    target_moves_last: bool
    longest_approach: float = math.inf
    author_bugs: bool = False
    moves: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class TargetStep(Step):
    """A step of P pursuers after one target; distances are computed once and shared by whatever reads them.

    ``before`` and ``after`` are states with the fields ``position``, ``velocity``, ``acceleration`` ``[B, P, D]``,
    ``target_position``, ``target_velocity`` ``[B, D]`` and so on. Nothing here may be changed in place; a reward of
    another package is given copies, so that it may.

    Attributes:
        before, after: the scenario's states.
        action: ``[B, P, D]``, clipped to [-1, 1].
        facts: the constants of the task.
    """

    facts: TargetFacts

    @classmethod
    def measured(cls, before: Any, action: Tensor, after: Any, facts: TargetFacts) -> Self:
        """A step with its distances; together they cost less than each when it is read."""
        new = object.__new__(cls)
        fields = vars(new)
        # Anew where a gradient may be asked for: tensors of inference mode cannot be part of it.
        keeps = not torch.is_grad_enabled()
        if keeps:
            fields.update(before.derived)
        if facts.target_moves_last:
            distance, offset = after.judged_distance, None
        else:
            target = after.target_position
            # One world's place is broadcast as it is.
            offset = fields["offset"] = (target if target.size(0) == 1 else target.unsqueeze(1)) - after.position
            distance = length(offset)
        nearest = distance.squeeze(-1) if distance.size(-1) == 1 else distance.amin(dim=-1)
        if keeps and offset is not None:  # for the next step, which begins with these
            after.derive(offset_before=offset, distance_before=distance, nearest_before=nearest)
        in_radius = nearest <= constant(facts.capture_radius)
        fields.update(
            before=before,
            action=action,
            after=after,
            facts=facts,
            distance=distance,
            nearest=nearest,
            in_radius=in_radius,
        )
        return new

    @cached
    def target_position(self) -> Tensor:
        """Where the target is when the step is judged, ``[B, D]`` [m]."""
        last = self.facts.target_moves_last
        target: Tensor = self.after.target_judged if last else self.after.target_position
        return target

    @cached
    def offset(self) -> Tensor:
        """From each pursuer to the target when the step is judged, ``[B, P, D]`` [m]."""
        offset: Tensor = self.target_position.unsqueeze(1) - self.after.position
        return offset

    @cached
    def distance(self) -> Tensor:
        """Distance of each pursuer to the target when the step is judged, ``[B, P]`` [m]."""
        if self.facts.target_moves_last:
            kept: Tensor = self.after.judged_distance
            return kept
        return length(self.offset)

    @cached
    def offset_before(self) -> Tensor:
        """From each pursuer to the target before the step, ``[B, P, D]`` [m]."""
        offset: Tensor = self.before.target_position.unsqueeze(1) - self.before.position
        return offset

    @cached
    def distance_before(self) -> Tensor:
        """Distance of each pursuer to the target before the step, ``[B, P]`` [m]."""
        return length(self.offset_before)

    @cached
    def nearest(self) -> Tensor:
        """Distance of the nearest pursuer when the step is judged, ``[B]`` [m]."""
        return self.distance.amin(dim=-1) if self.distance.size(-1) > 1 else self.distance.squeeze(-1)

    @cached
    def nearest_before(self) -> Tensor:
        """Distance of the nearest pursuer before the step, ``[B]`` [m]."""
        before = self.distance_before
        return before.amin(dim=-1) if before.size(-1) > 1 else before.squeeze(-1)

    @cached
    def in_radius(self) -> Tensor:
        """Whether some pursuer is within the capture radius when the step is judged, ``[B]`` bool."""
        return self.nearest <= constant(self.facts.capture_radius)

    @cached
    def captured(self) -> Tensor:
        """Whether some pursuer came within the capture radius on its way through the step, ``[B]`` bool.

        The relative motion is taken as straight between the step's ends; a drone's true path leaves that line by
        a dt^2 / 8 at most (2 cm in the ``drone`` preset). Where the target moves last there are two lines: first
        the pursuers move, then the target.
        """
        inside, nearest, facts = self.in_radius, self.nearest, self.facts
        if not inside.is_cpu or is_dynamo_compiling():  # on a GPU, asking costs more than computing it
            return inside | self._passes()
        reach = facts.capture_radius + facts.longest_approach
        worlds = nearest.numel()
        if worlds < MANY:
            least = nearest if worlds == 1 else nearest.min()
            return inside if least.item() > reach else inside | self._passes()
        # Of many worlds, only those are looked at where some pursuer can have come so near.
        near = torch.from_numpy(np.flatnonzero(nearest.detach().numpy() <= reach * _MORE))
        return inside.index_put((near,), inside[near] | self._passes(near)) if near.numel() else inside

    def _passes(self, worlds: Tensor | None = None) -> Tensor:
        """Whether some pursuer's way leads through the capture radius, of all worlds or of some ``[K]``."""

        def of(tensor: Tensor) -> Tensor:
            return tensor if worlds is None else layout.take(tensor, worlds)

        if self.facts.target_moves_last:
            judged, end = of(self.target_position).unsqueeze(1), of(self.after.position)
            first, corner = judged - of(self.before.position), judged - end
            last = of(self.after.target_position).unsqueeze(1) - end
            least = torch.minimum(least_length(first, corner), least_length(corner, last))
        else:
            least = least_length(of(self.offset_before), of(self.offset))
        return (least.amin(dim=-1) if least.shape[-1] > 1 else least.squeeze(-1)) <= constant(self.facts.capture_radius)
