"""What there is to draw of some worlds, as data: bodies, zones, lines and numbers. No drawing code.

A scenario's ``scene(state)`` returns it for the B worlds of a state in D = 2 or 3 dimensions; a viewer draws any of it
without knowing the task. Two dimensions are drawn as a plan, on the floor; a height needs three. Roles choose colours
and cameras: ``pursuer`` (what the policy flies), ``target`` (what is watched with it), ``obstacle``, ``other``.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import Tensor

Role = Literal["pursuer", "target", "obstacle", "other"]
BodyKind = Literal["drone", "ball", "box"]
ZoneShape = Literal["sphere", "ring", "box", "cylinder"]


@dataclasses.dataclass(frozen=True)
class Bodies:
    """K bodies of one kind.

    Attributes:
        name: of the group, as panels call it.
        kind: what each looks like.
        role: what it is in the task.
        position: ``[B, K, D]`` [m].
        velocity: ``[B, K, D]`` [m/s]; None if they stand still, or if it is not known.
        acceleration: ``[B, K, D]`` [m/s^2], by which a drone leans; None if unknown.
        size: radius or half an edge [m]; None for the viewer's own, readable size.
    """

    name: str
    kind: BodyKind
    role: Role
    position: Tensor
    velocity: Tensor | None = None
    acceleration: Tensor | None = None
    size: float | None = None


@dataclasses.dataclass(frozen=True)
class Zone:
    """A region: a capture sphere, a ring to hold, a sight range, a slot, a block.

    Attributes:
        name: as panels call it.
        shape: of the region; a ring is a circle about the vertical axis.
        centre: ``[B, D]`` [m].
        size: radius ``[B]`` [m], or half the edges of a box ``[B, D]`` [m].
        active: whether it is lit up ``[B]`` bool (something is inside, say); None if it never is.
    """

    name: str
    shape: ZoneShape
    centre: Tensor
    size: Tensor
    active: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Lines:
    """K straight lines ``[B, K, 2, D]`` [m], from the first end to the second."""

    name: str
    ends: Tensor


@dataclasses.dataclass(frozen=True)
class Scene:
    """All there is to draw of B worlds.

    Attributes:
        low, high: corners of the arena ``[D]`` [m].
        bodies, zones, lines: may be empty.
        numbers: figures for panels by name: values ``[B]`` and their unit (may be empty).
        chart: name of the number that a chart over time shows; None for none.
        level: a value of that number worth a line on the chart (a radius to reach, say); None for none.
    """

    low: Tensor
    high: Tensor
    bodies: tuple[Bodies, ...] = ()
    zones: tuple[Zone, ...] = ()
    lines: tuple[Lines, ...] = ()
    numbers: dict[str, tuple[Tensor, str]] = dataclasses.field(default_factory=dict)
    chart: str | None = None
    level: float | None = None
