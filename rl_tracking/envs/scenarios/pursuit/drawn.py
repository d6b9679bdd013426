"""Parameters of a pursuit that may differ from episode to episode: drawn at its start, kept in the state."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.parts.arena import Motion
from rl_tracking.envs.parts.dynamics import Drone, DronesOfWorlds, Dynamics
from rl_tracking.envs.scenarios.pursuit.parameters import PursuitParameters
from rl_tracking.errors import UsageError, is_plugin

_OF_DRONE = ("max_acceleration", "max_speed", "drag", "motor_lag")
MAY_VARY = (*_OF_DRONE, "wind_speed", "target_speed")


class DrawnParameters:
    """The parameters that are given as a range ``[low, high]``, drawn uniformly for every episode.

    Args:
        values: the parameters.

    Attributes:
        any: whether there is a range.
    """

    def __init__(self, values: PursuitParameters) -> None:
        ranges = {name: getattr(values, name) for name in MAY_VARY}
        self._ranges = {name: found for name, found in ranges.items() if isinstance(found, tuple)}
        self._place = {name: place for place, name in enumerate(self._ranges)}
        self.any = bool(self._ranges)
        self._of_drone = [name for name in _OF_DRONE if name in self._ranges]

    def draw(self, key: Tensor) -> Tensor:
        """Values for the episodes of the noise keys ``[B]``, one column for each range ``[B, V]``."""
        if not self._ranges:
            return torch.zeros(len(key), 0, device=key.device)
        share = noise.uniform(key, torch.zeros_like(key), Stream.EPISODE_PARAMETERS, len(self._ranges))
        low, high = share.new_tensor(list(self._ranges.values())).T
        return layout.worlds_fastest(low + share * (high - low))

    def value(self, name: str, fixed: Any, drawn: Tensor) -> Any:
        """A parameter: as drawn ``[B, 1]``, or ``fixed`` where it does not vary."""
        place = self._place.get(name)
        return fixed if place is None else drawn[:, place : place + 1]

    def dynamics(self, fixed: Dynamics, drawn: Tensor) -> Dynamics:
        """The dynamics of the worlds with the drawn limits, drag and lag."""
        if not self._of_drone or not isinstance(fixed, Drone):
            return fixed
        constants = {
            name: torch.as_tensor(self.value(name, getattr(fixed, name), drawn), device=drawn.device).unsqueeze(-1)
            for name in _OF_DRONE
        }
        return DronesOfWorlds(fixed.dt, fixed.substeps, **constants)

    def motion(self, fixed: Motion, drawn: Tensor) -> Motion:
        """The motion of the targets with the drawn speeds."""
        if "target_speed" not in self._ranges:
            return fixed
        moving: Any = fixed
        varied: Motion = dataclasses.replace(moving, speed=self.value("target_speed", None, drawn))
        return varied

    def check_motion(self, name: str, motion: Motion) -> None:
        """Refuse a range of speeds for a motion of another package, which knows one speed alone.

        Raises:
            UsageError: there is one.
        """
        if "target_speed" in self._ranges and is_plugin(motion):
            low, high = self._ranges["target_speed"]
            raise UsageError(
                f"target_speed of scenario 'pursuit' must be a number with motion '{name}' of another package, "
                f"not [{low:g}, {high:g}]"
            )


def at_most(values: PursuitParameters) -> PursuitParameters:
    """The parameters with the upper end in place of each range: what scales and limits are computed from."""
    ranges = {name: getattr(values, name) for name in MAY_VARY}
    return msgspec.structs.replace(
        values, **{name: found[1] for name, found in ranges.items() if isinstance(found, tuple)}
    )
