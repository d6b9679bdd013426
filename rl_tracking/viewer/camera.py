"""An orbiting perspective camera and the picture that it fills: pure mathematics, no window.

World axes are right-handed with z up, in [m]. Screen axes are pixels from the top left corner, y down. Depth is the
distance along the viewing direction [m]; points with a depth below ``near`` are behind the camera or too close to draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rl_tracking.viewer.canvas import FOG, Colour, Point, shades

Array = NDArray[np.float64]

ELEVATION_LIMITS = (math.radians(2.0), math.radians(88.0))


@dataclass(frozen=True)
class Camera:
    """Where the eye is and how it looks; every change returns a new camera.

    The eye sits at ``target + distance * (cos el cos az, cos el sin az, sin el)`` and looks at ``target``.

    Attributes:
        azimuth: angle of the eye about the z axis, from the x axis [rad].
        elevation: angle of the eye above the horizon [rad], within ``ELEVATION_LIMITS``.
        distance: from the eye to the target [m], within ``distance_limits``.
        target: the point in the middle of the picture [m].
        field_of_view: vertical opening angle [rad].
        distance_limits: least and greatest distance [m].
        shift: offset of the picture's middle, as a fraction of its width and height (right and down positive).
    """

    azimuth: float = math.radians(-55.0)
    elevation: float = math.radians(24.0)
    distance: float = 10.0
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    field_of_view: float = math.radians(36.0)
    distance_limits: tuple[float, float] = (1e-3, 1e9)
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def near(self) -> float:
        """Least depth that is drawn [m]."""
        return 0.02 * self.distance

    @cached_property
    def eye(self) -> Array:
        """Position of the eye, ``[3]`` [m]."""
        eye: Array = np.asarray(self.target) - self.distance * self.basis[2]
        return eye

    @cached_property
    def basis(self) -> Array:
        """Unit vectors right, up and forward of the picture, as rows, ``[3, 3]``."""
        sin_az, cos_az = math.sin(self.azimuth), math.cos(self.azimuth)
        sin_el, cos_el = math.sin(self.elevation), math.cos(self.elevation)
        right = (-sin_az, cos_az, 0.0)
        up = (-sin_el * cos_az, -sin_el * sin_az, cos_el)
        forward = (-cos_el * cos_az, -cos_el * sin_az, -sin_el)
        return np.array((right, up, forward))

    def focal_length(self, height: float) -> float:
        """Pixels that one metre at a depth of one metre covers, for a picture ``height`` pixels high."""
        return 0.5 * height / math.tan(0.5 * self.field_of_view)

    def to_view(self, points: Array) -> Array:
        """Coordinates right, up, depth [m] of world ``points`` ``[..., 3]``, ``[..., 3]``."""
        view: Array = (np.asarray(points, dtype=np.float64) - self.eye) @ self.basis.T
        return view

    def project(self, points: Array, size: tuple[float, float]) -> tuple[Array, Array]:
        """Pixels ``[..., 2]`` and depth ``[...]`` [m] of world ``points`` ``[..., 3]`` in a picture of ``size`` pixels.

        A point nearer than ``near`` gets the pixel it would have at that depth: check the depth, or clip first.
        """
        view = self.to_view(points)
        depth = view[..., 2]
        scale = self.focal_length(size[1]) / np.maximum(depth, self.near)
        x = (0.5 + self.shift[0]) * size[0] + view[..., 0] * scale
        y = (0.5 + self.shift[1]) * size[1] - view[..., 1] * scale
        return np.stack((x, y), axis=-1), depth

    def pixels_per_metre(self, depth: float, height: float) -> float:
        """Size on screen of one metre across the picture at ``depth`` [m]."""
        return self.focal_length(height) / max(depth, self.near)

    def clip_segments(self, starts: Array, ends: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """The parts of segments ``starts`` -> ``ends`` (each ``[K, 3]``) in front of the near plane.

        Returns:
            starts, ends: ``[K, 3]``, moved onto the near plane where they were behind it.
            visible: ``[K]``, false where the whole segment is behind it.
        """
        starts, ends = np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64)
        a = self.to_view(starts)[:, 2] - self.near
        b = self.to_view(ends)[:, 2] - self.near
        visible = (a >= 0) | (b >= 0)
        crossing = visible & ((a < 0) | (b < 0))
        fraction = np.where(crossing, a / np.where(crossing, a - b, 1.0), 0.0)[:, None]
        on_plane = starts + fraction * (ends - starts)
        new_starts = np.where((crossing & (a < 0))[:, None], on_plane, starts)
        new_ends = np.where((crossing & (b < 0))[:, None], on_plane, ends)
        return new_starts, new_ends, visible

    def orbited(self, azimuth: float, elevation: float) -> Camera:
        """Turned by the angles [rad]; the elevation stays within its limits."""
        low, high = ELEVATION_LIMITS
        turned = math.remainder(self.azimuth + azimuth, 2 * math.pi)
        return replace(self, azimuth=turned, elevation=min(max(self.elevation + elevation, low), high))

    def zoomed(self, factor: float) -> Camera:
        """Nearer by ``factor`` (> 1 enlarges); the distance stays within its limits."""
        low, high = self.distance_limits
        return replace(self, distance=min(max(self.distance / factor, low), high))

    def looking_at(self, target: Array) -> Camera:
        """With the same angles and distance about another point ``[3]`` [m]."""
        x, y, z = (float(value) for value in target)
        return replace(self, target=(x, y, z))


def camera_for_arena(low: Array, high: Array) -> Camera:
    """A camera that shows the whole box from ``low`` to ``high`` (each ``[3]``, [m])."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    extent = float(np.linalg.norm(high - low))
    flat = high[2] <= low[2]
    camera = Camera(
        elevation=math.radians(50.0 if flat else 28.0),
        distance=(1.55 if flat else 1.75) * extent,
        distance_limits=(0.12 * extent, 4.0 * extent),
    )
    return camera.looking_at((low + high) / 2)


@dataclass(frozen=True)
class View:
    """A camera, the size of the picture in layout units, and the diagonal of the arena [m]."""

    camera: Camera
    size: Point
    extent: float

    def project(self, points: Array) -> tuple[Array, Array]:
        """Positions on the picture ``[K, 2]`` and depths ``[K]`` [m] of ``points`` ``[K, 3]``."""
        return self.camera.project(points, self.size)

    def place(self, point: Array) -> tuple[Point, float]:
        """The same of one point ``[3]``."""
        pixels, depth = self.project(point[None])
        return (float(pixels[0, 0]), float(pixels[0, 1])), float(depth[0])

    def in_front(self, depths: Array) -> bool:
        """Whether everything at ``depths`` is far enough from the eye to be drawn."""
        return bool(depths.min() > self.camera.near)

    def scale(self, depth: float) -> float:
        """Layout units of one metre at ``depth`` [m]."""
        return self.camera.pixels_per_metre(depth, self.size[1])

    def dimmed(self, colour: Colour, depths: Array, strength: Array | float = 1.0) -> Array:
        """The colour as it looks at ``depths`` ``[K]``, ``[K, 3]``: farther is nearer to the colour of the air.

        ``strength`` 1 is the full colour, 0 the colour of the air.
        """
        share = np.clip((depths - self.camera.distance) / self.extent + 0.5, 0.0, 1.0)
        return shades(FOG, colour, strength * (1.0 - 0.6 * share))

    def dimmed_once(self, colour: Colour, depth: float, strength: float = 1.0) -> Colour:
        """``dimmed`` for one depth."""
        r, g, b = self.dimmed(colour, np.array([depth]), strength)[0].tolist()
        return int(r), int(g), int(b)

    def path(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """The pieces of a polyline ``[K, 3]`` that lie in front of the eye.

        Returns:
            starts, ends: ``[M, 2]``.
            depths: of their ends, ``[M]`` [m].
            along: how far along the polyline they end, in [0, 1], ``[M]``.
        """
        pixels, depth = self.project(points)
        seen = (depth[:-1] > self.camera.near) & (depth[1:] > self.camera.near)
        along = np.arange(1, len(points)) / max(len(points) - 1, 1)
        return pixels[:-1][seen], pixels[1:][seen], depth[1:][seen], along[seen]

    def segments(self, starts: Array, ends: Array) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """Many straight lines, ``starts`` to ``ends`` (``[K, 3]`` each), cut off where they pass the eye.

        Returns:
            starts, ends: of the M lines that can be seen, on the picture, ``[M, 2]``.
            depths: of their middles, ``[M]`` [m].
            visible: which of the K lines these are, ``[K]``.
        """
        starts, ends, visible = self.camera.clip_segments(starts, ends)
        first, depth_first = self.project(starts[visible])
        last, depth_last = self.project(ends[visible])
        return first, last, 0.5 * (depth_first + depth_last), visible
