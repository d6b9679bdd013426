"""What there is to draw of a basic track."""

from __future__ import annotations

import torch

from rl_tracking.envs.geometry import length
from rl_tracking.envs.parts.target_step import TargetFacts
from rl_tracking.envs.scenarios.track2d.state import Track2dState
from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone


def scene(facts: TargetFacts, state: Track2dState) -> Scene:
    """The robot, the target in its capture circle, and the line of sight between them."""
    target = state.target_position.unsqueeze(1)
    distance = length(target - state.position).squeeze(-1)
    return Scene(
        low=facts.arena_low,
        high=facts.arena_high,
        bodies=(
            Bodies("robot", "box", "pursuer", state.position, state.velocity),
            Bodies("target", "ball", "target", target, state.target_velocity.unsqueeze(1)),
        ),
        zones=(
            Zone(
                "capture radius",
                "ring",
                state.target_position,
                torch.full_like(distance, facts.capture_radius),
                distance <= facts.capture_radius,
            ),
        ),
        lines=(
            Lines("line of sight", torch.stack([state.position.squeeze(1), state.target_position], 1).unsqueeze(1)),
        ),
        numbers={"distance": (distance, "m"), "speed": (length(state.velocity).squeeze(-1), "m/s")},
        chart="distance",
        level=facts.capture_radius,
    )
