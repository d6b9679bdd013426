"""Where the pursuers of a search start."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.parts.arena import Arena
from rl_tracking.envs.scenarios.intercept.parameters import InterceptParameters


def pursuer_spawn(values: InterceptParameters, arena: Arena, key: Tensor) -> Tensor:
    """Spawn points of the pursuers ``[B, P, D]`` [m], inside the arena."""
    # One draw a pursuer: the pursuer's number takes the place of the step.
    draws = [
        noise.uniform(key, torch.full_like(key, pursuer), Stream.PURSUER_SPAWN, values.dimensions)
        for pursuer in range(values.pursuers)
    ]
    u = layout.worlds_fastest(torch.stack(draws, dim=1))
    if values.spawn == "anywhere":
        spot = arena.low + u * (arena.high - arena.low + (1 if values.whole_units else 0))
    else:
        spot = arena.centre + (2 * u - 1) * values.spawn_radius
    return arena.clip(spot.floor() if values.whole_units else spot)
