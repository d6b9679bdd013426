"""What is measured in each step of a swarm, and the figures of an episode."""

from __future__ import annotations

from torch import Tensor

from rl_tracking.envs.base import Metric
from rl_tracking.envs.geometry import summed
from rl_tracking.envs.operations import constant, int_constant
from rl_tracking.envs.scenarios.swarm.step import SwarmStep
from rl_tracking.envs.totals import SHARE, Totals

METRICS = (
    Metric("success_rate", "held", "ever", unit=SHARE, success=True),
    Metric("mean_slot_error", "slot_error", "mean", unit="m", better="down", headline=True),
    Metric("time_in_formation", "in_formation", "mean", unit=SHARE),
    Metric("collision_rate", "collided", "ever", unit=SHARE, better="down"),
    Metric("least_separation", "least_separation", "least", unit="m"),
)
_COLUMNS = Totals(METRICS).columns
_ERROR_SO_FAR, _FIRST_COLLISION = _COLUMNS.index(("sum", "slot_error")), _COLUMNS.index(("first", "collided"))


def measures(step: SwarmStep, max_steps: int) -> dict[str, Tensor]:
    """The measures of a step, ``[B]`` each.

    ``slot_error`` [m] is the mean over pursuers at the end of the step, ``in_formation`` whether it is within the
    tolerance; ``separation`` [m] is the mean over pairs, ``least_separation`` [m] that of the nearest pair, both at the
    end; ``close_pairs`` counts the pairs nearer than the collision distance there, and ``collided`` says whether some
    pair came so near on its way. ``held`` holds in the last step of an episode without a collision whose mean slot
    error is within the tolerance.
    """
    facts, error = step.facts, step.mean_slot_error
    collided, separation = step.colliding_pairs > 0, step.separation
    return {
        "slot_error": error,
        "in_formation": error <= constant(facts.capture_radius),
        "separation": summed(separation) / separation.shape[1],
        "least_separation": separation.amin(dim=-1),
        "close_pairs": step.close_pairs,
        "collided": collided,
        "held": _held(step, error, collided, max_steps),
    }


def _held(step: SwarmStep, error: Tensor, collided: Tensor, max_steps: int) -> Tensor:
    """Whether an episode ends here that was held, ``[B]`` bool, from the totals of the steps before."""
    totals, count = step.before.totals, step.after.step
    mean = (totals[:, _ERROR_SO_FAR] + error) / count
    before = totals[:, _FIRST_COLLISION].isfinite()
    held: Tensor = (
        (count >= int_constant(max_steps)) & (mean <= constant(step.facts.capture_radius)) & ~collided & ~before
    )
    return held
