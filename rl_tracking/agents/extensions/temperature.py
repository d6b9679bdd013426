"""A weight of the entropy in the loss (alpha of eq. 15) that adapts to a target entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rl_tracking.agents.collect.checks import space_as_text
from rl_tracking.errors import UsageError

_PROPORTIONAL = 4.0  # k: the logarithm of the weight rises by this for each nat that is missing
# Bounds of alpha: at the upper one only the entropy counts, at the lower one it does not count.
_LEAST, _LARGEST = 1e-8, 1e2


class AdaptiveTemperature(nn.Module):
    """Dual ascent to a target entropy (Haarnoja et al. 2018b, sec. 5): below it alpha rises, above it alpha falls.

    ``min over log alpha of log alpha (H - target)``, one gradient step a minibatch. That alone swings about the target,
    the wider the faster the policy follows: SAC's rewards damp it, advantages of unit size do not. So the weight is
    ``exp(log alpha + k (target - H))``: integral and proportional (Stooke et al. 2020), the same where it settles.
    Both alpha and the weight are bounded, so that a target far away neither overflows nor winds the integral up.

    Args:
        initial: alpha at the start; above the upper bound it counts as that.
        target: entropy to settle at [nat].
        learning_rate: of log alpha.
    """

    gap: Tensor  # target - H of the latest minibatch [nat]

    def __init__(self, initial: float, target: float, learning_rate: float) -> None:
        super().__init__()
        self.target = target
        self.log_coefficient = nn.Parameter(torch.tensor(math.log(min(max(initial, _LEAST), _LARGEST))))
        self.register_buffer("gap", torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.log_coefficient], lr=learning_rate)

    @property
    def coefficient(self) -> Tensor:
        """See :class:`~rl_tracking.agents.extensions.seams.Temperature`."""
        # The proportional part reacts at once and damps the oscillation of the integral part.
        return (self.log_coefficient.detach() + _PROPORTIONAL * self.gap).clamp(max=math.log(_LARGEST)).exp()

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """See :class:`~rl_tracking.agents.extensions.seams.Temperature`."""
        # One gradient step on log alpha a minibatch (integral part) ...
        self.optimizer.zero_grad()
        self.gap = self.target - entropy.detach()
        loss = -self.log_coefficient * self.gap
        loss.backward()
        self.optimizer.step()
        # ... within bounds, so that an entropy that cannot reach its target does not wind alpha up.
        with torch.no_grad():
            self.log_coefficient.clamp_(math.log(_LEAST), math.log(_LARGEST))
        return {"ent_coef": self.coefficient}


def initial_of(ent_coef: float | str) -> float | None:
    """The first alpha of ``"auto"`` (0.01) or ``"auto_0.1"`` (0.1), SB3's way of asking SAC for it; None for a number.

    Raises:
        UsageError: another text, or an alpha that is not above 0.
    """
    if isinstance(ent_coef, int | float) and not isinstance(ent_coef, bool):
        return None
    # SB3's own way of writing it, for SAC.
    head, _, number = str(ent_coef).partition("_")
    try:
        initial = float(number) if number else 0.01
        if head != "auto" or not 0 < initial < math.inf or (str(ent_coef).endswith("_")):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"ent_coef must be a number, 'auto' or 'auto_0.1' (the first value), not {ent_coef!r}"
        ) from None
    return initial


def target_of(target_entropy: float | str, action_space: spaces.Space[Any], *, squashed: bool = False) -> float:
    """The entropy to settle at [nat]; ``"auto"`` is minus the action's size (SAC), or half the greatest if countable.

    Args:
        target_entropy: a number or ``"auto"``.
        action_space: of the policy.
        squashed: whether the policy squashes its actions to [-1, 1].

    Raises:
        UsageError: neither a number nor ``"auto"``, or more than a policy over these actions can sensibly have.
    """
    if target_entropy == "auto":
        return _automatic(action_space)
    if isinstance(target_entropy, bool | str) or not math.isfinite(target_entropy):
        raise UsageError(f"target_entropy must be a finite number or 'auto', not {target_entropy!r}")
    greatest = _greatest(action_space, squashed)
    if target_entropy > greatest:
        raise UsageError(
            f"target_entropy must be at most {greatest:.4g} nat for actions of {space_as_text(action_space)}, not "
            f"{target_entropy:g}; the policy would be wider than they are"
        )
    return float(target_entropy)


def _automatic(space: spaces.Space[Any]) -> float:
    return -float(math.prod(space.shape or ())) if isinstance(space, spaces.Box) else 0.5 * _greatest(space, False)


def _greatest(space: spaces.Space[Any], squashed: bool) -> float:
    """The entropy [nat] of the uniform distribution; of a Gaussian, one whose deviation is the width of the space.

    A wider Gaussian has more entropy still, but then most of its actions are clipped to the bounds.
    """
    if isinstance(space, spaces.Discrete):
        return math.log(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return sum(math.log(int(n)) for n in space.nvec.flat)
    size = math.prod(space.shape or ())
    if squashed or not isinstance(space, spaces.Box):
        return size * math.log(2.0)
    width = (space.high.astype(np.float64) - space.low).clip(min=1e-300)
    return float((0.5 * math.log(2.0 * math.pi * math.e) + np.log(width)).sum())
