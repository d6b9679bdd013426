"""One world of a scenario's scene as plain arrays, and the motion between two of them.

Two-dimensional worlds are padded with z = 0, so everything after this file is three-dimensional.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rl_tracking.envs.scene import BodyKind, Role, Scene, ZoneShape

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SMOOTHING = 0.35
"""Share of the newest acceleration in the lean that is drawn: a policy's jitter would make the picture shake."""


NO_VALUE = "\N{EN DASH}"
"""Shown in place of a number that is not finite."""


class Number(NamedTuple):
    """A figure for panels, with its unit."""

    value: float
    unit: str


@dataclass(frozen=True)
class BodyStyle:
    """What stays the same about a body.

    Attributes:
        name, kind, role, size: of its group; see :class:`rl_tracking.envs.scene.Bodies`.
        index: its place among the bodies of its role.
        has_velocity: whether the scene gives its velocity; else it moves evenly between two steps.
    """

    name: str
    kind: BodyKind
    role: Role
    size: float | None
    index: int
    has_velocity: bool


@dataclass(frozen=True)
class ZoneStyle:
    """What stays the same about a zone: its name, its shape, and whether it lights up at times."""

    name: str
    shape: ZoneShape
    lights: bool


@dataclass(frozen=True, eq=False)
class Moment:
    """World 0 of a scene as arrays: K bodies, Z zones and L lines; lengths in [m].

    A zone's centre or a line's end that lies on a body is attached to it, so that it moves with it between two steps.

    Attributes:
        bodies: what each is.
        position, velocity: ``[K, 3]``.
        lean: acceleration smoothed over the last steps ``[K, 3]`` [m/s^2]; drones are drawn banked by it.
        zones: what each zone is.
        centre: of the zones ``[Z, 3]``.
        extent: of the zones: radius three times, or half the edges ``[Z, 3]``.
        active: whether each zone is lit up ``[Z]`` bool.
        ends: of the lines ``[L, 2, 3]``.
        centre_body: the body that each zone is attached to ``[Z]``, -1 for none.
        end_bodies: the bodies that the lines' ends are attached to ``[L, 2]``, -1 for none.
        numbers: figures for panels.
        chart: the name of the one that is drawn over time, if any.
        level: a height worth a line on that chart.
    """

    bodies: tuple[BodyStyle, ...]
    position: Array
    velocity: Array
    lean: Array
    zones: tuple[ZoneStyle, ...]
    centre: Array
    extent: Array
    active: NDArray[np.bool_]
    ends: Array
    centre_body: Indices
    end_bodies: Indices
    numbers: dict[str, Number]
    chart: str | None
    level: float | None

    def of_role(self, *roles: Role) -> Array:
        """Positions ``[M, 3]`` of the bodies of some roles."""
        return self.position[[body.role in roles for body in self.bodies]]


def padded(tensor: Tensor) -> Array:
    """A tensor ``[..., D]`` with D = 2 or 3 as an array ``[..., 3]``, z = 0 where there was none."""
    values = np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, 3 - values.shape[-1])])


def moment_of(scene: Scene, previous: Moment | None = None) -> Moment:
    """World 0 of ``scene``, as it follows ``previous``."""
    bodies = _bodies(scene)
    if previous is not None and previous.bodies == bodies:
        bodies = previous.bodies  # the same tuple, so that comparing snapshots costs nothing
    position = _joined([padded(group.position[0]) for group in scene.bodies])
    acceleration = _joined([_vectors(group.position, group.acceleration) for group in scene.bodies])
    follows = previous is not None and previous.bodies is bodies
    lean = previous.lean + SMOOTHING * (acceleration - previous.lean) if follows and previous else acceleration
    centre = _joined([padded(zone.centre[:1]) for zone in scene.zones])
    ends = _joined([padded(lines.ends[0]).reshape(-1, 3) for lines in scene.lines]).reshape(-1, 2, 3)
    return Moment(
        bodies=bodies,
        position=position,
        velocity=_joined([_vectors(group.position, group.velocity) for group in scene.bodies]),
        lean=lean,
        zones=tuple(ZoneStyle(zone.name, zone.shape, zone.active is not None) for zone in scene.zones),
        centre=centre,
        extent=_joined([_extent(zone.size) for zone in scene.zones]),
        active=np.array([zone.active is not None and bool(zone.active[0]) for zone in scene.zones], dtype=bool),
        ends=ends,
        centre_body=_attached(centre, position),
        end_bodies=_attached(ends, position),
        numbers={name: Number(float(values[0]), unit) for name, (values, unit) in scene.numbers.items()},
        chart=scene.chart,
        level=scene.level,
    )


def between(start: Moment, end: Moment, fraction: float, dt: float) -> Moment:
    """The motion from ``start`` to ``end``, ``dt`` [s] later: exactly ``start`` at fraction 0 and ``end`` at 1.

    Positions follow the cubic Hermite curve through both states with their velocities, where these are known; the rest
    is linear. Bodies, zones, lines and numbers that are not the same ones at both ends stay as they are at ``start``.
    """
    if fraction <= 0.0:
        return start
    if fraction >= 1.0:
        return end

    def linear(a: Array, b: Array) -> Array:
        return a + fraction * (b - a) if a.shape == b.shape else a

    position, velocity, lean = start.position, start.velocity, start.lean
    if start.bodies == end.bodies:
        known = np.array([[body.has_velocity] for body in start.bodies], dtype=bool).reshape(-1, 1)
        mean = (end.position - position) / dt
        v0, v1 = (np.where(known, given, mean) for given in (velocity, end.velocity))
        position = _hermite(position, v0, end.position, v1, fraction, dt)
        velocity, lean = linear(velocity, end.velocity), linear(lean, end.lean)
    values = {
        name: Number(value + fraction * (end.numbers.get(name, (value, ""))[0] - value), unit)
        for name, (value, unit) in start.numbers.items()
    }
    return replace(
        start,
        position=position,
        velocity=velocity,
        lean=lean,
        centre=_moved(linear(start.centre, end.centre), start.centre_body, position),
        extent=linear(start.extent, end.extent),
        ends=_moved(linear(start.ends, end.ends), start.end_bodies, position),
        numbers=values,
    )


def _bodies(scene: Scene) -> tuple[BodyStyle, ...]:
    """Every body of every group, numbered within its role."""
    seen: Counter[Role] = Counter()
    bodies = []
    for group in scene.bodies:
        for _ in range(group.position.shape[1]):
            has_velocity = group.velocity is not None
            bodies.append(BodyStyle(group.name, group.kind, group.role, group.size, seen[group.role], has_velocity))
            seen[group.role] += 1
    return tuple(bodies)


def _joined(parts: list[Array]) -> Array:
    """Rows of all parts, ``[K, 3]``; none where there are no parts."""
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _vectors(position: Tensor, vectors: Tensor | None) -> Array:
    """World 0 of ``vectors`` ``[B, K, D]``, zero where there are none."""
    return np.zeros((position.shape[1], 3)) if vectors is None else padded(vectors[0])


def _extent(size: Tensor) -> Array:
    """A zone's radius ``[B]`` or half edges ``[B, D]`` of world 0, ``[1, 3]``."""
    return np.full((1, 3), float(size[0])) if size.ndim == 1 else padded(size[:1])


def _attached(points: Array, bodies: Array) -> Indices:
    """The first of ``bodies`` ``[K, 3]`` at each of ``points`` ``[..., 3]``, ``[...]``; -1 where there is none."""
    there = (points[..., None, :] == bodies).all(axis=-1)
    if not len(bodies):
        return np.full(points.shape[:-1], -1)
    found: Indices = np.where(there.any(axis=-1), there.argmax(axis=-1), -1)
    return found


def _moved(points: Array, attached: Indices, position: Array) -> Array:
    """``points`` ``[..., 3]``, those that are attached to a body where that body is now."""
    return np.where((attached >= 0)[..., None], position[attached], points) if len(position) else points


def _hermite(p0: Array, v0: Array, p1: Array, v1: Array, s: float, dt: float) -> Array:
    """Point ``s`` in [0, 1] on the cubic from ``p0`` to ``p1`` (``[..., 3]``) with end velocities ``v0``, ``v1``.

    A velocity that the displacement contradicts (at a wall, or in a jump to a vertex) is shortened, so that the
    curve does not loop: Fritsch & Carlson (1980) bound the slope by three times the chord.
    """
    chord = p1 - p0
    limit = 3.0 * np.linalg.norm(chord, axis=-1, keepdims=True)
    m0, m1 = (_shortened(dt * velocity, limit) for velocity in (v0, v1))
    point: Array = p0 + s * s * (3 - 2 * s) * chord + s * (1 - s) ** 2 * m0 - s * s * (1 - s) * m1
    return point


def _shortened(vectors: Array, limit: Array) -> Array:
    """``vectors`` ``[..., 3]`` no longer than ``limit`` ``[..., 1]``."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    shortened: Array = vectors * np.minimum(1.0, limit / np.maximum(length, 1e-12))
    return shortened
