"""What there is to draw of a swarm."""

from __future__ import annotations

import torch

from rl_tracking.envs.geometry import length
from rl_tracking.envs.scenarios.swarm.state import SwarmState
from rl_tracking.envs.scenarios.swarm.step import SwarmFacts
from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone


def scene(facts: SwarmFacts, state: SwarmState) -> Scene:
    """Pursuers, the target, a slot for each pursuer, and the line from each pursuer to its slot."""
    slots = state.target_position.unsqueeze(1) + facts.offsets(state.formation)
    error = length(slots - state.position)
    separation = length(facts.gaps(state.position)).amin(dim=-1)
    zones = [
        Zone(
            f"slot {number}",
            "sphere",
            slots[:, number],
            torch.full_like(separation, facts.capture_radius),
            error[:, number] <= facts.capture_radius,
        )
        for number in range(slots.shape[1])
    ]
    return Scene(
        low=facts.arena_low,
        high=facts.arena_high,
        bodies=(
            Bodies("pursuer", "drone", "pursuer", state.position, state.velocity, state.acceleration),
            Bodies("target", "ball", "target", state.target_position.unsqueeze(1), state.target_velocity.unsqueeze(1)),
        ),
        zones=tuple(zones),
        lines=(Lines("way to the slot", torch.stack([state.position, slots], dim=2)),),
        numbers={"slot error": (error.mean(dim=-1), "m"), "least separation": (separation, "m")},
        chart="slot error",
        level=facts.capture_radius,
    )
