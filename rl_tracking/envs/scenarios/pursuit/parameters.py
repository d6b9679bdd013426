"""What can be set of a pursuit world: its parameters, their checks, and the presets."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from rl_tracking.errors import UsageError, unknown

SPAWNS = ("anywhere", "near", "at-target")
TARGET_SPAWNS = ("centre", "box", "edges")


@dataclasses.dataclass(frozen=True)
class PursuitParameters:
    """What can be set. Lengths in [m], times in [s]; the values here are the ``drone`` preset.

    Attributes:
        dimensions: 2 or 3.
        pursuers: how many pursuers.
        arena_size: side of the square or cubic arena [m].
        dt: control step [s].
        max_steps: time limit [steps].
        capture_radius: a pursuer this near has captured the target [m].
        capture_terminates: whether capture ends the episode.
        dynamics: ``drone`` or ``kinematic``.
        max_acceleration: of the drone [m/s^2].
        max_speed: of the drone [m/s].
        drag: of the drone against the air [1/s].
        motor_lag: time constant of the drone's thrust [s].
        substeps: physics steps a control step.
        step_length: of the kinematic pursuer, an axis [m a step].
        whole_units: whether the kinematic displacement is cut to whole metres.
        wind_speed: deviation of the gusts an axis [m/s]; 0 is still air.
        wind_time_constant: how long a gust lasts [s].
        motion: how the target moves.
        target_speed: greatest speed of the target [m/s].
        target_spawn: ``centre``; ``box`` (anywhere in a box about the centre); ``edges`` (on an edge of it).
        target_spawn_size: side of that box [m].
        spawn: where pursuers start: ``anywhere``, ``near`` or ``at-target``.
        spawn_radius: greatest offset an axis for ``near`` [m].
        sensor: ``relative`` or ``history``.
        history_steps: records in the ``history`` observation.
        reward: a preset, an installed plugin, ``file.py:function`` or ``package.module:function``.
        target_moves_last: judge each step before the target moves, as the paper author's sandbox does.
        author_bugs: keep the errors of the paper author's code: after a reset the history still holds where the
            pursuers were before, the time limit counts as a termination, with spawn ``at-target`` the first action
            moves the target too, and the energy term of ``complex`` takes the last pursuer's action for everyone's.
    """

    dimensions: int = 3
    pursuers: int = 1
    arena_size: float = 60.0
    dt: float = 0.1
    max_steps: int = 400
    capture_radius: float = 2.0
    capture_terminates: bool = False
    dynamics: str = "drone"
    max_acceleration: float = 15.0
    max_speed: float = 18.0
    drag: float = 0.3
    motor_lag: float = 0.15
    substeps: int = 2
    step_length: float = 1.0
    whole_units: bool = False
    wind_speed: float = 0.0
    wind_time_constant: float = 2.0
    motion: str = "random-walk"
    target_speed: float = 6.0
    target_spawn: str = "box"
    target_spawn_size: float = 40.0
    spawn: str = "anywhere"
    spawn_radius: float = 5.0
    sensor: str = "relative"
    history_steps: int = 6
    reward: str = "tracking"
    target_moves_last: bool = False
    author_bugs: bool = False

    def __post_init__(self) -> None:
        """Refuse values no world can have."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise unknown(f"{name} of scenario 'pursuit':", str(value), [str(item) for item in allowed])
        for name, (low, high, unit) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} of scenario 'pursuit' must be {low:g} to {high:,.0f}{unit}, not {value:g}")
        for name in ("target_spawn_size", "capture_radius", "spawn_radius"):
            if getattr(self, name) > self.arena_size:
                raise UsageError(f"{name} of scenario 'pursuit' must fit in the arena of {self.arena_size:g} m")
        for name, way in (("target_speed", self.target_speed * self.dt), (self._pace, self.longest_step)):
            if way > self.arena_size:
                raise UsageError(
                    f"{name} of scenario 'pursuit' makes {way:,g} m a step of {self.dt:g} s; "
                    f"a step must fit in the arena of {self.arena_size:g} m"
                )
        if self.author_bugs and not self.target_moves_last:
            raise UsageError("author_bugs of scenario 'pursuit' needs target_moves_last, as preset 'sandbox' has it")

    @property
    def _pace(self) -> str:
        """The name of the parameter that says how far a pursuer moves."""
        return "step_length" if self.dynamics == "kinematic" else "max_speed"

    @property
    def longest_step(self) -> float:
        """Most metres that a pursuer moves in a step by itself [m]."""
        return (
            self.step_length * math.sqrt(self.dimensions) if self.dynamics == "kinematic" else self.max_speed * self.dt
        )

    def unusual(self, target_speed: float) -> list[str]:
        """What can hardly be meant, a sentence each.

        Args:
            target_speed: greatest speed of the target's motion [m/s].
        """
        found = []
        own, of_target, diameter = self.longest_step, target_speed * self.dt, 2 * self.capture_radius
        if of_target > own:
            found.append(
                f"the target of scenario 'pursuit' moves {of_target:.4g} m a step and a pursuer {own:.4g} m: "
                "it can fly away from every pursuer"
            )
        if own + of_target > diameter:
            found.append(
                f"in one step of scenario 'pursuit' pursuer and target move up to {own + of_target:.4g} m, further "
                f"than the capture diameter of {diameter:.4g} m: captures are seen on the way, but time in radius is "
                "counted at the ends of steps alone"
            )
        return found


_CHOICES: dict[str, tuple[Any, ...]] = {
    "dimensions": (2, 3),
    "dynamics": ("drone", "kinematic"),
    "sensor": ("relative", "history"),
    "spawn": SPAWNS,
    "target_spawn": TARGET_SPAWNS,
}
# Least and greatest value of every number, and its unit. Positions are float32: at 100 km they are known to 8 mm.
_BOUNDS: dict[str, tuple[float, float, str]] = {
    "pursuers": (1, 256, ""),
    "arena_size": (0.1, 1e5, " m"),
    "dt": (1e-4, 10, " s"),
    "max_steps": (1, 1e7, " steps"),
    "capture_radius": (1e-3, 1e5, " m"),
    "max_acceleration": (1e-3, 1e4, " m/s^2"),
    "max_speed": (1e-3, 1e4, " m/s"),
    "drag": (0, 1e3, " 1/s"),
    "motor_lag": (0, 1e3, " s"),
    "substeps": (1, 1e3, ""),
    "step_length": (1e-3, 1e5, " m"),
    "wind_speed": (0, 200, " m/s"),
    "wind_time_constant": (1e-3, 1e5, " s"),
    "target_speed": (0, 1e4, " m/s"),
    "target_spawn_size": (0, 1e5, " m"),
    "spawn_radius": (0, 1e5, " m"),
    "history_steps": (1, 1e3, " records"),
}

PRESETS: dict[str, dict[str, Any]] = {
    "drone": {},
    "sandbox": {
        "arena_size": 500.0,
        "dt": 1.0,
        "max_steps": 400,
        "capture_radius": 15.0,
        "dynamics": "kinematic",
        "step_length": 10.0,
        "whole_units": True,
        "motion": "cube",
        "target_speed": 10.0,
        "target_spawn": "edges",
        "target_spawn_size": 200.0,
        "spawn": "anywhere",
        "spawn_radius": 20.0,
        "sensor": "history",
        "reward": "complex",
        "target_moves_last": True,
    },
}


def pursuit_parameters(preset: str, given: dict[str, Any]) -> PursuitParameters:
    """A preset's parameters, some of them replaced.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    if preset not in PRESETS:
        raise unknown("preset of scenario 'pursuit':", str(preset), PRESETS)
    fields = {field.name: field for field in dataclasses.fields(PursuitParameters)}
    for name in given:
        if name not in fields:
            raise unknown("parameter of scenario 'pursuit':", name, [*fields, "preset"])
    merged = {**PRESETS[preset], **given}
    return PursuitParameters(
        **{name: _typed(name, value, type(fields[name].default)) for name, value in merged.items()}
    )


def _typed(name: str, value: Any, kind: type) -> Any:
    """``value`` as ``kind``; whole numbers serve as floats, nothing else is bent."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}
        raise UsageError(f"{name} of scenario 'pursuit' must be {words[kind]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} of scenario 'pursuit' must be finite, not {value}")
    return value
