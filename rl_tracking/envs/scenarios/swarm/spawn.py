"""How an episode of a swarm begins, and when another formation is commanded."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.operations import constant
from rl_tracking.envs.parts.formations import FORMATIONS
from rl_tracking.envs.scenarios.swarm.parameters import SwarmParameters

_WIDE = 10.0  # times the spawn radius


def formation(values: SwarmParameters, key: Tensor, step: Tensor, before: Tensor | None = None) -> Tensor:
    """The commanded formations ``[B]`` int64 at the start of an episode, or after a step.

    Args:
        values: the parameters.
        key: noise keys ``[B]``.
        step: steps made ``[B]``.
        before: the formations until now; None at the start.
    """
    number = len(FORMATIONS)
    if before is None and values.formation != "any":
        return torch.full_like(key, FORMATIONS.index(values.formation))
    share = noise.uniform(key, step, Stream.FORMATION, 2)
    if before is None:
        return (share[:, 0] * number).long()
    # One of the others, each as likely; the time between two changes is geometric.
    other = (before + 1 + (share[:, 1] * (number - 1)).long()) % number
    return torch.where(share[:, 0] < constant(min(values.dt / values.switch_interval, 1.0)), other, before)


def pursuer_spawn(values: SwarmParameters, key: Tensor, slots: Tensor) -> Tensor:
    """Spawn points of the pursuers ``[B, P, D]`` [m] about their slots, which may lie outside of the arena."""
    if values.spawn == "slots":
        return slots
    # One draw a pursuer: the pursuer's number takes the place of the step.
    draws = [
        noise.uniform(key, torch.full_like(key, pursuer), Stream.PURSUER_SPAWN, values.dimensions)
        for pursuer in range(values.pursuers)
    ]
    radius = values.spawn_radius * (_WIDE if values.spawn == "wide" else 1.0)
    return slots + layout.worlds_fastest(2 * torch.stack(draws, dim=1) - 1) * radius
