"""The flight seen through a camera, from far to near: arena, tracks on the floor, trails, lines, zones, bodies."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.arena import draw_arena
from rl_tracking.viewer.bodies import body_colour, draw_body, half_width, light_bodies
from rl_tracking.viewer.camera import Array, Camera
from rl_tracking.viewer.canvas import TEXT_DIM, Canvas, Colour
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import circle
from rl_tracking.viewer.view import View
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
