"""Options of controllers, given behind their name: ``pronav:3``, ``mppi:branches=256,horizon=20``.

Nothing here imports torch, so that a wrong option is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from rl_tracking import named_options, plugins
from rl_tracking.schema import about


class NavigationOptions(Struct, frozen=True, kw_only=True):
    """Of proportional navigation."""

    navigation_constant: Annotated[
        float, Meta(ge=1, le=20), about("how many times faster than the line of sight the velocity turns")
    ] = 3.0


class PlannerOptions(Struct, frozen=True, kw_only=True):
    """Of model predictive path integral control."""

    branches: Annotated[int, Meta(ge=2, le=65_536), about("plans that are tried at every step")] = 128
    horizon: Annotated[int, Meta(ge=1, le=1000), about("length of a plan", unit="steps")] = 16
    deviation: Annotated[
        float, Meta(gt=0, le=10), about("standard deviation of disturbed actions, as a share of half their range")
    ] = 1.0
    correlation: Annotated[float, Meta(ge=0, lt=1), about("of a disturbance with that of the step before")] = 0.3
    temperature: Annotated[
        float, Meta(gt=0, le=100), about("of the weights, in standard deviations of the branches' returns")
    ] = 0.3


OPTIONS: dict[str, type[Struct]] = {
    "pronav": NavigationOptions,
    "mppi": PlannerOptions,
    "mppi-clairvoyant": PlannerOptions,
}
PLANNERS = tuple(name for name, declared in OPTIONS.items() if declared is PlannerOptions)


def check(spec: str) -> str:
    """The name in a controller's name with options; nothing is imported.

    Raises:
        UsageError: nobody bears the name, or an option is unknown or has a value that it cannot have.
    """
    return named_options.parsed("controller", spec, OPTIONS)[0]


def make(spec: str) -> Callable[[Any, Any], Any]:
    """A controller for one pilot, by its name with options.

    A name stands for a function of (scenario, state), or for a class of such objects, of which each pilot has its own.

    Raises:
        UsageError: as :func:`check`, or a plugin that cannot be loaded.
    """
    name, options = named_options.parsed("controller", spec, OPTIONS)
    found: Any = plugins.resolve("controller", name)
    if not isinstance(found, type):
        return found  # type: ignore[no-any-return]
    return found() if options is None else found(options)  # type: ignore[no-any-return]


def summary(name: str) -> str:
    """What a controller is in a line, and its options with their defaults."""
    return named_options.summary("controller", name, OPTIONS)
