"""The target in its capture sphere, and the pursuers as quadrotors."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.camera import Array
from rl_tracking.viewer.canvas import CAPTURED, FOG, TARGET, Canvas, Colour, mix, pursuer_colour, shades
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import Part, attitude, drone_parts, gem, great_circles
from rl_tracking.viewer.view import View

BLACK: Colour = (10, 12, 18)
WHITE: Colour = (255, 255, 255)
SMALLEST_DRONE = 17.0
SMALLEST_GEM = 7.0


def drone_half_width(frame: Frame) -> float:
    """From the middle of a drawn drone to a rotor [m]: its real size would not be seen."""
    extent = float((frame.arena_high - frame.arena_low).max())
    return min(max(1.15 * frame.capture_radius, 0.028 * extent), 0.045 * extent)


def light_bodies(canvas: Canvas, view: View, frame: Frame) -> None:
    """The glow about everything that flies; drawn first, so that it washes out nothing in front of it."""
    half, reach = drone_half_width(frame), frame.capture_radius
    middle, depth = view.place(frame.moment.target_position)
    if depth > view.camera.near:
        colour, strength = (CAPTURED, 0.36) if frame.in_radius else (TARGET, 0.16)
        canvas.glow(middle, 2.4 * reach * view.scale(depth), colour, strength)
        canvas.glow(middle, 3.4 * _gem_size(frame, view, depth) * view.scale(depth), TARGET, 0.6)
    for index, position in enumerate(frame.moment.position):
        middle, depth = view.place(position)
        if depth > view.camera.near:
            canvas.glow(middle, 2.3 * half * view.scale(depth), pursuer_colour(index), 0.22)


def _gem_size(frame: Frame, view: View, depth: float) -> float:
    """From the middle of the target's gem to its tip [m]."""
    return max(0.4 * drone_half_width(frame), SMALLEST_GEM / view.scale(depth))


def draw_target(canvas: Canvas, view: View, frame: Frame) -> None:
    """A gem in its capture sphere; the sphere changes colour while a pursuer is inside."""
    centre = frame.moment.target_position
    middle, depth = view.place(centre)
    colour = CAPTURED if frame.in_radius else TARGET
    radius = frame.capture_radius * view.scale(depth)
    if radius > 3.0:
        canvas.bubble(middle, radius, colour)
        _sphere_rings(canvas, view, frame, colour, depth)
    _mesh(canvas, view, gem(1.0, 0.9 * frame.time), _gem_size(frame, view, depth) * np.eye(3), centre, TARGET)


def _sphere_rings(canvas: Canvas, view: View, frame: Frame, colour: Colour, depth: float) -> None:
    """Three circles about the capture sphere, the half behind its middle fainter."""
    rings = great_circles(frame.capture_radius, 60)
    pixels, depths = view.project(frame.moment.target_position + rings.reshape(-1, 3))
    if view.in_front(depths):
        pixels, depths = pixels.reshape(3, -1, 2), depths.reshape(3, -1)[:, 1:].reshape(-1)
        shade = shades(FOG, colour, np.where(depths < depth, 0.62, 0.42))
        canvas.lines(pixels[:, :-1].reshape(-1, 2), pixels[:, 1:].reshape(-1, 2), shade)


def draw_drone(canvas: Canvas, view: View, frame: Frame, index: int) -> None:
    """A quadrotor, banked by its acceleration, its nose where it flies to."""
    moment = frame.moment
    position, colour = moment.position[index], pursuer_colour(index)
    half = max(drone_half_width(frame), SMALLEST_DRONE / view.scale(view.place(position)[1]))
    axes = attitude(moment.lean[index], _heading(frame, index))
    _mesh(canvas, view, drone_parts(), half * axes, position, colour)


def _heading(frame: Frame, index: int) -> Array:
    """Level direction of flight, ``[3]``; towards the target where the pursuer hardly moves."""
    moment = frame.moment
    slow = 0.02 * float((frame.arena_high - frame.arena_low).max())
    to_target = moment.target_position - moment.position[index]
    heading = moment.velocity[index] + slow * to_target / max(float(np.linalg.norm(to_target)), 1e-9)
    level: Array = heading * (1.0, 1.0, 0.0)
    return level


def _mesh(canvas: Canvas, view: View, parts: tuple[Part, ...], axes: Array, centre: Array, colour: Colour) -> None:
    """Polygons turned to the columns of ``axes`` ``[3, 3]`` and put at ``centre`` ``[3]``, far ones first."""
    pixels, depths = view.project(centre + np.concatenate([part.points for part in parts]) @ axes.T)
    if not view.in_front(depths):
        return
    ends = np.cumsum([len(part.points) for part in parts])
    outlines, reaches = np.split(pixels, ends[:-1]), np.split(depths, ends[:-1])
    order = np.argsort([-float(reach.mean()) for reach in reaches]).tolist()
    low, high = pixels.min(axis=0) - 3.0, pixels.max(axis=0) + 3.0
    with canvas.magnified((float(low[0]), float(low[1]), *(high - low).tolist())) as fine:
        for i in order:
            _polygon(fine, parts[i], outlines[i], colour)


def _polygon(canvas: Canvas, part: Part, outline: Array, colour: Colour) -> None:
    """One lit polygon of a mesh."""
    lit = mix(BLACK, colour, part.tone) if part.tone <= 1.0 else mix(colour, WHITE, part.tone - 1.0)
    if part.outlined:
        closed = np.concatenate((outline[1:], outline[:1]))
        canvas.lines(outline, closed, np.full((len(outline), 3), mix(lit, WHITE, 0.15)))
    else:
        canvas.polygon(outline.tolist(), lit, part.alpha)
