"""What can be set of a search: its parameters, their bounds, and the presets."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from msgspec import Meta

from rl_tracking.envs.parts.flight_parameters import FlightParameters, Length, PositiveLength
from rl_tracking.envs.parts.presets import with_preset
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner, about

_OWNER = Owner("scenario 'intercept'", "parameter")
MOST_CELLS = 100_000  # a bit each in every state


class InterceptParameters(FlightParameters, frozen=True, kw_only=True):
    """What can be set; the values here are the ``drone`` preset."""

    arena_size: Annotated[float, Meta(ge=0.1, le=1e5), about("side of the square or cubic arena", unit="m")] = 100.0
    max_steps: Annotated[int, Meta(ge=1, le=10**7), about("time limit of an episode", unit="steps")] = 800
    target_spawn_size: Annotated[
        Length, about("the target starts in a box with this side about the centre", unit="m")
    ] = 100.0
    spawn: Annotated[
        Literal["anywhere", "centre"], about("where pursuers start: anywhere, or within spawn_radius of the centre")
    ] = "anywhere"
    spawn_radius: Annotated[
        Length, about("greatest offset from the centre on each axis with spawn centre", unit="m")
    ] = 10.0
    sight_range: Annotated[PositiveLength, about("the target is seen while some pursuer is this near", unit="m")] = 30.0
    capture_radius: Annotated[PositiveLength, about("a pursuer this near has captured the target", unit="m")] = 2.0
    capture_terminates: Annotated[bool, about("whether capture ends the episode")] = True
    cell_size: Annotated[
        PositiveLength, about("side of the cells of which those that were visited are remembered", unit="m")
    ] = 10.0
    reward: Annotated[
        str,
        about("a reward's name (`rltrack list rewards`), file.py:function or package.module:function", kind="a name"),
    ] = "interception"
    author_bugs: Annotated[
        bool,
        about(
            "keep the errors of the paper author's code: after a reset the history still holds where the pursuers "
            "were, and the time limit counts as a termination"
        ),
    ] = False

    def __post_init__(self) -> None:
        """Refuse values that no world can have."""
        self.check(_OWNER, ("capture_radius", "spawn_radius", "cell_size"))
        if self.capture_radius > self.sight_range:
            raise UsageError(
                f"capture_radius of scenario 'intercept' must be at most sight_range ({self.sight_range:g} m), "
                f"not {self.capture_radius:g}"
            )
        cells = math.ceil(self.arena_size / self.cell_size) ** self.dimensions
        if cells > MOST_CELLS:
            raise UsageError(
                f"cell_size of scenario 'intercept' makes {cells:,} cells of {self.cell_size:g} m; "
                f"{MOST_CELLS:,} are allowed: choose larger ones"
            )


PRESETS: dict[str, dict[str, Any]] = {
    "drone": {},
    "sandbox": {
        "pursuers": 8,
        "arena_size": 500.0,
        "dt": 1.0,
        "max_steps": 800,
        "dynamics": "kinematic",
        "step_length": 10.0,
        "whole_units": True,
        "motion": "stationary",
        "target_speed": 10.0,
        "target_spawn_size": 500.0,
        "spawn_radius": 20.0,
        "sight_range": 200.0,
        "capture_radius": 15.0,
        "cell_size": 25.0,
        "sensor": "history",
        "history_steps": 30,
        "reward": "search-sandbox",
        "target_moves_last": True,
    },
}


def intercept_parameters(given: dict[str, Any]) -> InterceptParameters:
    """The given parameters, and the others as their ``preset`` has them.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    return with_preset(InterceptParameters, PRESETS, given, _OWNER)
