"""How a pursuer moves: ``kinematic`` (the paper author's) and ``drone``.

Equation symbols here: p position [m], v velocity [m/s], a acceleration [m/s^2], u command, w wind [m/s],
h sub-step [s], k drag [1/s], tau lag [s].
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rl_tracking.envs.geometry import limit_length_, limit_lengths
from rl_tracking.envs.operations import constant
from rl_tracking.envs.transition import cached


class Body(NamedTuple):
    """Position [m], velocity [m/s] and acceleration [m/s^2] of the pursuers, each ``[B, P, D]``."""

    position: Tensor
    velocity: Tensor
    acceleration: Tensor


class Dynamics(Protocol):
    """The law of motion of all pursuers over one control step."""

    @property
    def speed_limit(self) -> float:
        """Greatest speed along any direction of flight [m/s]."""

    @property
    def acceleration_limit(self) -> float:
        """Greatest commanded acceleration [m/s^2]; sets the scale of what sensors report."""

    def step(self, body: Body, u: Tensor, w: Tensor | None) -> Body:
        """Advance by one control step.

        Args:
            body: the pursuers before the step.
            u: action ``[B, P, D]`` in [-1, 1].
            w: wind ``[B, 1, D]`` [m/s], or None in still air.
        """


@dataclasses.dataclass(frozen=True)
class Kinematic:
    """Displacement = action x ``step_length`` an axis, cut to whole units when ``whole_units`` is set."""

    dt: float
    step_length: float
    whole_units: bool = False

    @property
    def speed_limit(self) -> float:
        """Speed along one axis [m/s]."""
        return self.step_length / self.dt

    @property
    def acceleration_limit(self) -> float:
        """A full reversal within one step [m/s^2]."""
        return 2.0 * self.speed_limit / self.dt

    def step(self, body: Body, u: Tensor, w: Tensor | None) -> Body:
        """See :meth:`Dynamics.step`; wind moves the pursuer along."""
        displacement = u * constant(self.step_length)
        if self.whole_units:
            displacement = _whole(displacement)
        if w is not None:
            displacement = displacement + w * self.dt
        v = displacement / constant(self.dt)
        return Body(body.position + displacement, v, (v - body.velocity) / constant(self.dt))


def _whole(displacement: Tensor) -> Tensor:
    """Cut to whole numbers, in place where no gradient is asked for."""
    if not displacement.requires_grad:
        return displacement.trunc_()
    cut: Tensor = _StraightThrough.apply(displacement)  # type: ignore[no-untyped-call]
    return cut


class _StraightThrough(torch.autograd.Function):
    """Cut to whole numbers, with the gradient of the numbers before they are cut.

    That of the steps is 0 everywhere, and that of their mean under noise much wider than a step is 1 (the
    straight-through estimator of Bengio et al. 2013, arXiv 1308.3432).
    """

    @staticmethod
    def forward(ctx: Any, displacement: Tensor) -> Tensor:
        """Cut, also -0.3 to -0."""
        return displacement.trunc()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """As if nothing had been cut."""
        return gradients[0]


@dataclasses.dataclass(frozen=True)
class Drone:
    """Commanded acceleration behind a motor lag, linear drag against the air, a speed limit.

    With the command held over a sub-step h, lag and drag are solved exactly:

        a' = u + (a - u) exp(-h / tau)
        v' = w + (v - w) exp(-k h) + a' (1 - exp(-k h)) / k
        p' = p + h (v + v') / 2

    so the terminal speed in still air is exactly a / k, whatever h is. The speed limit acts on each sub-step.
    """

    dt: float
    max_acceleration: float
    max_speed: float
    drag: float
    motor_lag: float
    substeps: int

    @property
    def speed_limit(self) -> float:
        """Greatest speed over ground [m/s]."""
        return self.max_speed

    @property
    def acceleration_limit(self) -> float:
        """Greatest commanded acceleration [m/s^2]."""
        return self.max_acceleration

    @cached
    def _factors(self) -> tuple[float, float, float, Tensor, float]:
        """h, exp(-h / tau), exp(-k h) as a number and as a tensor, and (1 - exp(-k h)) / k."""
        h, k = self.dt / self.substeps, self.drag
        lag = math.exp(-h / self.motor_lag) if self.motor_lag > 0 else 0.0
        decay = math.exp(-k * h)
        return h, lag, decay, constant(decay), (1.0 - decay) / k if k > 0 else h

    def step(self, body: Body, u: Tensor, w: Tensor | None) -> Body:
        """See :meth:`Dynamics.step`; the action times the acceleration limit is the command."""
        p, v, a = body
        h, lag, decay, decay_tensor, gain = self._factors
        half, top = h / 2, self.max_speed
        command = limit_length_(u * constant(self.max_acceleration), self.max_acceleration)
        push = None if w is None else w * (1.0 - decay)
        for _ in range(self.substeps):
            a = command.lerp(a, lag)
            after = (v * decay_tensor).add_(a, alpha=gain)
            if push is not None:
                after = after.add_(push)
            after = limit_length_(after, top, seldom=True)
            p = p.add(v, alpha=half).add_(after, alpha=half)
            v = after
        return Body(p, v, a)


@dataclasses.dataclass(frozen=True)
class DronesOfWorlds:
    """:class:`Drone` with constants of their own for every world, tensors ``[B, 1, 1]``."""

    dt: float
    substeps: int
    max_acceleration: Tensor
    max_speed: Tensor
    drag: Tensor
    motor_lag: Tensor

    @property
    def speed_limit(self) -> float:
        """Greatest speed over ground of any of them [m/s]."""
        return self.max_speed.amax().item()

    @property
    def acceleration_limit(self) -> float:
        """Greatest commanded acceleration of any of them [m/s^2]."""
        return self.max_acceleration.amax().item()

    def step(self, body: Body, u: Tensor, w: Tensor | None) -> Body:
        """See :meth:`Dynamics.step`; the equations are those of :class:`Drone`."""
        p, v, a = body
        h, k = self.dt / self.substeps, self.drag
        lag = torch.exp(-h / self.motor_lag)  # without a lag: exp(-infinity)
        decay = torch.exp(-k * h)
        gain = torch.where(k > 0, (1.0 - decay) / k, h)
        command = limit_lengths(u * self.max_acceleration, self.max_acceleration)
        push = None if w is None else w * (1.0 - decay)
        for _ in range(self.substeps):
            a = torch.lerp(command, a, lag)
            after = v * decay + a * gain
            if push is not None:
                after = after + push
            after = limit_lengths(after, self.max_speed)
            p = p + (v + after) * (h / 2)
            v = after
        return Body(p, v, a)


def gust(w: Tensor, draw: Tensor, *, speed: float | Tensor, time_constant: float, dt: float) -> Tensor:
    """One step of an Ornstein-Uhlenbeck gust ``[B, D]`` whose stationary deviation an axis is ``speed`` [m/s].

    ``speed`` may be a tensor ``[B, 1]``.

    ``w' = rho w + speed sqrt(1 - rho^2) draw`` with ``rho = exp(-dt / time_constant)`` (Uhlenbeck, Ornstein 1930).
    """
    rho = math.exp(-dt / time_constant)
    share = math.sqrt(1.0 - rho * rho)
    if isinstance(speed, Tensor):
        return w * rho + draw * (speed * share)
    return (w * rho).add_(draw, alpha=speed * share)
