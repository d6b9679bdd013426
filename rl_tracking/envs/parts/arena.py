"""What every motion of a target works with: the target, the arena it stays in, and the protocol of a motion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rl_tracking.envs.geometry import limit_length_, limit_lengths


class Target(NamedTuple):
    """Position ``[B, D]`` [m], velocity ``[B, D]`` [m/s] and the motion's memory ``[B, M]``."""

    position: Tensor
    velocity: Tensor
    memory: Tensor


@dataclasses.dataclass(frozen=True)
class Arena:
    """The box everything stays in, and the control step: what every motion needs to know.

    Attributes:
        bounds: least and greatest coordinate along every axis [m].
        low: lower corner ``[D]`` [m].
        high: upper corner ``[D]`` [m].
        centre: middle ``[D]`` [m].
        half: half of the sides ``[D]`` [m]; what sensors scale positions by.
        dt: control step [s].
    """

    bounds: tuple[float, float]
    low: Tensor
    high: Tensor
    centre: Tensor
    half: Tensor
    dt: float

    def clip(self, position: Tensor) -> Tensor:
        """The nearest position inside the box."""
        return position.clamp(*self.bounds)


def square_arena(size: float, dimensions: int, dt: float, *, whole_units: bool, device: torch.device | str) -> Arena:
    """An arena of equal sides from the origin; with ``whole_units`` its highest place is ``size - 1``."""
    highest = size - 1 if whole_units else size
    low = torch.zeros(dimensions, device=device)
    half = torch.full_like(low, size / 2)
    return Arena((0.0, highest), low, torch.full_like(low, highest), half.clone(), half, dt)


def each(speed: float | Tensor) -> float | Tensor:
    """A speed for use with tensors ``[B]``; one that differs between worlds is ``[B, 1]``."""
    return speed.squeeze(-1) if isinstance(speed, Tensor) else speed


def limited(velocity: Tensor, speed: float | Tensor) -> Tensor:
    """Velocities ``[B, D]`` of at most ``speed``; may write into ``velocity``, which nothing else must hold."""
    return limit_lengths(velocity, speed) if isinstance(speed, Tensor) else limit_length_(velocity, speed)


class Motion(Protocol):
    """The law by which the target moves."""

    @property
    def speed(self) -> float:
        """Greatest speed [m/s]; sets the scale of what sensors report."""

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """The target at step 0; ``anchor`` ``[B, D]`` is the spawn point, ``key`` ``[B]`` the noise keys."""

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """The target one control step later; ``step`` ``[B]`` counts the steps made so far."""


class Responding(Motion, Protocol):
    """A motion that depends on where the pursuers are; scenarios that have none call :meth:`Motion.advance`."""

    def respond(self, target: Target, pursuers: Tensor, arena: Arena) -> Target:
        """The target one control step later; ``pursuers`` ``[B, P, D]`` [m] is where they are before the step."""


def cut_of(motion: Motion, arena: Arena) -> list[str]:
    """What of a motion cannot be flown in an arena, a sentence each, by its method ``cut(arena)`` if it has one."""
    cut: Callable[[Arena], list[str]] | None = getattr(motion, "cut", None)
    return [] if cut is None else cut(arena)


def responds(motion: Motion) -> bool:
    """Whether a motion depends on where the pursuers are."""
    return hasattr(motion, "respond")


Advance = Callable[[Motion, Target, Tensor, Tensor, Tensor, Arena], Target]


def advance(motion: Motion, target: Target, pursuers: Tensor, key: Tensor, step: Tensor, arena: Arena) -> Target:
    """The target one control step later; ``pursuers`` ``[B, P, D]`` [m] is where they are before the step."""
    respond: Callable[..., Target] | None = getattr(motion, "respond", None)
    return motion.advance(target, key, step, arena) if respond is None else respond(target, pursuers, arena)


def mean_or_sample(motion: Motion, target: Target, pursuers: Tensor, key: Tensor, step: Tensor, arena: Arena) -> Target:
    """The target one control step later by the mean of its motion; of a motion that says none, by a sample.

    A motion of this package that draws numbers on its way may say its mean by a method ``mean(target, step, arena)``.
    One that draws nothing needs none: its sample is its mean.
    """
    mean: Callable[..., Target] | None = getattr(motion, "mean", None)
    return advance(motion, target, pursuers, key, step, arena) if mean is None else mean(target, step, arena)
