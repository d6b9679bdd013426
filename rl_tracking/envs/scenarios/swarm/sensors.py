"""What is observed of a swarm: the slots, or records of all positions; and the commanded formation."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from rl_tracking.envs import layout
from rl_tracking.envs.geometry import length
from rl_tracking.envs.parts.formations import FORMATIONS
from rl_tracking.envs.parts.sensors import History, Relative
from rl_tracking.envs.scenarios.swarm.state import SwarmState
from rl_tracking.envs.scenarios.swarm.step import SwarmFacts


class SwarmSensor(Protocol):
    """Turns a state into an observation."""

    def size(self, pursuers: int, dimensions: int) -> int:
        """Length O of the observation."""

    def record(self, state: SwarmState) -> Tensor:
        """What is kept of the present state, ``[B, F]``; F is 0 where nothing is."""

    def observe(self, state: SwarmState) -> Tensor:
        """The observation ``[B, O]``."""


@dataclasses.dataclass(frozen=True)
class RelativeSlots:
    """What :class:`rl_tracking.envs.parts.sensors.Relative` says, of each pursuer's slot; then the formation."""

    relative: Relative
    facts: SwarmFacts

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`SwarmSensor`."""
        return self.relative.size(pursuers, dimensions) + len(FORMATIONS)

    def record(self, state: SwarmState) -> Tensor:
        """See :class:`SwarmSensor`."""
        return self.relative.record(state)

    def observe(self, state: SwarmState) -> Tensor:
        """See :class:`SwarmSensor`."""
        slots = state.target_position.unsqueeze(1) + self.facts.offsets(state.formation)
        offset = slots - state.position
        seen = self.relative.observe(state, offset, length(offset))
        return layout.cat([seen, commanded(state)], dim=-1)


@dataclasses.dataclass(frozen=True)
class SwarmHistory:
    """The paper author's observation: the last records, oldest first, each with the formation at its end."""

    history: History

    def size(self, pursuers: int, dimensions: int) -> int:
        """See :class:`SwarmSensor`."""
        return self.history.size(pursuers, dimensions) + self.history.steps * len(FORMATIONS)

    def record(self, state: SwarmState) -> Tensor:
        """See :class:`SwarmSensor`."""
        return layout.cat([self.history.record(state), commanded(state)], dim=-1)

    def observe(self, state: SwarmState) -> Tensor:
        """See :class:`SwarmSensor`."""
        return self.history.observe(state)


def commanded(state: SwarmState) -> Tensor:
    """The commanded formation, one number of :data:`FORMATIONS` being 1 ``[B, 4]``."""
    known = torch.arange(len(FORMATIONS), device=state.formation.device).unsqueeze(-1)
    return (known == state.formation).to(state.position.dtype).t()
