"""The state of a swarm."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rl_tracking.envs.parts.flight import FlightState


@dataclasses.dataclass(frozen=True)
class SwarmState(FlightState):
    """B worlds with P pursuers in D dimensions.

    Attributes:
        formation: the one that is commanded ``[B]`` int64, a place in
            :data:`rl_tracking.envs.parts.formations.FORMATIONS`.
        earlier: with ``author_bugs``, where the last episode ended ``[B, P, D]`` [m]; else ``[B, 0, D]``.
    """

    formation: Tensor
    earlier: Tensor
