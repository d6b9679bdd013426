"""What can be set of a basic track: its parameters, their bounds, and the presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from rl_tracking import schema
from rl_tracking.envs.parts.presets import with_preset
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner, about

PositiveLength = Annotated[float, Meta(ge=1e-3, le=1e5)]
Limit = Annotated[float, Meta(ge=1e-3, le=1e4)]

_OWNER = Owner("scenario 'track2d'", "parameter")


class Track2dParameters(Struct, frozen=True, kw_only=True):
    """What can be set; the values here are the ``robot`` preset."""

    preset: Annotated[
        Literal["robot", "sandbox"],
        about("defaults of the other parameters: a robot with inertia, or the paper author's basic track"),
    ] = "robot"
    actions: Annotated[
        Literal["discrete", "continuous"],
        about("one of up, down, left, right and stay, or a vector"),
    ] = "discrete"
    dynamics: Annotated[
        Literal["acceleration", "velocity"],
        about("what an action sets: the robot's acceleration, or its velocity as in the author's sandbox"),
    ] = "acceleration"
    arena_size: Annotated[float, Meta(ge=0.1, le=1e5), about("side of the square arena", unit="m")] = 100.0
    dt: Annotated[float, Meta(ge=1e-4, le=10), about("control step", unit="s")] = 0.1
    max_steps: Annotated[int, Meta(ge=1, le=10**7), about("time limit of an episode", unit="steps")] = 200
    max_speed: Annotated[
        Limit, about("largest speed of the robot; on each axis where actions set the velocity", unit="m/s")
    ] = 20.0
    max_acceleration: Annotated[
        Limit, about("largest acceleration of the robot, where actions set that", unit="m/s^2")
    ] = 20.0
    drag: Annotated[
        float, Meta(ge=0, le=1e3), about("linear drag of the robot, where actions set its acceleration", unit="1/s")
    ] = 0.5
    spawn: Annotated[Literal["anywhere", "centre"], about("where the robot starts, at rest")] = "anywhere"
    motion: Annotated[str, about("how the target moves, with its options (`rltrack list motions`)", kind="a name")] = (
        "square"
    )
    target_speed: Annotated[float, Meta(ge=0, le=1e4), about("greatest speed of the target", unit="m/s")] = 6.0
    capture_radius: Annotated[PositiveLength, about("this near the robot has caught the target", unit="m")] = 1.0
    capture_terminates: Annotated[bool, about("whether capture ends the episode")] = True
    observation: Annotated[
        Literal["relative", "author"],
        about("what is observed: both velocities and the robot's place too, or only the author's four numbers"),
    ] = "relative"
    reward: Annotated[
        str,
        about("a reward's name (`rltrack list rewards`), file.py:function or package.module:function", kind="a name"),
    ] = "catch"
    author_bugs: Annotated[
        bool, about("keep an error of the paper author's code: the robot is not put back between episodes")
    ] = False

    def __post_init__(self) -> None:
        """Refuse values that no world can have."""
        schema.check(type(self), msgspec.structs.asdict(self), _OWNER)
        if self.capture_radius > self.arena_size:
            raise UsageError(f"capture_radius of scenario 'track2d' must fit in the arena of {self.arena_size:g} m")
        for name in ("max_speed", "target_speed"):
            way = getattr(self, name) * self.dt
            if way > self.arena_size:
                raise UsageError(
                    f"{name} of scenario 'track2d' makes {way:,g} m a step of {self.dt:g} s; "
                    f"a step must fit in the arena of {self.arena_size:g} m"
                )


PRESETS: dict[str, dict[str, Any]] = {
    "robot": {},
    "sandbox": {
        "dynamics": "velocity",
        "max_speed": 10.0,
        "spawn": "centre",
        "motion": "square:side=0.3,way=left",
        "observation": "author",
        "reward": "nearer",
    },
}


def track2d_parameters(given: dict[str, Any]) -> Track2dParameters:
    """The given parameters, and the others as their ``preset`` has them.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    return with_preset(Track2dParameters, PRESETS, given, _OWNER)
