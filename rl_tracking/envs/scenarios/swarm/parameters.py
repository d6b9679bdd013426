"""What can be set of a swarm: its parameters, their bounds, and the presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from rl_tracking.envs.parts.flight_parameters import FlightParameters, Length, PositiveLength, Time
from rl_tracking.envs.parts.formations import FORMATIONS, least_gap, reach, slots
from rl_tracking.envs.parts.presets import with_preset
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner, about

_OWNER = Owner("scenario 'swarm'", "parameter")


class SwarmParameters(FlightParameters, frozen=True, kw_only=True):
    """What can be set; the values here are the ``drone`` preset."""

    pursuers: Annotated[int, Meta(ge=2, le=64), about("number of pursuers")] = 4
    target_spawn_size: Annotated[
        Length, about("the target starts in a box with this side about the centre", unit="m")
    ] = 30.0
    formation: Annotated[
        Literal["any", "square", "circle", "line", "wedge"],
        about("the formation at the start of each episode; any draws one of the four"),
    ] = "any"
    switch_interval: Annotated[
        Time, about("mean time after which another formation is commanded, at random; 0 is never", unit="s")
    ] = 0.0
    scale: Annotated[
        PositiveLength, about("scale of the formation: distance of neighbours, or radius of the circle", unit="m")
    ] = 10.0
    tolerance: Annotated[
        float, Meta(gt=0, le=10), about("slot error that counts as in formation, as a share of the scale")
    ] = 0.2
    collision_distance: Annotated[
        PositiveLength, about("two pursuers that come nearer than this collide", unit="m")
    ] = 1.0
    near_slot: Annotated[
        PositiveLength, about("distance to the own slot at which it counts as near, for the reward", unit="m")
    ] = 2.0
    spawn: Annotated[
        Literal["slots", "near", "wide"],
        about("where pursuers start: in their slots, near them, or ten times as far from them"),
    ] = "near"
    spawn_radius: Annotated[Length, about("greatest offset from the slot on each axis with spawn near", unit="m")] = 4.0
    target_margin: Annotated[
        Length, about("the target keeps this far from the walls, so that slots lie in the arena", unit="m")
    ] = 20.0
    target_rests: Annotated[
        bool, about("with motion cube, the target rests for a step before each rectangle and each climb")
    ] = False
    reward: Annotated[
        str,
        about("a reward's name (`rltrack list rewards`), file.py:function or package.module:function", kind="a name"),
    ] = "formation"
    author_bugs: Annotated[
        bool,
        about(
            "keep the errors of the paper author's code: the first step of an episode is charged a tenth of the mean "
            "distance of the slots from the target, progress in it is measured from where the last episode ended, "
            "which the history still holds, and the time limit counts as a termination"
        ),
    ] = False

    def __post_init__(self) -> None:
        """Refuse values that no world can have."""
        self.check(_OWNER, ("collision_distance", "near_slot", "spawn_radius", "scale"))
        if self.target_spawn_size > self.arena_size - 2 * self.target_margin:
            raise UsageError(
                f"target_spawn_size of scenario 'swarm' must fit in the {self.arena_size - 2 * self.target_margin:g} m "
                f"that a target_margin of {self.target_margin:g} m leaves"
            )
        if self.target_rests and self.motion.partition(":")[0] != "cube":
            raise UsageError(f"target_rests of scenario 'swarm' is for motion 'cube', not '{self.motion}'")
        for name in FORMATIONS if self.formation == "any" or self.switch_interval else (self.formation,):
            self._check_formation(name)

    def _check_formation(self, name: str) -> None:
        """Refuse a formation with too many pursuers for its scale, or too large for the arena."""
        places = slots(name, self.pursuers, self.scale)
        if least_gap(places) < self.collision_distance:
            raise UsageError(
                f"pursuers of scenario 'swarm' are too many: {self.pursuers} slots of formation '{name}' with a scale "
                f"of {self.scale:g} m lie {least_gap(places):.3g} m apart, nearer than collision_distance "
                f"({self.collision_distance:g} m); choose fewer, or a larger scale"
            )
        if 2 * reach(places) > self.arena_size:
            raise UsageError(
                f"formation '{name}' of scenario 'swarm' with {self.pursuers} pursuers and a scale of {self.scale:g} m "
                f"is {2 * reach(places):.4g} m wide; it must fit in the arena of {self.arena_size:g} m"
            )


PRESETS: dict[str, dict[str, Any]] = {
    "drone": {},
    "sandbox": {
        "arena_size": 500.0,
        "dt": 1.0,
        "max_steps": 400,
        "dynamics": "kinematic",
        "step_length": 10.0,
        "whole_units": True,
        "motion": "cube",
        "target_speed": 10.0,
        "target_spawn_size": 100.0,
        "target_rests": True,
        "target_margin": 0.0,
        "scale": 40.0,
        "collision_distance": 5.0,
        "near_slot": 50.0,
        "spawn_radius": 30.0,
        "sensor": "history",
        "history_steps": 10,
        "reward": "formation-sandbox",
        "target_moves_last": True,
    },
}


def swarm_parameters(given: dict[str, Any]) -> SwarmParameters:
    """The given parameters, and the others as their ``preset`` has them.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    return with_preset(SwarmParameters, PRESETS, given, _OWNER)
