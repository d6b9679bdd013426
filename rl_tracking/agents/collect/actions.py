"""From what a policy samples to what an environment takes: the shape, the bounds and the kind of its action space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking.errors import UsageError


class ExecutableActions:
    """Sampled actions in the shape of their space and within its bounds, as SB3 hands them to an environment.

    A policy samples the elements of a Box as one row. SB3 reshapes them to the space's shape, then unscales what a
    squashed policy gives (whose samples lie in [-1, 1]) and clips what any other gives.

    Args:
        space: an action space that :func:`check_action_space` lets pass.
        squashed: whether the policy squashes its output.
        device: where sampled actions live.
    """

    def __init__(self, space: spaces.Space[Any], *, squashed: bool, device: torch.device) -> None:
        self._box = isinstance(space, spaces.Box)
        self._squashed = squashed
        if isinstance(space, spaces.Box):
            self._shape = space.shape
            # As NumPy promotes a float32 action with bounds of that kind; moved to the device once, not at every step.
            kind = np.result_type(np.float32, space.low.dtype)
            self._low, self._high = (torch.as_tensor(b.astype(kind), device=device) for b in (space.low, space.high))

    def __call__(self, action: Tensor) -> Tensor:
        """``[..., E, A] -> [..., E, *shape]`` of a Box; other actions as they are."""
        if not self._box:
            return action
        action = action.reshape(*action.shape[:-1], *self._shape)
        if self._squashed:
            return self._low + 0.5 * (action + 1.0) * (self._high - self._low)
        return torch.minimum(torch.maximum(action, self._low), self._high)


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse an action space whose actions SB3's policies would not give, or would give wrongly.

    Raises:
        UsageError: neither Box, Discrete, MultiDiscrete nor MultiBinary; a countable one that does not start at 0, as
            policies count from 0; MultiDiscrete or MultiBinary of more than one axis.
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start != 0):
        zero = f"Discrete({space.n})" if isinstance(space, spaces.Discrete) else f"MultiDiscrete({space.nvec.tolist()})"
        start = int(space.start) if isinstance(space, spaces.Discrete) else space.start.tolist()
        raise UsageError(
            f"actions of {type(space).__name__} start at {start} here, and policies count from 0; give the environment "
            f"a gymnasium.wrappers.TransformAction to {zero} that adds the start"
        )
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary) and len(space.shape) != 1:
        raise UsageError(
            f"actions of {type(space).__name__} with shape {space.shape} are not supported; flatten them to one axis "
            "with a gymnasium.wrappers.TransformAction"
        )
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UsageError(
            f"actions of {type(space).__name__} are not supported; Box, Discrete, MultiDiscrete and MultiBinary are"
        )


def one_line(space: spaces.Space[Any]) -> str:
    """A space as text for an error; the bounds of a Box of several axes would be several lines."""
    return " ".join(str(space).split())
