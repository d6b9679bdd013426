"""Actions of a Box or a Discrete space: checked as they come in, and brought within bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking.errors import UsageError

Array = np.ndarray[Any, Any]
_FEW = 16


def checked_actions(space: spaces.Space[Any], actions: Any, worlds: int | None = None) -> Array:
    """Actions as an array of the space's type and shape.

    Args:
        space: of one action.
        actions: one, or ``worlds`` of them on the first axis.
        worlds: how many; None for a single action.

    Raises:
        UsageError: another shape, a number that is not finite, or one that a Discrete space lacks.
    """
    given = np.asarray(actions)
    expected = space.shape or ()
    if worlds is not None:
        expected = (worlds, *expected)
    if given.shape != expected:
        one = "action has" if worlds is None else "actions have"
        raise UsageError(f"{one} shape {list(given.shape)}, expected {list(expected)}")
    if isinstance(space, spaces.Discrete):
        _check_choices(space, given, worlds)
    elif not _is_finite(given):
        raise UsageError(f"{_first(~np.isfinite(given), given, worlds, 'is not finite')}")
    return given if given.dtype == space.dtype else given.astype(space.dtype)


def _is_finite(numbers: Array) -> bool:
    """Whether all numbers are; for a few of them this takes a fraction of NumPy's time."""
    if numbers.size <= _FEW and numbers.dtype.kind == "f":
        return all(map(math.isfinite, numbers.ravel().tolist()))
    return bool(np.isfinite(numbers).all())


def _check_choices(space: spaces.Discrete, given: Array, worlds: int | None) -> None:
    first, last = int(space.start), int(space.start + space.n) - 1
    if given.dtype.kind not in "iu":
        raise UsageError(f"an action must be a whole number from {first} to {last}, not {given.dtype}")
    wrong = (given < first) | (given > last)
    if wrong.any():
        raise UsageError(f"{_first(wrong, given, worlds, f'must be a whole number from {first} to {last}, not')}")


def _first(wrong: Array, given: Array, worlds: int | None, problem: str) -> str:
    """What is wrong with the first action of which ``wrong`` holds somewhere."""
    separator = " " if problem.endswith("not") else ": "
    if worlds is None:
        return f"the action {problem}{separator}{given.tolist()}"
    world = int(np.argwhere(wrong)[0][0])
    return f"the action of world {world} {problem}{separator}{given[world].tolist()}"


def bounding(space: spaces.Space[Any], device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function that brings actions ``[B, ...]`` into a space: clips to a Box, takes a Discrete's as they are."""
    if not isinstance(space, spaces.Box):
        return lambda action: action.long()
    low, high = np.unique(space.low), np.unique(space.high)
    if low.size == high.size == 1:  # numbers cost less than tensors
        least, most = float(low[0]), float(high[0])
        return functools.partial(torch.clamp, min=least, max=most)
    lower, upper = (torch.as_tensor(bound, device=device) for bound in (space.low, space.high))
    return lambda action: action.clamp(lower, upper)
