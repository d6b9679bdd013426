"""A step of pursuers after a target: the constants of the task, distances, and captures on the way.

The step of any scenario whose state has pursuers and one target; the rewards in ``parts`` read it.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs.geometry import least_length, length
from rl_tracking.envs.operations import constant
from rl_tracking.envs.transition import Step, cached


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
        distance = length(self.offset)
        if not torch.is_grad_enabled():  # for the next step, which begins with these
            self.after.derived.update(offset_before=self.offset, distance_before=distance)
        return distance

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
        if inside.is_cpu and not is_dynamo_compiling():  # on a GPU, asking costs more than computing it
            least = nearest if nearest.numel() == 1 else nearest.amin()
            if least.item() > facts.capture_radius + facts.longest_approach:
                return inside  # no pursuer can have come so near
        return inside | self._passes

    @property
    def _passes(self) -> Tensor:
        """Whether some pursuer's way leads through the capture radius, ``[B]`` bool."""
        if self.facts.target_moves_last:
            judged, end = self.target_position.unsqueeze(1), self.after.position
            first, corner = judged - self.before.position, judged - end
            last = self.after.target_position.unsqueeze(1) - end
            least = torch.minimum(least_length(first, corner), least_length(corner, last))
        else:
            least = least_length(self.offset_before, self.offset)
        return (least.amin(dim=-1) if least.shape[-1] > 1 else least.squeeze(-1)) <= constant(self.facts.capture_radius)
