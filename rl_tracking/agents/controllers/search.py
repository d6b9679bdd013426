"""Search for a target that is seen from near only: fly lanes until it is seen, then lead pursuit.

The lanes are those of a parallel sweep, Koopman, "Search and Screening" (1980): so close that all of the arena comes
within the sight range. This controller reads of the target only what the pursuers have seen.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Protocol

import torch
from torch import Tensor

from rl_tracking.agents.controllers.guidance import Limits, fly_to, lead_pursuit

PACE = 0.8  # of the largest speed, at which the point that a pursuer follows moves along the lanes
MEMORY = 5.0  # time for which pursuers look where the target was seen last [s]


class SearchLimits(Limits, Protocol):
    """What this controller reads of the constants of a world besides :class:`Limits`.

    Attributes:
        arena_low, arena_high: corners of the arena ``[D]`` [m].
        sight_range: the target is seen while some pursuer is this near [m].
        dt: control step [s].
    """

    arena_low: Tensor
    arena_high: Tensor
    sight_range: float
    dt: float


def lawn_mower(scenario: Any, state: Any) -> Tensor:
    """Fly lanes through the arena until the target is seen, then lead pursuit; look where it was seen last."""
    limits: SearchLimits = scenario.facts
    # In sight: lead pursuit by all.
    chase = lead_pursuit(scenario, state).view_as(state.position)
    # Just lost: to where it would be by now.
    guess = state.seen_position + state.seen_velocity * state.since_seen.unsqueeze(-1)
    guess = torch.minimum(torch.maximum(guess, limits.arena_low), limits.arena_high).unsqueeze(1)
    follow = fly_to(limits, state, guess - state.position, torch.zeros_like(state.position)).view_as(chase)
    # Else: along the lanes, each pursuer on a part of its own.
    place, velocity = _on_lanes(limits, state)
    sweep = fly_to(limits, state, place - state.position, velocity).view_as(chase)
    lost = (state.since_seen <= MEMORY).view(-1, 1, 1)
    return torch.where(state.visible.view(-1, 1, 1), chase, torch.where(lost, follow, sweep)).flatten(1)


def _on_lanes(limits: SearchLimits, state: Any) -> tuple[Tensor, Tensor]:
    """The point ``[B, P, D]`` [m] that each pursuer follows, and its velocity [m/s].

    The points move along one path through all lanes, from places spread evenly over it, and turn back at its ends.
    """
    low, high = (tuple(corner.tolist()) for corner in (limits.arena_low, limits.arena_high))
    path = torch.tensor(lanes(low, high, limits.sight_range), device=state.device)
    legs = path.diff(dim=0)
    lengths = torch.linalg.vector_norm(legs, dim=-1)
    ends = lengths.cumsum(0)
    total, pursuers = float(ends[-1]), state.position.shape[1]
    start = torch.arange(pursuers, device=state.device) * (total / pursuers)
    speed = PACE * limits.speed_limit
    flown = (start + (state.step * limits.dt).unsqueeze(-1) * speed) % (2 * total)
    back = flown > total
    along = torch.where(back, 2 * total - flown, flown)
    leg = torch.searchsorted(ends, along.contiguous()).clamp(max=len(legs) - 1)
    direction = legs[leg] / lengths[leg].unsqueeze(-1)
    place = path[leg] + direction * (along - (ends[leg] - lengths[leg])).unsqueeze(-1)
    return place, torch.where(back.unsqueeze(-1), -direction, direction) * speed


@functools.lru_cache(maxsize=16)
def lanes(low: tuple[float, ...], high: tuple[float, ...], sight: float) -> list[list[float]]:
    """The corners of a path along x through all lanes [m]; every point of the arena is within ``sight`` of it.

    Args:
        low: lower corner of the arena, D numbers.
        high: upper corner.
        sight: the sight range [m].
    """
    # A lane sees all of a square about it whose half diagonal is the sight range; in a plane it sees that far aside.
    widest = 2 * sight / math.sqrt(len(low) - 1)
    across = [_middles(a, b, widest) for a, b in zip(low[1:], high[1:], strict=True)]
    path: list[list[float]] = []
    # Every second row of lanes is flown the other way, so that the next lane is always a neighbour.
    rows = itertools.product(*across[:-1])
    places = [(*row, last) for i, row in enumerate(rows) for last in (across[-1] if i % 2 == 0 else across[-1][::-1])]
    for i, place in enumerate(places):
        first, second = (low[0], high[0]) if i % 2 == 0 else (high[0], low[0])
        path += [[first, *place], [second, *place]]
    return path


def _middles(low: float, high: float, widest: float) -> list[float]:
    """The middles of equal parts of [low, high], none wider than ``widest``."""
    parts = max(math.ceil((high - low) / widest - 1e-9), 1)
    return [low + (part + 0.5) * (high - low) / parts for part in range(parts)]
