"""Reward terms of a search: functions of a :class:`~rl_tracking.envs.scenarios.intercept.step.InterceptStep`."""

from __future__ import annotations

from torch import Tensor

from rl_tracking.envs.geometry import dot, summed
from rl_tracking.envs.operations import constant
from rl_tracking.envs.parts.rewards import (
    Reward,
    action_length,
    effort,
    number_nearer_than_capture_radius,
    progress,
)
from rl_tracking.envs.scenarios.intercept.step import InterceptStep


def new_cells_unseen(step: InterceptStep) -> Tensor:
    """Number of new cells in a step before which the target was out of sight, else 0."""
    return step.new_cells.masked_fill(step.was_visible, 0.0)


def progress_seen(step: InterceptStep) -> Tensor:
    """Progress towards the target as a share of the longest way, mean over pursuers; 0 unless it was in sight."""
    return progress(step).masked_fill(~step.was_visible, 0.0)


def captured(step: InterceptStep) -> Tensor:
    """1 in the step of a capture."""
    return step.captured.to(step.distance.dtype)


def time(step: InterceptStep) -> Tensor:
    """1 in every step."""
    return step.nearest * 0.0 + 1.0


# The author's terms.


def closing_in_units(step: InterceptStep) -> Tensor:
    """Units by which the distances to the target shrank, summed over pursuers."""
    return summed(step.distance_before - step.distance)


def separation_unseen(step: InterceptStep) -> Tensor:
    """Mean distance of two pursuers [m] while the target is out of sight, else 0."""
    return step.mean_separation.masked_fill(step.was_visible, 0.0)


def square_of_action_unseen(step: InterceptStep) -> Tensor:
    """Square of the action in the units of the dynamics, summed, while the target is out of sight, else 0."""
    square = summed(dot(step.action, step.action)) * constant(step.facts.action_scale**2)
    return square.masked_fill(step.was_visible, 0.0)


def closing_in_units_seen(step: InterceptStep) -> Tensor:
    """:func:`closing_in_units` while the target is in sight, else 0."""
    return closing_in_units(step).masked_fill(~step.was_visible, 0.0)


def action_length_seen(step: InterceptStep) -> Tensor:
    """Length of the action in the units of the dynamics, summed, while the target is in sight, else 0."""
    return action_length(step).masked_fill(~step.was_visible, 0.0)


def surrounding_seen(step: InterceptStep) -> Tensor:
    """How well the target is surrounded while it is in sight, else 0."""
    return step.surrounding.masked_fill(~step.was_visible, 0.0)


INTERCEPTION = Reward(
    (
        ("new_cells", 0.2, new_cells_unseen),
        ("progress", 1.0, progress_seen),
        ("captured", 2.0, captured),
        ("time", -0.1, time),
        ("effort", -0.005, effort),
    ),
    summary="New cells until the target is seen, closing in from then on, capture soon: of size one; intercept",
    judges=InterceptStep,
)
INTERCEPTION_SANDBOX = Reward(
    (
        ("progress", 300.0, closing_in_units),
        ("captured", 1000.0, number_nearer_than_capture_radius),
        ("effort", -0.05, action_length),
    ),
    limit=2000.0,
    limit_each=True,
    summary="Progress to the target, seen or not, within 2000 a pursuer (the author's sandbox, in use); intercept",
    judges=InterceptStep,
)
SEARCH_SANDBOX = Reward(
    (
        ("new_cells", 10.0, new_cells_unseen),
        ("separation", 0.1, separation_unseen),
        ("energy", -0.01, square_of_action_unseen),
        ("progress", 300.0, closing_in_units_seen),
        ("captured", 1000.0, number_nearer_than_capture_radius),
        ("effort", -0.05, action_length_seen),
        ("surrounding", 100.0, surrounding_seen),
    ),
    limit=2000.0,
    limit_each=True,
    summary="Exploration until it is seen, then progress and surrounding (the author's sandbox, as meant); intercept",
    judges=InterceptStep,
)
