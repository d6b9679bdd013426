"""What is wrong with a scene, so that a viewer can trust the scenes of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from rl_tracking.envs.scene import Bodies, BodyKind, Lines, Role, Scene, Zone, ZoneShape


class Fault(NamedTuple):
    """A part of a scene that breaks the rules of :class:`rl_tracking.envs.scene.Scene`, and what it must be."""

    part: str
    found: str
    right: str


def scene_fault(scene: Any, worlds: int) -> Fault | None:
    """The first fault of what a scenario returned as the scene of B ``worlds``; None if it has none."""
    if not isinstance(scene, Scene):
        return Fault("value", f"a {type(scene).__name__}", "an rl_tracking.envs.scene.Scene")
    return next(_faults(scene, worlds), None)


def _faults(scene: Scene, worlds: int) -> Iterator[Fault]:
    dimensions = scene.low.shape[0] if isinstance(scene.low, Tensor) and scene.low.ndim == 1 else 0
    if dimensions not in (2, 3):
        yield Fault("low", _found(scene.low), "a tensor [2] or [3]")
        return
    yield from _shape("high", scene.high, dimensions)
    for bodies in scene.bodies:
        yield from _faults_of_bodies(bodies, worlds, dimensions)
    for zone in scene.zones:
        yield from _faults_of_zone(zone, worlds, dimensions)
    for lines in scene.lines:
        yield from _shape(f"ends of the lines '{lines.name}'", lines.ends, worlds, _count(lines), 2, dimensions)
    for name, (values, _) in scene.numbers.items():
        yield from _shape(f"number '{name}'", values, worlds, finite=False)
    if scene.chart is not None and scene.chart not in scene.numbers:
        names = ", ".join(f"'{name}'" for name in scene.numbers) or "none, as it has no numbers"
        yield Fault("chart", f"'{scene.chart}'", f"one of its numbers: {names}")


def _faults_of_bodies(bodies: Bodies, worlds: int, dimensions: int) -> Iterator[Fault]:
    called = f"of the bodies '{bodies.name}'"
    yield from _choice(f"kind {called}", bodies.kind, get_args(BodyKind))
    yield from _choice(f"role {called}", bodies.role, get_args(Role))
    for field in ("position", "velocity", "acceleration"):
        value = getattr(bodies, field)
        if value is not None or field == "position":
            yield from _shape(f"{field} {called}", value, worlds, _count(bodies), dimensions)


def _faults_of_zone(zone: Zone, worlds: int, dimensions: int) -> Iterator[Fault]:
    called = f"of the zone '{zone.name}'"
    yield from _choice(f"shape {called}", zone.shape, get_args(ZoneShape))
    yield from _shape(f"centre {called}", zone.centre, worlds, dimensions)
    yield from _shape(f"size {called}", zone.size, worlds, *([dimensions] if zone.shape == "box" else []))
    if zone.active is not None:
        yield from _shape(f"active {called}", zone.active, worlds)
        if zone.active.dtype != torch.bool:
            yield Fault(f"active {called}", str(zone.active.dtype), "torch.bool")


def _count(group: Bodies | Lines) -> int:
    """K of a group, as its first tensor says; 0 where that has no such axis."""
    first: Any = group.position if isinstance(group, Bodies) else group.ends
    return int(first.shape[1]) if isinstance(first, Tensor) and first.ndim > 1 else 0


def _choice(part: str, value: str, allowed: tuple[str, ...]) -> Iterator[Fault]:
    if value not in allowed:
        yield Fault(part, f"'{value}'", "one of " + ", ".join(f"'{name}'" for name in allowed))


def _shape(part: str, value: Any, *shape: int, finite: bool = True) -> Iterator[Fault]:
    if not isinstance(value, Tensor) or value.shape != shape:
        yield Fault(part, _found(value), f"a tensor {list(shape)}")
    elif finite and not bool(torch.isfinite(value).all()):
        yield Fault(part, "numbers that are not finite", "finite")


def _found(value: Any) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
