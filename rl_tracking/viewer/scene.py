"""The flight seen through a camera, from far to near: arena, tracks on the floor, trails, target, pursuers."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.bodies import draw_drone, draw_target, drone_half_width, light_bodies
from rl_tracking.viewer.camera import Array, Camera
from rl_tracking.viewer.canvas import (
    FLOOR,
    GRID,
    TARGET,
    TEXT_DIM,
    TEXT_FAINT,
    Canvas,
    Colour,
    pursuer_colour,
)
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import checkers, circle, tick_spacing, ticks, wall_grid
from rl_tracking.viewer.view import View

BLACK: Colour = (8, 10, 16)


def draw_scene(canvas: Canvas, camera: Camera, frame: Frame) -> None:
    """Draw everything that flies, and where it flies."""
    view = View(camera, canvas.size, float(np.linalg.norm(frame.arena_high - frame.arena_low)))
    _arena(canvas, view, frame)
    count = len(frame.moment.position)
    bodies = np.concatenate((frame.moment.position, frame.moment.target_position[None]))
    trails = [*frame.trails, frame.target_trail]
    colours = [*(pursuer_colour(index) for index in range(count)), TARGET]
    for body, trail, colour in zip(bodies, trails, colours, strict=True):
        _ground_track(canvas, view, frame, body, trail, colour)
    for trail, colour in zip(reversed(trails), reversed(colours), strict=True):
        _trail(canvas, view, trail, colour)
    _line_of_sight(canvas, view, frame)
    light_bodies(canvas, view, frame)
    depths = view.project(bodies)[1]
    for index in np.argsort(-depths).tolist():
        if depths[index] <= camera.near:
            continue
        if index == count:
            draw_target(canvas, view, frame)
        else:
            draw_drone(canvas, view, frame, index)


def _arena(canvas: Canvas, view: View, frame: Frame) -> None:
    """The floor and those walls whose inner side faces the eye, so that nothing is drawn in front of the flight."""
    low, high = frame.arena_low, frame.arena_high
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
    starts, ends, visible = view.camera.clip_segments(segments[:, 0], segments[:, 1])
    first, depth_first = view.project(starts[visible])
    last, depth_last = view.project(ends[visible])
    share = strength * np.where(edges[visible] > 0, 1.0, 0.58)
    canvas.lines(first, last, view.dimmed(GRID, 0.5 * (depth_first + depth_last), share))


def _tick_labels(canvas: Canvas, view: View, frame: Frame) -> None:
    """Lengths in metres along the two floor edges nearest to the eye."""
    low, high, eye = frame.arena_low, frame.arena_high, view.camera.eye
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


def _ground_track(canvas: Canvas, view: View, frame: Frame, body: Array, trail: Array, colour: Colour) -> None:
    """Where a body is above the floor: its shadow, the line up to it, and the shadow of its trail."""
    floor = float(frame.arena_low[2])
    if frame.arena_high[2] <= floor:
        return
    starts, ends, depths, along = view.path(trail * (1, 1, 0) + (0, 0, floor))
    canvas.lines(starts, ends, view.dimmed(colour, depths, 0.5 * along**1.5))
    radius = 0.8 * drone_half_width(frame)
    ring = body * (1, 1, 0) + (0, 0, floor) + circle(radius, 29)
    pixels, depths = view.project(ring)
    if not view.in_front(depths):
        return
    canvas.polygon(pixels.tolist(), BLACK, 0.5)
    middle, depth = view.place(body * (1, 1, 0) + (0, 0, floor))
    canvas.glow(middle, 2.6 * radius * view.scale(depth), colour, 0.22)
    canvas.lines(pixels, np.roll(pixels, -1, axis=0), view.dimmed(colour, depths, 0.75))
    _altitude_line(canvas, view, body, floor, colour)


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


def _line_of_sight(canvas: Canvas, view: View, frame: Frame) -> None:
    """A dotted line from the nearest pursuer to the target, with its length, while they are apart."""
    moment = frame.moment
    nearest = int(np.linalg.norm(moment.position - moment.target_position, axis=1).argmin())
    start, end = moment.position[nearest], moment.target_position
    gap = frame.capture_radius + 1.3 * drone_half_width(frame)
    if frame.distance < 1.6 * gap:
        return
    stations = np.linspace(0.0, 1.0, 2 * max(2, int(frame.distance / (0.012 * view.extent))))
    points = start + stations[:, None] * (end - start)
    pixels, depths = view.project(points)
    clear = (stations * frame.distance > drone_half_width(frame) * 1.3) & (
        (1.0 - stations) * frame.distance > frame.capture_radius
    )
    if not view.in_front(depths):
        return
    pairs = clear[::2] & clear[1::2]
    canvas.lines(pixels[::2][pairs], pixels[1::2][pairs], view.dimmed(TEXT_DIM, depths[::2][pairs], 0.55))
    (x, y), depth = view.place(0.5 * (start + end))
    canvas.text(f"{frame.distance:.1f} m", (x + 10, y - 16), 12, view.dimmed_once(TEXT_DIM, depth, 1.4))
