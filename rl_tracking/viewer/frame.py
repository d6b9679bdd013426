"""What one picture shows: a state as plain arrays, and the motion between two states.

Two-dimensional worlds are padded with z = 0, so everything after this file is three-dimensional.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

SMOOTHING = 0.35
"""Share of the newest acceleration in the lean that is drawn: a policy's jitter would make the picture shake."""


def padded(tensor: Tensor) -> Array:
    """A tensor ``[..., D]`` with D = 2 or 3 as an array ``[..., 3]``, z = 0 where there was none."""
    values = np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
    missing = 3 - values.shape[-1]
    if missing not in (0, 1):
        raise ValueError(f"a viewer shows 2 or 3 dimensions, not {values.shape[-1]}")
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


@dataclass(frozen=True, eq=False)
class Snapshot:
    """World 0 of a state as arrays: positions [m], velocities [m/s], accelerations [m/s^2].

    Attributes:
        position, velocity, acceleration: of the pursuers, ``[P, 3]``.
        lean: the acceleration smoothed over the last steps, ``[P, 3]``; pursuers are drawn banked by it.
        target_position, target_velocity: ``[3]``.
    """

    position: Array
    velocity: Array
    acceleration: Array
    lean: Array
    target_position: Array
    target_velocity: Array

    @property
    def distance(self) -> float:
        """From the target to the nearest pursuer [m]."""
        return float(np.linalg.norm(self.position - self.target_position, axis=-1).min())


def snapshot(state: Any, previous: Snapshot | None = None) -> Snapshot:
    """The first world of a pursuit ``state`` (fields ``[B, P, D]`` and ``[B, D]``), as it follows ``previous``."""
    acceleration = padded(state.acceleration[0])
    lean = acceleration if previous is None else previous.lean + SMOOTHING * (acceleration - previous.lean)
    return Snapshot(
        position=padded(state.position[0]),
        velocity=padded(state.velocity[0]),
        acceleration=acceleration,
        lean=lean,
        target_position=padded(state.target_position[0]),
        target_velocity=padded(state.target_velocity[0]),
    )


def between(start: Snapshot, end: Snapshot, fraction: float, dt: float) -> Snapshot:
    """The motion from ``start`` to ``end``, ``dt`` [s] later: exactly ``start`` at fraction 0 and ``end`` at 1.

    Positions follow the cubic Hermite curve through both states with their velocities; the rest is linear.
    """
    if fraction <= 0.0:
        return start
    if fraction >= 1.0:
        return end

    def linear(a: Array, b: Array) -> Array:
        return a + fraction * (b - a)

    return Snapshot(
        position=_hermite(start.position, start.velocity, end.position, end.velocity, fraction, dt),
        velocity=linear(start.velocity, end.velocity),
        acceleration=linear(start.acceleration, end.acceleration),
        lean=linear(start.lean, end.lean),
        target_position=_hermite(
            start.target_position,
            start.target_velocity,
            end.target_position,
            end.target_velocity,
            fraction,
            dt,
        ),
        target_velocity=linear(start.target_velocity, end.target_velocity),
    )


def _hermite(p0: Array, v0: Array, p1: Array, v1: Array, s: float, dt: float) -> Array:
    """Point ``s`` in [0, 1] on the cubic from ``p0`` to ``p1`` (``[..., 3]``) with end velocities ``v0``, ``v1``.

    A velocity that the displacement does not bear out (a wall, a snap to a vertex) is shortened, so that the
    curve does not loop: Fritsch & Carlson (1980) bound the slope by three times the chord.
    """
    chord = p1 - p0
    limit = 3.0 * np.linalg.norm(chord, axis=-1, keepdims=True)
    m0, m1 = (_shortened(dt * velocity, limit) for velocity in (v0, v1))
    rest: Array = p0 + s * s * (3 - 2 * s) * chord + s * (1 - s) ** 2 * m0 - s * s * (1 - s) * m1
    return rest


def _shortened(vectors: Array, limit: Array) -> Array:
    """``vectors`` ``[..., 3]`` no longer than ``limit`` ``[..., 1]``."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    shortened: Array = vectors * np.minimum(1.0, limit / np.maximum(length, 1e-12))
    return shortened


@dataclass(frozen=True, eq=False)
class Frame:
    """Everything a picture needs, at one moment of an episode: P pursuers, K points of a trail.

    Attributes:
        moment: positions, velocities, accelerations and lean at this moment, between two steps.
        trails: where each pursuer was, oldest first, ending at the present position, ``[P, K, 3]`` [m].
        target_trail: the same of the target, ``[K, 3]`` [m].
        arena_low, arena_high: corners of the arena, ``[3]`` [m].
        capture_radius: within it a pursuer has the target [m].
        distance: of the nearest pursuer to the target, as the steps are judged [m]: where a scenario judges before
            the target moves, it is not quite the distance in the picture.
        closest: least such distance at any step of the episode so far [m].
        distances: that distance at every step so far, ``[step + 1]`` [m].
        in_radius: whether some pursuer is within the capture radius.
        time_in_radius: time spent so [s].
        step: steps done, of at most ``max_steps``; ``dt`` [s] each.
        time: since the episode began [s], between two steps.
        reward, terms: of the step that led here; empty at step 0.
        term_scale: greatest magnitude of any term in the episode so far, for bars.
        episode_return: sum of the rewards so far.
        seed, episode: which world this is, and how many have been shown before it.
        paused, speed: how it is being played; a speed of 1 is real time.
        ended: whether this is the last moment; ``reason`` says why ("captured" or "time limit").
        pilot, scenario: names.
    """

    moment: Snapshot
    trails: Array
    target_trail: Array
    arena_low: Array
    arena_high: Array
    capture_radius: float
    distance: float
    closest: float
    distances: Array
    in_radius: bool
    time_in_radius: float
    step: int
    max_steps: int
    dt: float
    time: float
    reward: float
    terms: dict[str, float]
    term_scale: float
    episode_return: float
    seed: int
    episode: int
    paused: bool
    speed: float
    ended: bool
    reason: str
    pilot: str
    scenario: str
