"""Zones of every shape: spheres, rings, boxes and cylinders."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.bodies import body_colour
from rl_tracking.viewer.camera import Array, View
from rl_tracking.viewer.canvas import CAPTURED, FOG, ZONE, Canvas, Colour, shades
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import BOX_EDGES, box_corners, circle, great_circles

LARGE = 0.08
"""A sphere with a greater radius, as a share of the arena's diagonal, does not glow: it would hide what is in it."""
POSTS = 12  # upright lines of a cylinder


def zone_colour(frame: Frame, index: int) -> Colour:
    """Of a zone: green while it is lit up, else the colour of the body that it is attached to."""
    if frame.moment.active[index]:
        return CAPTURED
    body = int(frame.moment.centre_body[index])
    return ZONE if body < 0 else body_colour(frame.moment.bodies[body])


def light_zones(canvas: Canvas, view: View, frame: Frame) -> None:
    """The glow about small spheres; drawn before everything that stands in them."""
    moment = frame.moment
    for index, zone in enumerate(moment.zones):
        middle, depth = view.place(moment.centre[index])
        radius = float(moment.extent[index, 0])
        if zone.shape == "sphere" and depth > view.camera.near and radius < LARGE * view.extent:
            strength = 0.36 if moment.active[index] else 0.16
            canvas.glow(middle, 2.4 * radius * view.scale(depth), zone_colour(frame, index), strength)


def draw_zone(canvas: Canvas, view: View, frame: Frame, index: int) -> None:
    """One zone in its colour."""
    colour, centre, extent = zone_colour(frame, index), frame.moment.centre[index], frame.moment.extent[index]
    shape = frame.moment.zones[index].shape
    if shape == "sphere":
        _sphere(canvas, view, centre, float(extent[0]), colour)
    elif shape == "ring":
        _outline(canvas, view, centre + circle(float(extent[0]), 72), colour, 2.0)
    elif shape == "cylinder":
        _cylinder(canvas, view, frame, centre, float(extent[0]), colour)
    else:
        corners = centre + extent * box_corners()
        _filled(canvas, view, corners[[0, 1, 3, 2]], colour)
        _edges(canvas, view, corners[list(BOX_EDGES)], colour)


def _sphere(canvas: Canvas, view: View, centre: Array, radius: float, colour: Colour) -> None:
    """A transparent ball with three circles about it, the half behind its middle fainter."""
    middle, depth = view.place(centre)
    size = radius * view.scale(depth)
    if depth <= view.camera.near or size <= 3.0:
        return
    canvas.bubble(middle, size, colour)
    pixels, depths = view.project(centre + great_circles(radius, 60).reshape(-1, 3))
    if view.in_front(depths):
        pixels, depths = pixels.reshape(3, -1, 2), depths.reshape(3, -1)[:, 1:].reshape(-1)
        shade = shades(FOG, colour, np.where(depths < depth, 0.62, 0.42))
        canvas.lines(pixels[:, :-1].reshape(-1, 2), pixels[:, 1:].reshape(-1, 2), shade)


def _cylinder(canvas: Canvas, view: View, frame: Frame, centre: Array, radius: float, colour: Colour) -> None:
    """An upright cylinder from the floor of the arena to its ceiling; on a flat arena a disc."""
    level = centre * (1, 1, 0)
    bottom, top = (level + circle(radius, 6 * POSTS, height) for height in (frame.low[2], frame.high[2]))
    _filled(canvas, view, bottom, colour)
    _outline(canvas, view, bottom, colour, 1.4)
    if frame.high[2] > frame.low[2]:
        _outline(canvas, view, top, colour, 1.0)
        _edges(canvas, view, np.stack((bottom[::6], top[::6]), axis=1), colour, 0.35)


def _outline(canvas: Canvas, view: View, points: Array, colour: Colour, width: float) -> None:
    """A closed line through ``points`` ``[K, 3]``."""
    starts, ends, depths, _ = view.segments(points, np.roll(points, -1, axis=0))
    canvas.lines(starts, ends, view.dimmed(colour, depths, 0.9), width)


def _edges(canvas: Canvas, view: View, edges: Array, colour: Colour, strength: float = 0.7) -> None:
    """Straight lines ``[K, 2, 3]``."""
    starts, ends, depths, _ = view.segments(edges[:, 0], edges[:, 1])
    canvas.lines(starts, ends, view.dimmed(colour, depths, strength))


def _filled(canvas: Canvas, view: View, points: Array, colour: Colour) -> None:
    """A faint surface within ``points`` ``[K, 3]``."""
    pixels, depths = view.project(points)
    if view.in_front(depths):
        canvas.polygon(pixels.tolist(), colour, 0.12)
