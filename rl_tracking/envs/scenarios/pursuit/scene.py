"""What there is to draw of a pursuit."""

from __future__ import annotations

import torch

from rl_tracking.envs.geometry import length
from rl_tracking.envs.parts.target_step import TargetFacts
from rl_tracking.envs.scenarios.pursuit.state import PursuitState
from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone


def scene(facts: TargetFacts, state: PursuitState) -> Scene:
    """Pursuers, the target in its capture sphere, and the line of sight from the nearest pursuer to it.

    The charted number is the distance of the nearest pursuer as the steps are judged; where the target moves last, that
    is the distance to where it was before its move.
    """
    target = state.target_position.unsqueeze(1)
    each = state.judged_distance if facts.target_moves_last else length(target - state.position)
    distance, nearest = each.min(dim=-1)
    sight = torch.stack([state.position[torch.arange(len(nearest)), nearest], state.target_position], dim=1)
    return Scene(
        low=facts.arena_low,
        high=facts.arena_high,
        bodies=(
            Bodies("pursuer", "drone", "pursuer", state.position, state.velocity, state.acceleration),
            Bodies("target", "ball", "target", target, state.target_velocity.unsqueeze(1)),
        ),
        zones=(
            Zone(
                "capture radius",
                "sphere",
                state.target_position,
                torch.full_like(distance, facts.capture_radius),
                distance <= facts.capture_radius,
            ),
        ),
        lines=(Lines("line of sight", sight.unsqueeze(1)),),
        numbers={"distance": (distance, "m"), "speed": (length(state.velocity).amax(dim=-1), "m/s")},
        chart="distance",
        level=facts.capture_radius,
    )
