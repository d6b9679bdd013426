"""Where the target and the pursuers of a pursuit start."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.envs import noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.parts.arena import Arena
from rl_tracking.envs.scenarios.pursuit.parameters import PursuitParameters


def target_spawn(values: PursuitParameters, arena: Arena, key: Tensor) -> Tensor:
    """Spawn points of the target ``[B, D]`` [m], inside the arena."""
    centre = arena.centre.expand(key.shape[0], -1)
    if values.target_spawn == "centre":
        return centre.clone()
    u = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_SPAWN, 2 * values.dimensions)
    first, second = u.chunk(2, dim=-1)
    if values.target_spawn == "box":
        if values.whole_units:
            spot = (centre - values.target_spawn_size / 2 + first * (values.target_spawn_size + 1)).floor()
            return arena.clip(spot)
        return centre + (first - 0.5) * values.target_spawn_size
    # An edge runs along one axis; on the others the point lies on either face.
    along = (second[:, :1] * values.dimensions).long() == torch.arange(values.dimensions, device=key.device)
    face = torch.where(first < 0.5, -0.5, 0.5)
    spot = centre + torch.where(along, first - 0.5, face) * values.target_spawn_size
    return arena.clip(spot.round() if values.whole_units else spot)


def pursuer_spawn(values: PursuitParameters, arena: Arena, key: Tensor, target: Tensor) -> Tensor:
    """Spawn points of the pursuers ``[B, P, D]`` [m], inside the arena; ``target`` ``[B, D]`` is the target's."""
    if values.spawn == "at-target":
        return target.unsqueeze(1).repeat(1, values.pursuers, 1)
    # One draw a pursuer: the pursuer's number takes the place of the step.
    draws = [
        noise.uniform(key, torch.full_like(key, pursuer), Stream.PURSUER_SPAWN, values.dimensions)
        for pursuer in range(values.pursuers)
    ]
    u = torch.stack(draws, dim=1)
    if values.whole_units:  # each whole number is as likely as another, both ends included
        if values.spawn == "anywhere":
            return arena.clip((arena.low + u * (arena.high - arena.low + 1)).floor())
        offset = (u * (2 * values.spawn_radius + 1)).floor() - values.spawn_radius
        return arena.clip(target.unsqueeze(1) + offset)
    if values.spawn == "anywhere":
        return arena.low + u * (arena.high - arena.low)
    return arena.clip(target.unsqueeze(1) + (2 * u - 1) * values.spawn_radius)
