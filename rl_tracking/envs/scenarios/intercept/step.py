"""A step of a search: what is seen, which cells are new, and how the pursuers stand about the target."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rl_tracking.envs.geometry import length, summed
from rl_tracking.envs.parts.exploration import Grid
from rl_tracking.envs.parts.flight import FlightStep, gaps
from rl_tracking.envs.parts.target_step import TargetFacts
from rl_tracking.envs.transition import cached

_TINY = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterceptFacts(TargetFacts):
    """The constants of a search.

    Attributes:
        sight_range: the target is seen while some pursuer is this near [m].
        grid: the cells of which those that were visited are remembered.
        pairs: the pursuers of each of the K pairs ``[2, K]``.
    """

    sight_range: float
    grid: Grid
    pairs: Tensor


@dataclasses.dataclass(frozen=True)
class InterceptStep(FlightStep):
    """A step of P pursuers in search of a target.

    Attributes:
        facts: the constants of the task.
    """

    facts: InterceptFacts

    @cached
    def captured(self) -> Tensor:
        """Whether some pursuer came within the capture radius, ``[B]`` bool: on its way through the step.

        Where the target moves last, as in the author's sandbox, only where the step is judged.
        """
        return self.in_radius if self.facts.target_moves_last else self.in_radius | self._passes()

    @cached
    def visible(self) -> Tensor:
        """Whether some pursuer saw the target at the end of the step, ``[B]`` bool."""
        seen: Tensor = self.after.visible
        return seen

    @cached
    def was_visible(self) -> Tensor:
        """Whether some pursuer saw it before the step, ``[B]`` bool."""
        seen: Tensor = self.before.visible
        return seen

    @cached
    def new_cells(self) -> Tensor:
        """Number of cells visited in the step for the first time in the episode, ``[B]``."""
        return summed(self.after.visited_of_block - self.before.visited_of_block)

    @cached
    def explored(self) -> Tensor:
        """Share of all cells that have been visited, ``[B]``."""
        return summed(self.after.visited_of_block) / self.facts.grid.total

    @cached
    def mean_separation(self) -> Tensor:
        """Distance of two pursuers at the end of the step, mean over pairs, ``[B]`` [m]; 0 for one alone."""
        if not self.facts.pairs.shape[1]:
            return torch.zeros_like(self.nearest)
        separation = length(gaps(self.after.position, self.facts.pairs))
        return summed(separation) / separation.shape[1]

    @cached
    def surrounding(self) -> Tensor:
        """How well the pursuers surround the target, ``[B]``: 1 where their directions from it cancel, 0 in a line.

        One minus the length of the mean of the unit vectors from the target to the pursuers.
        """
        unit = self.offset / self.distance.clamp(min=_TINY).unsqueeze(-1)
        return 1.0 - length(summed(unit.transpose(1, 2)) / unit.shape[1])
