"""Two drones that keep apart in a corridor.

Action: Discrete(9). Drone 0 moves ``action // 3 - 1`` steps of 0.5 m, drone 1 ``action % 3 - 1``.

Observation: ``[2, 2]``, for each drone its position and the offset to the other one, divided by the length.

Rewards, one for each drone: ``gap``, the gap divided by the wanted one, at most 1; ``effort``, -0.1 for a move.

Starting state: both anywhere in the corridor. Episode end: they touch (terminal), or 40 steps have passed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking.envs import noise
from rl_tracking.envs.base import Metric, Step, WorldState, new_episode
from rl_tracking.envs.scene import Bodies, Lines, Scene
from rl_tracking.errors import UsageError

RECIPES = Path(__file__).parent / "recipes"
LENGTH = 10.0  # of the corridor [m]
MOVE = 0.5  # [m]
TOUCHING = 0.25  # [m]


@dataclasses.dataclass(frozen=True)
class SpreadState(WorldState):
    """B corridors; ``position`` ``[B, 2]`` [m] of both drones along it."""

    position: Tensor


class Spread:
    """Two drones keep apart.

    Args:
        wanted_gap: smallest gap with the full reward, at most 10 [m].
        max_steps: time limit [steps].

    Raises:
        UsageError: a gap that does not fit into the corridor.
    """

    name = "spread"
    dt = 0.5
    state_class = SpreadState
    observation_space = spaces.Box(-1.0, 1.0, (2, 2), np.float32)
    action_space = spaces.Discrete(9)
    agents = ("drone_0", "drone_1")
    shared_reward = False
    metrics = (
        Metric("mean_gap", "gap", "mean", unit="m", headline=True),
        Metric("least_gap", "gap", "least", unit="m"),
        Metric("apart_rate", "apart", "ever", unit="%", success=True),
        Metric("time_to_part", "apart", "first", unit="s", better="down"),
    )
    controllers = ("random",)

    def __init__(self, wanted_gap: float = 6.0, max_steps: int = 40) -> None:
        if not 0 < wanted_gap <= LENGTH:
            raise UsageError(
                f"wanted_gap of scenario 'spread' must be above 0 and at most {LENGTH:g}, not {wanted_gap}"
            )
        self.wanted_gap, self.max_steps = wanted_gap, max_steps
        self.parameters: dict[str, Any] = {"wanted_gap": wanted_gap, "max_steps": max_steps}

    def on(self, device: torch.device | str) -> Spread:
        """The same scenario: it holds no tensors."""
        return self

    def initial(self, key: Tensor, episode: Tensor) -> SpreadState:
        """Both drones anywhere, by the world's own noise."""
        share = noise.uniform(key, torch.zeros_like(key), noise.Stream.PURSUER_SPAWN, 2)
        return SpreadState(**new_episode(key, episode), position=share * LENGTH)

    def transition(self, state: SpreadState, action: Tensor) -> SpreadState:
        """Both move at once."""
        return state.replace(position=(state.position + MOVE * _moves(action)).clamp(0.0, LENGTH))

    def observation(self, state: SpreadState) -> Tensor:
        """``[B, 2, 2]``."""
        other = state.position.flip(-1) - state.position
        return torch.stack([state.position, other], dim=-1) / LENGTH

    def reward(self, step: Step) -> dict[str, Tensor]:
        """The terms ``[B, 2]`` of both drones."""
        gap = (_gap(step.after) / self.wanted_gap).clamp(max=1.0)
        return {"gap": gap.unsqueeze(1).expand(-1, 2), "effort": -0.1 * _moves(step.action).abs()}

    def terminal(self, step: Step) -> Tensor:
        """They touch."""
        return _gap(step.after) < TOUCHING

    def measures(self, step: Step) -> dict[str, Tensor]:
        """``gap`` [m], and whether it is the wanted one: ``apart``."""
        gap = _gap(step.after)
        return {"gap": gap, "apart": gap >= self.wanted_gap}

    def scene(self, state: SpreadState) -> Scene:
        """The corridor on the floor, with a line between the drones."""
        place = torch.stack([state.position, torch.ones_like(state.position)], dim=-1)
        return Scene(
            low=torch.zeros(2),
            high=torch.tensor([LENGTH, 2.0]),
            bodies=(Bodies("drones", "drone", "pursuer", place),),
            lines=(Lines("gap", place.unsqueeze(1)),),
            numbers={"gap": (_gap(state), "m")},
            chart="gap",
        )


def _moves(action: Tensor) -> Tensor:
    """What each drone does: -1, 0 or 1, ``[B] -> [B, 2]``."""
    return torch.stack([action // 3 - 1, action % 3 - 1], dim=-1).to(torch.float32)


def _gap(state: SpreadState) -> Tensor:
    """Between the drones, ``[B]`` [m]."""
    return (state.position[:, 0] - state.position[:, 1]).abs()
