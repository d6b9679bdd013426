"""Options of motions, given behind their name: ``square:side=0.3,way=left``.

Nothing here imports torch, so that a wrong option is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from rl_tracking import named_options, plugins
from rl_tracking.schema import Share, about

Time = Annotated[float, Meta(ge=1e-3, le=1e5)]
Angle = Annotated[float, Meta(ge=0, le=180)]
Fit = Literal["shrink", "clip"]
Way = Literal["left", "right", "either"]


class SquareOptions(Struct, frozen=True, kw_only=True):
    """Of the square path."""

    side: Annotated[float, Meta(ge=0.01, le=1), about("side of the square, as a share of the arena's")] = 0.3
    way: Annotated[Way, about("which way round, seen from above; either is drawn for every episode")] = "either"


class WaypointsOptions(Struct, frozen=True, kw_only=True):
    """Of waypoints."""

    extent: Annotated[Share, about("points lie in this share of the arena's sides, about its centre")] = 0.9
    pause: Annotated[float, Meta(ge=0, le=1e4), about("time for which the target stays at each point", unit="s")] = 0.0


class WeaveOptions(Struct, frozen=True, kw_only=True):
    """Of weave."""

    amplitude: Annotated[
        float, Meta(ge=0, le=180), about("greatest angle between heading and course", unit="degrees")
    ] = 60.0
    period: Annotated[
        Time | tuple[Time, Time], about("of the swing; number, or range to draw from in every episode", unit="s")
    ] = (2.0, 4.0)


class JinkOptions(Struct, frozen=True, kw_only=True):
    """Of jink."""

    interval: Annotated[Time, about("mean time between two turns", unit="s")] = 1.5
    turn: Annotated[
        Angle | tuple[Angle, Angle], about("angle of a turn; number, or range to draw from at each", unit="degrees")
    ] = (45.0, 135.0)


class EvaderOptions(Struct, frozen=True, kw_only=True):
    """Of the evader."""

    acceleration: Annotated[float, Meta(ge=1e-3, le=1e4), about("greatest acceleration", unit="m/s^2")] = 8.0
    sight: Annotated[float, Meta(ge=0, le=1e5), about("pursuers further away are not seen", unit="m")] = 1000.0


class TrackOptions(Struct, frozen=True, kw_only=True):
    """Of the track."""

    file: Annotated[
        str, Meta(min_length=1), about("a CSV file, a PX4 log (.ulg), or sample for the track that comes with it")
    ] = "sample"
    fit: Annotated[
        Fit, about("a flight larger than the arena is made smaller on all axes alike, or held at the walls")
    ] = "shrink"
    max_gap: Annotated[Time, about("longest time between two samples of the file", unit="s")] = 2.0
    random_start: Annotated[bool, about("whether an episode starts anywhere on the track, or at its beginning")] = True


OPTIONS: dict[str, type[Struct]] = {
    "square": SquareOptions,
    "waypoints": WaypointsOptions,
    "weave": WeaveOptions,
    "jink": JinkOptions,
    "evader": EvaderOptions,
    "track": TrackOptions,
}


def parsed(spec: str) -> tuple[str, Struct | None]:
    """The name in a motion's name with options, and its options if it has any; nothing is imported.

    Raises:
        UsageError: nobody bears the name, or an option is unknown or has a value that it cannot have.
    """
    return named_options.parsed("motion", spec, OPTIONS)


def maker(spec: str) -> Callable[[float, float], Any]:
    """What makes the motion of a name with options from (greatest speed [m/s], side of the arena [m]).

    Raises:
        UsageError: as :func:`parsed`, or a plugin that cannot be loaded.
    """
    name, options = parsed(spec)
    make: Callable[..., Any] = plugins.resolve("motion", name)
    return make if options is None else lambda speed, arena_size: make(speed, arena_size, options)


def summary(name: str) -> str:
    """What a motion is in a line, and its options with their defaults."""
    return named_options.summary("motion", name, OPTIONS)
