"""Bodies: drones, balls, boxes, and the gem that marks a target."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.camera import Array, View
from rl_tracking.viewer.canvas import OBSTACLE, OTHER, TARGET, Canvas, Colour, mix, pursuer_colour
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.meshes import Part, attitude, box_parts, circle, drone_parts, gem
from rl_tracking.viewer.moment import BodyStyle

BLACK: Colour = (10, 12, 18)
WHITE: Colour = (255, 255, 255)
SMALLEST_DRONE = 17.0
SMALLEST_GEM = 7.0
READABLE = 0.036
"""Half the width of a drone without a size, as a share of the arena's longest side: its real one would not be seen."""
GEM, BALL = 0.4, 0.5
"""Half the height of a gem, and the radius of a ball without a size, as shares of that."""
SLAB = 0.3
"""Height of a box in a flat world, as a share of its width."""


def body_colour(body: BodyStyle) -> Colour:
    """By role; each pursuer has a colour of its own."""
    return {"pursuer": pursuer_colour(body.index), "target": TARGET, "obstacle": OBSTACLE}.get(body.role, OTHER)


def is_gem(body: BodyStyle) -> bool:
    """Whether a gem marks it: a target that has no size to be drawn in."""
    return body.role == "target" and body.kind == "ball" and body.size is None


def half_width(frame: Frame, body: BodyStyle) -> float:
    """From the middle of a body as it is drawn to its side [m]."""
    if body.size is not None:
        return body.size
    share = 1.0 if body.kind == "drone" else GEM if is_gem(body) else BALL
    return share * READABLE * float((frame.high - frame.low).max())


def light_bodies(canvas: Canvas, view: View, frame: Frame) -> None:
    """The glow about everything but obstacles; drawn first, so that it hides nothing in front of it."""
    for body, position in zip(frame.moment.bodies, frame.moment.position, strict=True):
        middle, depth = view.place(position)
        if depth > view.camera.near and body.role != "obstacle":
            strength = 0.6 if is_gem(body) else 0.22
            reach = 3.4 * _gem_size(frame, view, body, depth) if is_gem(body) else 2.3 * half_width(frame, body)
            canvas.glow(middle, reach * view.scale(depth), body_colour(body), strength)


def draw_body(canvas: Canvas, view: View, frame: Frame, index: int) -> None:
    """One body, unless it is behind the eye."""
    body, position = frame.moment.bodies[index], frame.moment.position[index]
    middle, depth = view.place(position)
    if depth <= view.camera.near:
        return
    colour, half = body_colour(body), half_width(frame, body)
    if body.kind == "drone":
        axes = attitude(frame.moment.lean[index], _heading(frame, index))
        _mesh(canvas, view, drone_parts(), max(half, SMALLEST_DRONE / view.scale(depth)) * axes, position, colour)
    elif is_gem(body):
        size = _gem_size(frame, view, body, depth)
        _mesh(canvas, view, gem(1.0, 0.9 * frame.time), size * np.eye(3), position, colour)
    elif body.kind == "ball":
        rim = np.array(middle) + half * view.scale(depth) * circle(1.0, 40)[:, :2]
        canvas.polygon(rim.tolist(), mix(BLACK, colour, 0.55))
        canvas.bubble(middle, half * view.scale(depth), colour)
    else:
        height = half if frame.high[2] > frame.low[2] else SLAB * half
        lift = 0.0 if height == half else height  # in a flat world it stands on the floor
        _mesh(canvas, view, box_parts(), np.diag((half, half, height)), position + np.array((0.0, 0.0, lift)), colour)


def _gem_size(frame: Frame, view: View, body: BodyStyle, depth: float) -> float:
    """From the middle of a gem to its tip [m]."""
    return max(half_width(frame, body), SMALLEST_GEM / view.scale(depth))


def _heading(frame: Frame, index: int) -> Array:
    """Level direction of flight, ``[3]``; towards the nearest target where the body hardly moves."""
    moment = frame.moment
    slow = 0.02 * float((frame.high - frame.low).max())
    ahead = moment.of_role("target") - moment.position[index]
    distance = np.linalg.norm(ahead, axis=-1)
    toward = ahead[distance.argmin()] / max(float(distance.min()), 1e-9) if len(ahead) else np.array((1.0, 0.0, 0.0))
    level: Array = (moment.velocity[index] + slow * toward) * (1.0, 1.0, 0.0)
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
