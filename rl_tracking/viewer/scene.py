"""The flight seen through a camera, from far to near: arena, tracks on the floor, trails, lines, zones, bodies."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.bodies import body_colour, draw_body, half_width, light_bodies
from rl_tracking.viewer.camera import Array, Camera, View
from rl_tracking.viewer.canvas import FLOOR, GRID, TEXT_DIM, TEXT_FAINT, Canvas, Colour
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import checkers, circle, tick_spacing, ticks, wall_grid
from rl_tracking.viewer.zones import draw_zone, light_zones

BLACK: Colour = (8, 10, 16)
SHADOW = 0.016
"""Radius of the smallest shadow, as a share of the arena's diagonal."""
GAP = 1.3
"""A line ends at this distance from the middle of a body, in half widths of the body."""


def draw_scene(canvas: Canvas, camera: Camera, frame: Frame) -> None:
    """Draw the bodies, zones and lines of a frame, and the arena they are in."""
    view = View(camera, canvas.size, float(np.linalg.norm(frame.high - frame.low)))
    moment = frame.moment
    # On and above the floor.
    draw_arena(canvas, view, frame)
    for index in range(len(moment.bodies)):
        _ground_track(canvas, view, frame, index)
    for trail, body in zip(frame.trails[::-1], moment.bodies[::-1], strict=True):
        if _moved(trail):
            _trail(canvas, view, trail, body_colour(body))
    for line in range(len(moment.ends)):
        _line(canvas, view, frame, line)
    # Lights first, then zones and bodies from far to near; a zone comes before the body at its centre.
    light_zones(canvas, view, frame)
    light_bodies(canvas, view, frame)
    count = len(moment.zones)
    depths = view.project(np.concatenate((moment.centre, moment.position)))[1]
    for index in np.argsort(-depths, kind="stable").tolist():
        if index < count:
            draw_zone(canvas, view, frame, index)
        else:
            draw_body(canvas, view, frame, index - count)


def _ground_track(canvas: Canvas, view: View, frame: Frame, index: int) -> None:
    """Where a body is above the floor: its shadow, the line up to it, and the shadow of its trail."""
    floor = float(frame.low[2])
    if frame.high[2] <= floor:
        return
    body, position = frame.moment.bodies[index], frame.moment.position[index]
    colour = body_colour(body)
    if _moved(frame.trails[index]):
        starts, ends, depths, along = view.path(frame.trails[index] * (1, 1, 0) + (0, 0, floor))
        canvas.lines(starts, ends, view.dimmed(colour, depths, 0.5 * along**1.5))
    radius = max(0.8 * half_width(frame, body), SHADOW * view.extent)
    ring = position * (1, 1, 0) + (0, 0, floor) + circle(radius, 29)
    pixels, depths = view.project(ring)
    if not view.in_front(depths):
        return
    canvas.polygon(pixels.tolist(), BLACK, 0.5)
    middle, depth = view.place(position * (1, 1, 0) + (0, 0, floor))
    canvas.glow(middle, 2.6 * radius * view.scale(depth), colour, 0.22)
    canvas.lines(pixels, np.roll(pixels, -1, axis=0), view.dimmed(colour, depths, 0.75))
    _altitude_line(canvas, view, position, floor, colour)


def _moved(trail: Array) -> bool:
    """Whether a body has been elsewhere than where it is."""
    return bool((trail != trail[-1]).any())


def _altitude_line(canvas: Canvas, view: View, body: Array, floor: float, colour: Colour) -> None:
    """A dashed line from the floor up to a body, brighter towards it; the dashes have the same length everywhere."""
    dash = 0.008 * view.extent
    count = int((float(body[2]) - floor) / dash / 2)
    if count < 1:
        return
    levels = floor + dash * np.arange(2 * count)
    points = np.column_stack((np.full(2 * count, body[0]), np.full(2 * count, body[1]), levels))
    pixels, depths = view.project(points)
    if view.in_front(depths):
        share = 0.2 + 0.4 * np.arange(count) / count
        canvas.lines(pixels[::2], pixels[1::2], view.dimmed(colour, depths[::2], share))


def _trail(canvas: Canvas, view: View, trail: Array, colour: Colour) -> None:
    """Where a body was: brighter, wider and aglow towards the present."""
    starts, ends, depths, along = view.path(trail)
    nearness = np.clip(view.camera.distance / np.maximum(depths, 1e-9), 0.5, 2.0)
    widths = (0.8 + 2.4 * along**2) * nearness
    for (x, y), width, age in zip(ends[::2].tolist(), widths[::2].tolist(), along[::2].tolist(), strict=True):
        if age > 0.4:
            canvas.glow((x, y), 4.5 * width, colour, 0.28 * (age - 0.4))
    canvas.lines(starts, ends, view.dimmed(colour, depths, 1.15 * along), widths)


def _line(canvas: Canvas, view: View, frame: Frame, line: int) -> None:
    """A dotted line with its length in the middle; it ends outside of the bodies and spheres it is attached to."""
    start, end = frame.moment.ends[line]
    first, last = (_gap(frame, int(body)) for body in frame.moment.end_bodies[line])
    length = float(np.linalg.norm(end - start))
    if length < 1.6 * (first + last) or length == 0.0:
        return
    stations = np.linspace(0.0, 1.0, 2 * max(2, int(length / (0.012 * view.extent))))
    pixels, depths = view.project(start + stations[:, None] * (end - start))
    if not view.in_front(depths):
        return
    clear = (stations * length > first) & ((1.0 - stations) * length > last)
    pairs = clear[::2] & clear[1::2]
    canvas.lines(pixels[::2][pairs], pixels[1::2][pairs], view.dimmed(TEXT_DIM, depths[::2][pairs], 0.55))
    (x, y), depth = view.place(0.5 * (start + end))
    canvas.text(f"{length:.1f} m", (x + 10, y - 16), 12, view.dimmed_once(TEXT_DIM, depth, 1.4))


def _gap(frame: Frame, index: int) -> float:
    """Distance from the middle of a body at which its lines end [m]; 0 where there is no body (-1)."""
    if index < 0:
        return 0.0
    moment = frame.moment
    spheres = [
        float(extent[0])
        for zone, extent, body in zip(moment.zones, moment.extent, moment.centre_body.tolist(), strict=True)
        if zone.shape == "sphere" and body == index
    ]
    return max([GAP * half_width(frame, moment.bodies[index]), *spheres])


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
