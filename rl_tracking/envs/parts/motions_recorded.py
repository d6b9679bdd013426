"""A motion that follows a recorded flight: track."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_tracking.envs import layout, noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.parts.arena import Arena, Motion, Target
from rl_tracking.envs.parts.motion_options import Fit, TrackOptions
from rl_tracking.envs.parts.track_files import RecordedTrack, read_track
from rl_tracking.errors import UsageError

_MOST_SAMPLES = 2**20  # of a flight, one a control step; their numbers are exact in float32, there and back
_MARGIN = 1.0 - 1e-6  # of the arena's sides, against rounding
_AXES = "xyz"


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A flight with one sample for each control step, in the arena.

    Attributes:
        legs: from where to where each control step leads, there and back: ``[2 D, 2 L]`` [m].
        fastest: longest of them [m].
        cut: what the flight lost, a sentence each, without the track's name.
    """

    legs: Tensor
    fastest: float
    cut: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Track:
    """A recorded flight, to its end and back again, over and over.

    It is resampled to the control step by straight lines and centred in the arena. If it does not fit, it is shrunk on
    all axes alike (``shrink``), or held at the walls (``clip``); a flat arena has no height. A flight that is faster
    than the target may be is flown at a lower pace, never at a higher one. The spawn point is not used. Memory: number
    of the present leg, and the share of it that is made.

    Attributes:
        speed: greatest [m/s].
        recorded: the flight.
        fit: how it is made to fit.
        random_start: whether an episode starts anywhere on it, or at its beginning.
    """

    speed: float
    recorded: RecordedTrack
    fit: Fit = "shrink"
    random_start: bool = True

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        legs = self._fitted(arena).legs.shape[1]
        leg = torch.zeros_like(anchor[:, :1])
        if self.random_start:
            share = noise.uniform(key, torch.zeros_like(key), Stream.TARGET_MOTION, 1)
            leg = (share * legs).floor().clamp(max=legs - 1)
        return self._at(layout.cat([leg, torch.zeros_like(leg)], dim=-1), arena)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        leg, share = target.memory.split(1, dim=-1)
        share = share + self._pace(arena)
        whole = share.floor()
        leg = (leg + whole).remainder(self._fitted(arena).legs.shape[1])
        return self._at(layout.cat([leg, share - whole], dim=-1), arena)

    def cut(self, arena: Arena) -> list[str]:
        """What of the flight cannot be flown in an arena, a sentence each."""
        found = self._fitted(arena)
        speed, allowed = found.fastest / arena.dt, float(torch.as_tensor(self.speed).amax())
        slow = (
            f"is flown at {allowed / speed:.2g} of its pace: its {speed:.3g} m/s are more than the target's {allowed:g}"
        )
        said = [*found.cut, *([slow] if speed > allowed * (1 + 1e-6) else [])]
        return [f"track '{self.recorded.name}' {text}" for text in said]

    def _pace(self, arena: Arena) -> Any:
        """Legs made in a control step, 1 at most: a number, or ``[B, 1]`` where speeds differ between worlds."""
        fastest = self._fitted(arena).fastest
        if fastest == 0.0:
            return 1.0
        if isinstance(self.speed, Tensor):
            return (self.speed * (arena.dt / fastest)).clamp(max=1.0)
        return min(1.0, self.speed * arena.dt / fastest)

    def _at(self, memory: Tensor, arena: Arena) -> Target:
        leg, share = memory.split(1, dim=-1)
        ends = self._fitted(arena).legs.index_select(1, leg.squeeze(-1).long()).T
        start, end = ends.chunk(2, dim=-1)
        way = end - start
        return Target(start + way * share, way * (self._pace(arena) / arena.dt), memory)

    def _fitted(self, arena: Arena) -> Fitted:
        low, side = arena.bounds[0], arena.bounds[1] - arena.bounds[0]
        return _fitted(self.recorded, self.fit, low, side, arena.low.shape[0], arena.dt, arena.low.device)


@functools.lru_cache(maxsize=16)
def _fitted(
    recorded: RecordedTrack, fit: Fit, low: float, side: float, dimensions: int, dt: float, device: torch.device
) -> Fitted:
    """The flight in an arena with sides from ``low`` to ``low + side`` [m] on all axes.

    Raises:
        UsageError: it is shorter than a control step, or longer than can be kept.
    """
    flown, cut = _resampled(recorded, dt), []
    least, greatest = flown.min(axis=0), flown.max(axis=0)
    if dimensions == 2 and greatest[2] > least[2]:
        cut.append(f"loses its heights, {greatest[2] - least[2]:.3g} m, in a flat arena")
    flown = flown[:, :dimensions] - ((least + greatest) / 2)[:dimensions]
    extent = (greatest - least)[:dimensions]
    if (extent > side).any():
        sizes = " x ".join(f"{length:.3g}" for length in extent)
        if fit == "shrink":
            scale = side / float(extent.max())
            flown = flown * (scale * _MARGIN)
            cut.append(f"is shrunk to {scale:.2g} of its size: its {sizes} m do not fit in the arena of {side:g} m")
        else:
            outside = np.abs(flown) > side / 2
            axes = ", ".join(_AXES[axis] for axis in range(dimensions) if outside[:, axis].any())
            flown = flown.clip(-side / 2, side / 2)
            cut.append(
                f"is held at the walls in {outside.any(axis=1).mean():.0%} of its samples, on {axes}: its {sizes} m do "
                f"not fit in the arena of {side:g} m"
            )
    there = torch.from_numpy(flown + (low + side / 2)).to(torch.float32).clamp_(low, low + side)
    ends = torch.cat([there, there.flip(0)[1:]])  # there and back
    legs = torch.cat([ends[:-1], ends[1:]], dim=1).T.contiguous().to(device)
    fastest = float(torch.linalg.vector_norm((ends[1:] - ends[:-1]).double(), dim=-1).max())
    return Fitted(legs, fastest, tuple(cut))


def _resampled(recorded: RecordedTrack, dt: float) -> np.ndarray[Any, Any]:
    """Positions ``[L + 1, 3]`` [m] at every control step, on straight lines between the samples."""
    steps = math.floor(recorded.time[-1] / dt * (1 + 1e-9))
    if steps < 1:
        raise UsageError(f"track '{recorded.name}' lasts {recorded.time[-1]:g} s, less than a control step of {dt:g} s")
    if steps >= _MOST_SAMPLES:
        raise UsageError(f"track '{recorded.name}' has {steps:,} control steps; {_MOST_SAMPLES:,} are the most")
    at = np.arange(steps + 1) * dt
    return np.stack([np.interp(at, recorded.time, recorded.position[:, axis]) for axis in range(3)], axis=1)


def track(speed: float, arena_size: float, options: TrackOptions = TrackOptions()) -> Motion:  # noqa: B008
    """A recorded flight from a CSV or a PX4 log (.ulg), fitted into the arena, to its end and back."""
    return Track(speed, read_track(options.file, options.max_gap), options.fit, options.random_start)
