"""What there is to draw of a pursuit."""

from __future__ import annotations

import torch

from rl_tracking.envs.geometry import length
from rl_tracking.envs.parts.target_step import TargetFacts
from rl_tracking.envs.scenarios.pursuit.state import PursuitState
from rl_tracking.envs.scene import Bodies, Scene, Zone


def scene(facts: TargetFacts, state: PursuitState) -> Scene:
    """Pursuers, the target and its capture sphere; the distance of the nearest pursuer as the charted number."""
    distance = length(state.target_position.unsqueeze(1) - state.position).amin(dim=-1)
    inside = distance <= facts.capture_radius
    pursuers = Bodies("pursuer", "drone", "pursuer", state.position, state.velocity, state.acceleration)
    target = Bodies("target", "ball", "target", state.target_position.unsqueeze(1), state.target_velocity.unsqueeze(1))
    radius = torch.full_like(distance, facts.capture_radius)
    return Scene(
        low=facts.arena_low,
        high=facts.arena_high,
        bodies=(pursuers, target),
        zones=(Zone("capture radius", "sphere", state.target_position, radius, inside),),
        numbers={"distance": (distance, "m"), "speed": (length(state.velocity).amax(dim=-1), "m/s")},
        chart="distance",
    )
