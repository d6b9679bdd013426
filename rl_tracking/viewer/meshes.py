"""Shapes as arrays of points: the drone, its attitude, grids, circles. Pure geometry, lengths in [m]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rl_tracking.viewer.camera import Array

GRAVITY = 9.81
LEAN_LIMIT = math.radians(50.0)


@dataclass(frozen=True, eq=False)
class Part:
    """One polygon of a mesh.

    Attributes:
        points: corners, ``[K, 3]``, in units of the mesh's half width.
        tone: brightness of its colour, 0 black to 1 the full colour; above 1 towards white.
        alpha: how much of what lies behind it is hidden.
        outlined: whether only its outline is drawn, as a line.
    """

    points: Array
    tone: float
    alpha: float = 1.0
    outlined: bool = False


def circle(radius: float, count: int, height: float = 0.0) -> Array:
    """``count`` points on a level circle about the z axis, ``[count, 3]``."""
    angles = np.arange(count) * (2 * math.pi / count)
    return np.stack((radius * np.cos(angles), radius * np.sin(angles), np.full(count, height)), axis=-1)


def great_circles(radius: float, count: int) -> Array:
    """The three circles of a ball about its axes, closed, ``[3, count + 1, 3]``."""
    level = circle(radius, count)
    level = np.concatenate((level, level[:1]))
    return np.stack((level, level[:, [0, 2, 1]], level[:, [2, 0, 1]]))


@lru_cache(maxsize=1)
def drone_parts() -> tuple[Part, ...]:
    """A quadrotor in the X configuration, nose along +x, rotors 1 unit from the middle along x and y diagonals."""
    parts: list[Part] = []
    for quarter in range(4):
        angle = math.pi / 4 + quarter * math.pi / 2
        along = np.array((math.cos(angle), math.sin(angle), 0.0))
        across = np.array((-along[1], along[0], 0.0))
        hub = 0.78 * along
        front = math.cos(angle) > 0
        parts += _arm(along, across)
        parts += [
            Part(hub + circle(0.085, 8, 0.12), 0.95),
            Part(hub + circle(0.43, 28, 0.15), 0.9 if front else 0.7, alpha=0.20),
            Part(hub + circle(0.43, 28, 0.15), 1.05 if front else 0.8, outlined=True),
        ]
    return (*parts, *_fuselage())


def _arm(along: Array, across: Array) -> list[Part]:
    """A tapered bar from the middle to a rotor: its top and its two sides."""
    root, tip = 0.20 * along, 0.80 * along
    wide, slim = 0.075 * across, 0.045 * across
    down = np.array((0.0, 0.0, -0.09))
    top = np.stack((root + wide, tip + slim, tip - slim, root - wide)) + 0.06 * np.array((0.0, 0.0, 1.0))
    left = np.stack((top[0], top[1], top[1] + down, top[0] + down))
    right = np.stack((top[3], top[2], top[2] + down, top[3] + down))
    return [Part(top, 0.62), Part(left, 0.34), Part(right, 0.42)]


def _fuselage() -> list[Part]:
    """The body: a bevelled box, longer than wide, with a bright nose."""
    outline = np.array([(0.42, 0.11), (0.30, 0.21), (-0.30, 0.21), (-0.40, 0.10)])
    outline = np.concatenate((outline, outline[::-1] * (1, -1)))
    top = np.column_stack((0.82 * outline, np.full(8, 0.17)))
    rim = np.column_stack((outline, np.full(8, 0.05)))
    keel = np.column_stack((0.7 * outline, np.full(8, -0.13)))
    parts = [Part(keel[::-1], 0.2)]
    for i in range(8):
        j = (i + 1) % 8
        light = 0.5 + 0.28 * float(rim[i, 1] + rim[j, 1] > 0)
        parts.append(Part(np.stack((rim[i], rim[j], top[j], top[i])), light))
        parts.append(Part(np.stack((keel[i], keel[j], rim[j], rim[i])), 0.55 * light))
    return [
        *parts,
        Part(top, 1.0),
        Part(np.array([(0.30, 0.09, 0.175), (0.30, -0.09, 0.175), (0.14, 0.0, 0.175)]), 1.7),
    ]


def gem(radius: float, turn: float) -> tuple[Part, ...]:
    """An upright octahedron turned by ``turn`` [rad] about the z axis, lit from above."""
    ring = circle(0.72 * radius, 4)
    ring = ring @ turn_about_z(turn).T
    parts = []
    for i in range(4):
        a, b = ring[i], ring[(i + 1) % 4]
        middle = (a + b) / 2
        light = 0.72 + 0.28 * float(middle @ (0.8, -0.6, 0.0)) / max(radius, 1e-9)
        parts.append(Part(np.stack((a, b, np.array((0.0, 0.0, radius)))), 1.25 * light))
        parts.append(Part(np.stack((a, b, np.array((0.0, 0.0, -radius)))), 0.7 * light))
    return tuple(parts)


def box_corners() -> Array:
    """Corners of a box with half edges of 1, ``[8, 3]``, in the order of :data:`BOX_EDGES`: by z, then x, then y."""
    return np.array([(x, y, z) for z in (-1.0, 1.0) for x in (-1.0, 1.0) for y in (-1.0, 1.0)])


BOX_EDGES = ((0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7))
"""Pairs of :func:`box_corners` with an edge between them."""
_BOX_FACES = (
    ((0, 1, 3, 2), 0.2),
    ((0, 1, 5, 4), 0.42),
    ((1, 3, 7, 5), 0.5),
    ((2, 3, 7, 6), 0.62),
    ((0, 2, 6, 4), 0.34),
)
_BOX_TOP = ((4, 5, 7, 6), 0.85)


@lru_cache(maxsize=1)
def box_parts() -> tuple[Part, ...]:
    """A solid box with half edges of 1, lit from above."""
    corners = box_corners()
    return tuple(Part(corners[list(face)], tone) for face, tone in (*_BOX_FACES, _BOX_TOP))


def turn_about_z(angle: float) -> Array:
    """Rotation matrix ``[3, 3]`` by ``angle`` [rad] about the z axis."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array(((cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)))


def attitude(acceleration: Array, forward: Array) -> Array:
    """Body axes of a multirotor as columns ``[3, 3]``, from its acceleration ``[3]`` [m/s^2] and heading ``[3]``.

    Its thrust, along the body's z axis, carries its weight and accelerates it: it points along
    acceleration + gravity upwards, but leans by ``LEAN_LIMIT`` at most. The nose points along ``forward``, as far as
    the lean allows.
    """
    level = math.hypot(float(acceleration[0]), float(acceleration[1]))
    lean = min(math.atan2(level, max(GRAVITY + float(acceleration[2]), 0.25 * GRAVITY)), LEAN_LIMIT)
    side = np.array((acceleration[0], acceleration[1], 0.0)) / max(level, 1e-9)
    up = math.sin(lean) * side + np.array((0.0, 0.0, math.cos(lean)))
    nose = np.asarray(forward, dtype=np.float64) - float(forward @ up) * up
    length = float(np.linalg.norm(nose))
    nose = nose / length if length > 1e-6 else np.cross(up, (0.0, -1.0, 0.0))
    nose = nose / np.linalg.norm(nose)
    return np.column_stack((nose, np.cross(up, nose), up))


def tick_spacing(extent: float) -> float:
    """A round length (1, 2 or 5 times a power of ten) that divides ``extent`` [m] in about eight."""
    rough = extent / 8
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * step for step in (1.0, 2.0, 5.0) if power * step >= rough * 0.999), 10.0 * power)


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Round values within [low, high], evenly spaced."""
    spacing = tick_spacing(high - low)
    first = math.ceil(low / spacing - 1e-9)
    last = math.floor(high / spacing + 1e-9)
    return tuple(spacing * k for k in range(first, last + 1))


@lru_cache(maxsize=64)
def wall_grid(
    low: tuple[float, ...], high: tuple[float, ...], axis: int, at_high: bool, pieces: int = 4
) -> tuple[Array, Array]:
    """Grid lines on one face of a box, in pieces so that each can fade with its depth.

    Args:
        low: lower corner of the box [m].
        high: upper corner of the box [m].
        axis: 0, 1 or 2: the face is square to this axis.
        at_high: whether it is the one at the high end of the axis.
        pieces: how many parts each line is cut into.

    Returns:
        segments: ``[K, 2, 3]``, starts and ends.
        edges: ``[K]``, 1 where the segment lies on an edge of the box, else 0.
    """
    u, v = (i for i in range(3) if i != axis)
    segments, edges = [], []
    for run, cross in ((u, v), (v, u)):
        values = sorted({low[cross], high[cross], *ticks(low[cross], high[cross])})
        stations = np.linspace(low[run], high[run], pieces + 1)
        for value in values:
            points = np.empty((pieces + 1, 3))
            points[:, axis] = high[axis] if at_high else low[axis]
            points[:, cross] = value
            points[:, run] = stations
            segments.append(np.stack((points[:-1], points[1:]), axis=1))
            edges.append(np.full(pieces, float(value in (low[cross], high[cross]))))
    return np.concatenate(segments), np.concatenate(edges)


@lru_cache(maxsize=8)
def checkers(low: tuple[float, ...], high: tuple[float, ...]) -> Array:
    """Every second tile of the floor of a box, ``[K, 4, 3]``; tiles lie between the grid lines."""
    xs, ys = (sorted({low[axis], high[axis], *ticks(low[axis], high[axis])}) for axis in (0, 1))
    tiles = [
        [
            (xs[i], ys[j], low[2]),
            (xs[i + 1], ys[j], low[2]),
            (xs[i + 1], ys[j + 1], low[2]),
            (xs[i], ys[j + 1], low[2]),
        ]
        for i in range(len(xs) - 1)
        for j in range(len(ys) - 1)
        if (i + j) % 2 == 0
    ]
    return np.array(tiles)
