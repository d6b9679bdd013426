"""A camera with the picture it fills: where things are on the picture, and how distance dims them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl_tracking.viewer.camera import Array, Camera
from rl_tracking.viewer.canvas import FOG, Colour, Point, shades


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
