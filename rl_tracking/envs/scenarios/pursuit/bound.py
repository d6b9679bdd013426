"""What no policy can beat in an episode of a pursuit: where pursuers can be at full thrust, and where the target goes.

The target's path does not depend on the pursuers. From where a pursuer starts at rest it can reach, in k steps, no
further than R_k, the way of one that thrusts along a straight line all the time: lag, drag, speed limit and wind of the
very dynamics, with the strength of the gusts along that line. (By induction over the sub-steps: each is a sum of
vectors, whose length is at most the sum of their lengths. Walls only bring it nearer to where it started, which lies
inside.) So the target, at q_k, can be captured in step k + 1 only if for some s in [0, 1]

    |q_k + s (q_{k+1} - q_k) - p_0| <= r + R_k + s (R_{k+1} - R_k),

with capture radius r, since captures are seen on straight lines between the ends of steps; and it can be in the radius
at the end of step k only if |q_k - p_0| <= r + R_k. A kinematic pursuer reaches a box in place of a ball.

No policy does better in any episode, one that knows the future included. Whether any does as well is not said: a
pursuer that captures at full speed flies past, and nobody knows where the target will turn.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor

from rl_tracking.envs.parts.dynamics import Body, Dynamics, Kinematic

if TYPE_CHECKING:
    from rl_tracking.envs.scenarios.pursuit.scenario import Pursuit
    from rl_tracking.envs.scenarios.pursuit.state import PursuitState

_ROUNDING = 2.0**-22  # of a position in a step, as a share of the arena's side; positions are float32


class Reach(Protocol):
    """All places to which a pursuer can have come by now, and perhaps more, relative to where it started."""

    def after(self, wind: Tensor) -> Self:
        """A control step later; the wind in it is ``[B, D]`` [m/s]."""

    def gap(self, offset: Tensor) -> Tensor:
        """Distance ``[B, P]`` [m] from them to points ``[B, P, D]``."""

    def passed(self, later: Self, before: Tensor, after: Tensor, radius: float) -> Tensor:
        """Whether a point comes within ``radius`` of them on a straight line, ``[B, P]`` bool.

        Args:
            later: the places at the line's end; in between they grow evenly.
            before: the point at the start of the line ``[B, P, D]``.
            after: at its end.
            radius: [m].
        """


@dataclasses.dataclass(frozen=True)
class Ball:
    """What a drone reaches.

    Attributes:
        dynamics: of the worlds.
        body: of a drone at full thrust along the first axis, from rest at the origin, ``[B, 1, D]`` each.
        rounding: of positions so far [m].
        each: of positions in a step [m].
    """

    dynamics: Dynamics
    body: Body
    rounding: float
    each: float

    @property
    def radius(self) -> Tensor:
        """``[B, 1]`` [m]."""
        return self.body.position[:, :, 0].double() + self.rounding

    def after(self, wind: Tensor) -> Self:
        """See :class:`Reach`."""
        ahead = torch.zeros_like(self.body.position)
        ahead[..., 0] = 1.0
        blown = ahead * torch.linalg.vector_norm(wind, dim=-1)[:, None, None]
        moved = self.dynamics.step(self.body, ahead, blown if bool(wind.any()) else None)
        return dataclasses.replace(self, body=moved, rounding=self.rounding + self.each)

    def gap(self, offset: Tensor) -> Tensor:
        """See :class:`Reach`."""
        distance: Tensor = torch.linalg.vector_norm(offset, dim=-1)
        return (distance - self.radius).clamp(min=0.0)

    def passed(self, later: Self, before: Tensor, after: Tensor, radius: float) -> Tensor:
        """See :class:`Reach`: the least value of |x(s)|^2 - (r + R(s))^2, a quadratic in s."""
        way, reach, grown = after - before, radius + self.radius, later.radius - self.radius
        a = torch.linalg.vecdot(way, way) - grown**2
        b = 2.0 * (torch.linalg.vecdot(before, way) - reach * grown)
        c = torch.linalg.vecdot(before, before) - reach**2
        vertex = (-b / (2.0 * a)).clamp(0.0, 1.0)
        lowest = torch.where(a > 0, (a * vertex + b) * vertex + c, torch.inf)
        return torch.minimum(torch.minimum(c, a + b + c), lowest) <= 0.0


@dataclasses.dataclass(frozen=True)
class Box:
    """What a kinematic pursuer reaches.

    Attributes:
        dynamics: of the worlds.
        half: of its sides ``[B, 1, D]`` [m].
        each: rounding of positions in a step [m].
    """

    dynamics: Kinematic
    half: Tensor
    each: float

    def after(self, wind: Tensor) -> Self:
        """See :class:`Reach`."""
        blown = wind.abs().double().unsqueeze(1) * self.dynamics.dt
        return dataclasses.replace(self, half=self.half + self.dynamics.step_length + blown + self.each)

    def gap(self, offset: Tensor) -> Tensor:
        """See :class:`Reach`."""
        outside = (offset.abs() - self.half).clamp(min=0.0)
        distance: Tensor = torch.linalg.vector_norm(outside, dim=-1)
        return distance

    def passed(self, later: Self, before: Tensor, after: Tensor, radius: float) -> Tensor:
        """See :class:`Reach`; corners are not rounded off, so that some points are taken for near that are not."""
        # On each axis, |x + s d| <= r + h + s g holds between two values of s; all axes must share one.
        reach, grown, way = radius + self.half, later.half - self.half, after - before
        low, high = torch.zeros_like(before), torch.ones_like(before)
        for side in (1.0, -1.0):
            rest, slope = reach - side * before, side * way - grown  # s * slope <= rest
            bound = rest / slope
            high = torch.where(slope > 0, torch.minimum(high, bound), high)
            low = torch.where(slope < 0, torch.maximum(low, bound), low)
            high = torch.where((slope == 0) & (rest < 0), -torch.inf, high)
        return low.amax(dim=-1) <= high.amin(dim=-1)


def reach_at_start(scenario: Pursuit, state: PursuitState) -> Ball | Box:
    """The place where a pursuer starts, at rest."""
    values, dynamics = scenario.parameters, scenario.dynamics_of(state)
    each = _ROUNDING * values["arena_size"] * values["substeps"]
    still = torch.zeros_like(state.position[:, :1])
    if isinstance(dynamics, Kinematic):
        return Box(dynamics, still.double(), each)
    return Ball(dynamics, Body(still, still, still), each, each)


@torch.no_grad()
def bound(scenario: Pursuit, key: Tensor, skip: int) -> dict[str, Tensor]:
    """What no policy can beat in the first episodes of the noise keys ``[B]``: metrics by name, ``[B]`` float64.

    Args:
        scenario: whose target moves by itself.
        key: of the worlds.
        skip: steps at the start of each episode that means leave out.
    """
    facts, state = scenario.facts, scenario.initial(key, torch.zeros_like(key))
    start = state.position.double()
    reach: Any = reach_at_start(scenario, state)
    still = torch.zeros(len(state), *(scenario.action_space.shape or ()), device=state.device)
    first = torch.full_like(key, torch.inf, dtype=torch.float64)
    inside, distance = torch.zeros_like(first), torch.zeros_like(first)
    for step in range(1, facts.max_steps + 1):
        # Follow the target; what the pursuers do there does not matter.
        after = scenario.transition(state, still).replace(step=state.step + 1)
        later = reach.after(after.wind)
        before_it, after_it = (now.target_position.double().unsqueeze(1) - start for now in (state, after))
        # Where the target moves last, the step is judged before it moves, and captures may follow while it does.
        judged = before_it if facts.target_moves_last else after_it
        passed = (later if facts.target_moves_last else reach).passed(later, before_it, after_it, facts.capture_radius)
        gap = later.gap(judged).amin(dim=-1)
        near = gap <= facts.capture_radius
        first = torch.where((passed.any(dim=-1) | near) & first.isinf(), float(step), first)
        if step > skip:
            inside, distance = inside + near, distance + gap
        state, reach = after, later
    return _figures(scenario, first, inside, distance, skip)


def _figures(scenario: Pursuit, first: Tensor, inside: Tensor, distance: Tensor, skip: int) -> dict[str, Tensor]:
    """The metrics from the earliest step of a capture, the steps near the target and the distances summed."""
    possible, counted = first.isfinite(), scenario.max_steps - skip
    found = {
        "capture_rate": possible.double(),
        "time_in_radius": inside / counted,
        "time_to_capture": torch.where(possible, first * scenario.dt, math.nan),
        "mean_distance": distance / counted,
    }
    if scenario.parameters["capture_terminates"]:
        # The one step at whose end it is near ends the episode; how long that is, is the policy's to choose.
        found["time_in_radius"] = torch.where(possible, 1.0 / (first - skip).clamp(min=1.0), 0.0)
        del found["mean_distance"]
    return found
