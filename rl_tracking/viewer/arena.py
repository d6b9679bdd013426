"""The arena: its floor, those walls that hide nothing, and lengths along its edges."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.camera import Array
from rl_tracking.viewer.canvas import FLOOR, GRID, TEXT_FAINT, Canvas
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import checkers, tick_spacing, ticks, wall_grid
from rl_tracking.viewer.view import View


def draw_arena(canvas: Canvas, view: View, frame: Frame) -> None:
    """The floor and those walls whose inner side faces the eye, so that nothing is drawn in front of the flight."""
    low, high = frame.low, frame.high
    corners = (tuple(low.tolist()), tuple(high.tolist()))
    _floor(canvas, view, corners)
    _grid(canvas, view, wall_grid(*corners, 2, False), 1.0)
    eye = view.camera.eye
    if high[2] > low[2]:
        for axis in (0, 1):
            for at_high in (False, True):
                inside = (high[axis] - eye[axis]) if at_high else (eye[axis] - low[axis])
                facing = min(max(float(inside) / (0.25 * view.extent), 0.0), 1.0)
                if facing > 0.0:
                    _grid(canvas, view, wall_grid(*corners, axis, at_high), 0.68 * facing)
    _tick_labels(canvas, view, frame)


def _floor(canvas: Canvas, view: View, corners: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    """Every second tile of the floor, a little lighter."""
    tiles = checkers(*corners)
    pixels, depths = view.project(tiles.reshape(-1, 3))
    nearest = depths.reshape(-1, 4).min(axis=1)
    for tile, depth in zip(pixels.reshape(-1, 4, 2).tolist(), nearest.tolist(), strict=True):
        if depth > view.camera.near:
            canvas.polygon(tile, FLOOR, 0.34)


def _grid(canvas: Canvas, view: View, grid: tuple[Array, Array], strength: float) -> None:
    """The lines of one face; those on the box's edges brighter."""
    segments, edges = grid
    starts, ends, depths, visible = view.segments(segments[:, 0], segments[:, 1])
    share = strength * np.where(edges[visible] > 0, 1.0, 0.58)
    canvas.lines(starts, ends, view.dimmed(GRID, depths, share))


def _tick_labels(canvas: Canvas, view: View, frame: Frame) -> None:
    """Lengths in metres along the two floor edges nearest to the eye."""
    low, high, eye = frame.low, frame.high, view.camera.eye
    middle = (low + high) / 2
    spacing = tick_spacing(float(high[0] - low[0]))
    for axis, other in ((0, 1), (1, 0)):
        values = [v for v in ticks(float(low[axis]), float(high[axis])) if round(v / spacing) % 2 == 0]
        points = np.tile(low, (len(values), 1))
        points[:, axis] = values
        margin = 0.035 * (high[other] - low[other])
        points[:, other] = high[other] + margin if eye[other] > middle[other] else low[other] - margin
        pixels, depths = view.project(points)
        for value, (x, y), depth in zip(values, pixels.tolist(), depths.tolist(), strict=True):
            if depth > view.camera.near:
                canvas.text(f"{value:g}", (x, y - 6), 11, view.dimmed_once(TEXT_FAINT, depth, 1.3), "centre")
