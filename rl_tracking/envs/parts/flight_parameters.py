"""Parameters that scenarios with pursuers and one target share: arena, dynamics, the target's motion, the sensor.

Nothing here imports torch, so that a wrong parameter is refused at once.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from rl_tracking import schema
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner, about

# Positions are float32: at 100 km they are known to 8 mm.
Length = Annotated[float, Meta(ge=0, le=1e5)]
PositiveLength = Annotated[float, Meta(ge=1e-3, le=1e5)]
Time = Annotated[float, Meta(ge=0, le=1e5)]


class FlightParameters(Struct, frozen=True, kw_only=True):
    """The shared parameters; the values here are those of ``drone`` presets."""

    preset: Annotated[
        Literal["drone", "sandbox"],
        about("defaults of the other parameters: a drone, or the paper author's sandbox"),
    ] = "drone"
    dimensions: Annotated[Literal[2, 3], about("dimensions of space")] = 3
    pursuers: Annotated[int, Meta(ge=1, le=64), about("number of pursuers")] = 4
    arena_size: Annotated[float, Meta(ge=0.1, le=1e5), about("side of the square or cubic arena", unit="m")] = 80.0
    dt: Annotated[float, Meta(ge=1e-4, le=10), about("control step", unit="s")] = 0.1
    max_steps: Annotated[int, Meta(ge=1, le=10**7), about("time limit of an episode", unit="steps")] = 400
    dynamics: Annotated[
        Literal["drone", "kinematic"],
        about("how pursuers move: by thrust against drag, or by displacements as in the author's sandbox"),
    ] = "drone"
    max_acceleration: Annotated[
        float, Meta(ge=1e-3, le=1e4), about("largest acceleration of the drone", unit="m/s^2")
    ] = 15.0
    max_speed: Annotated[float, Meta(ge=1e-3, le=1e4), about("largest speed of the drone", unit="m/s")] = 18.0
    drag: Annotated[float, Meta(ge=0, le=1e3), about("linear drag of the drone", unit="1/s")] = 0.3
    motor_lag: Annotated[float, Meta(ge=0, le=1e3), about("time constant of the drone's thrust", unit="s")] = 0.15
    substeps: Annotated[int, Meta(ge=1, le=1000), about("physics steps in a control step")] = 2
    step_length: Annotated[
        PositiveLength, about("longest displacement of a kinematic pursuer, on each axis", unit="m")
    ] = 1.0
    whole_units: Annotated[
        bool, about("the arena ends at its last whole unit, and places to start at are whole, as in the sandbox")
    ] = False
    motion: Annotated[str, about("how the target moves (`rltrack list motions`)", kind="a name")] = "random-walk"
    target_speed: Annotated[float, Meta(ge=0, le=1e4), about("greatest speed of the target", unit="m/s")] = 6.0
    target_spawn_size: Annotated[
        Length, about("the target starts in a box with this side about the centre", unit="m")
    ] = 40.0
    sensor: Annotated[
        Literal["relative", "history"],
        about("what is observed: relative to each pursuer, or the latest records of all positions"),
    ] = "relative"
    history_steps: Annotated[
        int, Meta(ge=1, le=1000), about("length of the history that is observed", unit="records")
    ] = 6
    reward: Annotated[
        str,
        about("a reward's name (`rltrack list rewards`), file.py:function or package.module:function", kind="a name"),
    ] = "tracking"
    target_moves_last: Annotated[
        bool, about("judge each step before the target moves, as the paper author's sandbox does")
    ] = False

    @property
    def longest_step(self) -> float:
        """Most metres that a pursuer moves in a step [m]."""
        if self.dynamics == "kinematic":
            return self.step_length * math.sqrt(self.dimensions)
        return self.max_speed * self.dt

    def check(self, owner: Owner, lengths: tuple[str, ...] = ()) -> None:
        """Refuse values that no world can have.

        Args:
            owner: of the parameters, for the errors.
            lengths: names of parameters that must fit in the arena, besides those known here.

        Raises:
            UsageError: a value out of bounds, or a length or a step that does not fit.
        """
        schema.check(type(self), msgspec.structs.asdict(self), owner)
        for name in ("target_spawn_size", *lengths):
            if getattr(self, name) > self.arena_size:
                raise UsageError(f"{owner.subject(name)} must fit in the arena of {self.arena_size:g} m")
        pace = "step_length" if self.dynamics == "kinematic" else "max_speed"
        for name, way in (("target_speed", self.target_speed * self.dt), (pace, self.longest_step)):
            if way > self.arena_size:
                raise UsageError(
                    f"{owner.subject(name)} makes {way:,g} m a step of {self.dt:g} s; "
                    f"a step must fit in the arena of {self.arena_size:g} m"
                )
