"""What can be set of a pursuit world: its parameters, their bounds, and the presets."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from rl_tracking import schema
from rl_tracking.envs.parts.presets import with_preset
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner, about

Spawn = Literal["anywhere", "near", "at-target"]
TargetSpawn = Literal["centre", "box", "edges"]
SPAWNS, TARGET_SPAWNS = get_args(Spawn), get_args(TargetSpawn)

# Positions are float32: at 100 km they are known to 8 mm.
Length = Annotated[float, Meta(ge=0, le=1e5)]
PositiveLength = Annotated[float, Meta(ge=1e-3, le=1e5)]
Speed = Annotated[float, Meta(ge=0, le=1e4)]
Wind = Annotated[float, Meta(ge=0, le=200)]
Limit = Annotated[float, Meta(ge=1e-3, le=1e4)]
Rate = Annotated[float, Meta(ge=0, le=1e3)]
Substeps = Annotated[int, Meta(ge=1, le=1000)]

_OWNER = Owner("scenario 'pursuit'", "parameter")


class PursuitParameters(Struct, frozen=True, kw_only=True):
    """What can be set; the values here are the ``drone`` preset."""

    preset: Annotated[
        Literal["drone", "sandbox"],
        about("defaults of the other parameters: a drone, or the paper author's sandbox"),
    ] = "drone"
    dimensions: Annotated[Literal[2, 3], about("dimensions of space")] = 3
    pursuers: Annotated[int, Meta(ge=1, le=256), about("number of pursuers")] = 1
    arena_size: Annotated[float, Meta(ge=0.1, le=1e5), about("side of the square or cubic arena", unit="m")] = 60.0
    dt: Annotated[float, Meta(ge=1e-4, le=10), about("control step", unit="s")] = 0.1
    max_steps: Annotated[int, Meta(ge=1, le=10**7), about("time limit of an episode", unit="steps")] = 400
    capture_radius: Annotated[PositiveLength, about("a pursuer this near has captured the target", unit="m")] = 2.0
    capture_terminates: Annotated[bool, about("whether capture ends the episode")] = False
    dynamics: Annotated[
        Literal["drone", "kinematic"],
        about("how pursuers move: by thrust against drag, or by displacements as in the author's sandbox"),
    ] = "drone"
    max_acceleration: Annotated[
        Limit | tuple[Limit, Limit],
        about("largest acceleration of the drone; number, or range to draw from in every episode", unit="m/s^2"),
    ] = 15.0
    max_speed: Annotated[
        Limit | tuple[Limit, Limit], about("largest speed of the drone; number or range", unit="m/s")
    ] = 18.0
    drag: Annotated[Rate | tuple[Rate, Rate], about("linear drag of the drone; number or range", unit="1/s")] = 0.3
    motor_lag: Annotated[
        Rate | tuple[Rate, Rate], about("time constant of the drone's thrust; number or range", unit="s")
    ] = 0.15
    substeps: Annotated[Substeps, about("physics steps in a control step")] = 2
    step_length: Annotated[
        PositiveLength, about("longest displacement of a kinematic pursuer, on each axis", unit="m")
    ] = 1.0
    whole_units: Annotated[bool, about("round kinematic displacements down to whole metres")] = False
    wind_speed: Annotated[
        Wind | tuple[Wind, Wind],
        about("standard deviation of the gusts on each axis, number or range; 0 is still air", unit="m/s"),
    ] = 0.0
    wind_time_constant: Annotated[float, Meta(ge=1e-3, le=1e5), about("correlation time of the gusts", unit="s")] = 2.0
    motion: Annotated[str, about("how the target moves (`rltrack list motions`)", kind="a name")] = "random-walk"
    target_speed: Annotated[
        Speed | tuple[Speed, Speed], about("greatest speed of the target; number or range", unit="m/s")
    ] = 6.0
    target_spawn: Annotated[
        TargetSpawn, about("where the target starts: the centre, anywhere in a box around it, or an edge of that box")
    ] = "box"
    target_spawn_size: Annotated[Length, about("side of that box", unit="m")] = 40.0
    spawn: Annotated[Spawn, about("where pursuers start: anywhere, near the target, or at it")] = "anywhere"
    spawn_radius: Annotated[Length, about("greatest offset from the target on each axis with spawn near", unit="m")] = (
        5.0
    )
    sensor: Annotated[
        Literal["relative", "history"],
        about("what is observed: the target relative to each pursuer, or the latest records of all positions"),
    ] = "relative"
    history_steps: Annotated[Substeps, about("length of the history that is observed", unit="records")] = 6
    reward: Annotated[
        str,
        about("a reward's name (`rltrack list rewards`), file.py:function or package.module:function", kind="a name"),
    ] = "tracking"
    target_moves_last: Annotated[
        bool, about("judge each step before the target moves, as the paper author's sandbox does")
    ] = False
    author_bugs: Annotated[
        bool,
        about(
            "keep the errors of the paper author's code: after a reset the history still holds where the pursuers "
            "were, the time limit counts as a termination, with spawn at-target the first action moves the target "
            "too, and the energy term of reward complex takes the last pursuer's action for everyone's"
        ),
    ] = False

    def __post_init__(self) -> None:
        """Refuse values that no world can have."""
        schema.check(type(self), msgspec.structs.asdict(self), _OWNER)
        for name in ("target_spawn_size", "capture_radius", "spawn_radius"):
            if getattr(self, name) > self.arena_size:
                raise UsageError(f"{name} of scenario 'pursuit' must fit in the arena of {self.arena_size:g} m")
        for name, way in (("target_speed", highest(self.target_speed) * self.dt), (self._pace, self.longest_step)):
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
        if self.dynamics == "kinematic":
            return self.step_length * math.sqrt(self.dimensions)
        return highest(self.max_speed) * self.dt

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


def highest(value: float | tuple[float, float]) -> float:
    """A number, or the upper end of a range."""
    return value[1] if isinstance(value, tuple) else value


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


def pursuit_parameters(given: dict[str, Any]) -> PursuitParameters:
    """The given parameters, and the others as their ``preset`` has them.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    return with_preset(PursuitParameters, PRESETS, given, _OWNER)
