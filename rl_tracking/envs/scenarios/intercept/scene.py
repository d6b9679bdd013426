"""What there is to draw of a search."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.envs.geometry import length
from rl_tracking.envs.scenarios.intercept.state import InterceptState
from rl_tracking.envs.scenarios.intercept.step import InterceptFacts
from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone

_TILES = 10  # along each axis, at most
_THIN = 0.002  # half the height of a tile, as a share of the arena


def scene(facts: InterceptFacts, state: InterceptState) -> Scene:
    """Pursuers with their sight ranges, the target in its capture sphere, and on the floor where they have been."""
    distance = length(state.target_position.unsqueeze(1) - state.position)
    nearest, first = distance.min(dim=-1)
    sight = torch.stack([state.position[torch.arange(len(first)), first], state.seen_position], dim=1)
    ranges = [
        Zone(
            f"sight of pursuer {number}",
            "sphere",
            state.position[:, number],
            torch.full_like(nearest, facts.sight_range),
            distance[:, number] <= facts.sight_range,
        )
        for number in range(distance.shape[1])
    ]
    capture = Zone(
        "capture radius",
        "sphere",
        state.target_position,
        torch.full_like(nearest, facts.capture_radius),
        nearest <= facts.capture_radius,
    )
    target = state.target_position.unsqueeze(1)
    explored = state.visited_of_block.sum(dim=-1) / facts.grid.total
    return Scene(
        low=facts.arena_low,
        high=facts.arena_high,
        bodies=(
            Bodies("pursuer", "drone", "pursuer", state.position, state.velocity, state.acceleration),
            Bodies("target", "ball", "target", target, state.target_velocity.unsqueeze(1)),
        ),
        zones=(capture, *ranges, *_tiles(facts, state)),
        lines=(Lines("to where it was seen last", sight.unsqueeze(1)),),
        numbers={
            "distance": (nearest, "m"),
            "last seen": (state.since_seen, "s"),
            "explored": (100 * explored, "%"),
        },
        chart="distance",
        level=facts.sight_range,
    )


def _tiles(facts: InterceptFacts, state: InterceptState) -> list[Zone]:
    """A tile on the floor for each column of cells, or square of columns; those without a visited cell have no size."""
    visited, side = _visited_squares(facts, state)
    dimensions = facts.arena_low.shape[0]
    tiles = []
    for x in range(visited.shape[1]):
        for y in range(visited.shape[2]):
            centre = facts.arena_low.clone()
            centre[:2] += centre.new_tensor([x + 0.5, y + 0.5]) * side
            half = torch.full_like(centre, 0.46 * side)
            half[2:] = _THIN * float(facts.arena_high[0])
            size = visited[:, x, y].unsqueeze(-1) * half
            tiles.append(Zone("visited", "box", centre.expand(len(state), dimensions), size))
    return tiles


def _visited_squares(facts: InterceptFacts, state: InterceptState) -> tuple[Tensor, float]:
    """Whether each square of the floor has a visited cell above it ``[B, X, Y]``, and the side of a square [m]."""
    grid = facts.grid
    cells = torch.arange(grid.total, device=state.device)
    visited = grid.is_visited(state.visited, cells).view(len(state), grid.cells, grid.cells, -1).any(dim=-1)
    together = -(-grid.cells // _TILES)
    padding = -grid.cells % together
    padded = torch.nn.functional.pad(visited.float(), (0, padding, 0, padding))
    return torch.nn.functional.max_pool2d(padded.unsqueeze(1), together).squeeze(1), together * grid.cell
