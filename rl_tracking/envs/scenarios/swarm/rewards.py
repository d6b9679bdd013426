"""Reward terms of a swarm: functions of a :class:`~rl_tracking.envs.scenarios.swarm.step.SwarmStep` to ``[B]``."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.envs.geometry import length, summed
from rl_tracking.envs.operations import below, constant
from rl_tracking.envs.parts.rewards import Reward, action_length, effort
from rl_tracking.envs.scenarios.swarm.step import SwarmStep


def slot_progress(step: SwarmStep) -> Tensor:
    """By how much the distances to the slots shrank, as a share of a pursuer's longest way; mean over pursuers."""
    way = step.slot_distance_before.shape[1] * step.facts.speed_limit * step.facts.dt
    return summed(step.slot_distance_before - step.slot_distance) * constant(1.0 / way)


def in_slot(step: SwarmStep) -> Tensor:
    """1 in the slot, 1/2 at ``near_slot``, falling with the square of the distance; mean over pursuers."""
    ratio = step.slot_distance * constant(1.0 / step.facts.near_slot)
    near = (ratio * ratio + constant(1.0)).reciprocal()
    return summed(near) / near.shape[1]


def collision(step: SwarmStep) -> Tensor:
    """Number of pairs that collided in the step."""
    return step.colliding_pairs


# The author's terms; with `author_bugs`, those of an episode's first step are others.


def slot_progress_in_units(step: SwarmStep) -> Tensor:
    """Units by which the distances to the slots shrank, summed over pursuers."""
    earlier = step.slot_distance_before
    if step.before.earlier.shape[1]:
        last = length(step.target_position.unsqueeze(1) + step.slot_offset - step.before.earlier)
        earlier = torch.where((step.before.step == 0).unsqueeze(-1), last, earlier)
    return summed(earlier - step.slot_distance)


def number_near_slot(step: SwarmStep) -> Tensor:
    """Number of pursuers nearer than ``near_slot`` to their slots."""
    return summed(below(step.slot_distance, constant(step.facts.near_slot)))


def slots_far_from_target(step: SwarmStep) -> Tensor:
    """With ``author_bugs``: mean distance of the slots from the target in an episode's first step, else 0.

    The author's potential is that of the slots, not of the pursuers: it changes once, from 0.
    """
    distance = length(step.slot_offset)
    counts = (step.before.step == 0) & step.facts.author_bugs
    return torch.where(counts, summed(distance) / distance.shape[1], torch.zeros_like(distance[:, 0]))


FORMATION = Reward(
    (
        ("progress", 0.5, slot_progress),
        ("slot", 0.5, in_slot),
        ("effort", -0.005, effort),
        ("collision", -2.0, collision),
    ),
    summary="Closing in on the own slot, being in it, no collision and little effort: dense and of size one; swarm",
    judges=SwarmStep,
)
FORMATION_SANDBOX = Reward(
    (
        ("progress", 300.0, slot_progress_in_units),
        ("slot", 1000.0, number_near_slot),
        ("effort", -0.05, action_length),
        ("potential", -0.1, slots_far_from_target),
    ),
    limit=2000.0,
    limit_each=True,
    summary="Progress to the own slot, being near it and effort, within 2000 a pursuer (the author's sandbox); swarm",
    judges=SwarmStep,
)
