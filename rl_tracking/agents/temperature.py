"""The weight of the entropy in the loss (alpha of eq. 15): fixed, or adapted to a target entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rl_tracking.errors import UsageError

_PROPORTIONAL = 4.0  # k: by how much a lack of 1 nat raises the logarithm of the weight at once


class Temperature(Protocol):
    """What the update asks of it."""

    @property
    def coefficient(self) -> Tensor | float:
        """Weight of the entropy."""

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """Learn from the entropy of a minibatch; returns figures to log."""


class FixedTemperature:
    """The coefficient that was given."""

    def __init__(self, given: Callable[[], float]) -> None:
        self._given = given

    @property
    def coefficient(self) -> float:
        """See :class:`Temperature`."""
        return self._given()

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """Nothing is learned."""
        return {}


class AdaptiveTemperature(nn.Module):
    """Dual ascent to a target entropy (Haarnoja et al. 2018b, sec. 5): below it alpha rises, above it alpha falls.

    ``min over log alpha of log alpha (H - target)``, one gradient step a minibatch. That alone swings about the target,
    the wider the faster the policy follows: SAC's rewards damp it, advantages of unit size do not. So the weight is
    ``exp(log alpha + k (target - H))``: integral and proportional (Stooke et al. 2020), the same where it settles.

    Args:
        initial: alpha at the start.
        target: entropy to settle at [nat].
        learning_rate: of log alpha.
    """

    gap: Tensor  # target - H of the latest minibatch [nat]

    def __init__(self, initial: float, target: float, learning_rate: float) -> None:
        super().__init__()
        self.target = target
        self.log_coefficient = nn.Parameter(torch.tensor(math.log(initial)))
        self.register_buffer("gap", torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.log_coefficient], lr=learning_rate)

    @property
    def coefficient(self) -> Tensor:
        """See :class:`Temperature`."""
        return (self.log_coefficient.detach() + _PROPORTIONAL * self.gap).exp()

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """See :class:`Temperature`."""
        self.optimizer.zero_grad()
        self.gap = self.target - entropy.detach()
        loss = -self.log_coefficient * self.gap
        loss.backward()
        self.optimizer.step()
        return {"ent_coef": self.coefficient}


def initial_of(ent_coef: float | str) -> float | None:
    """The first alpha of ``"auto"`` (0.01) or ``"auto_0.1"`` (0.1), SB3's way of asking SAC for it; None for a number.

    Raises:
        UsageError: another text, or an alpha that is not above 0.
    """
    if isinstance(ent_coef, int | float) and not isinstance(ent_coef, bool):
        return None
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


def target_of(target_entropy: float | str, action_space: spaces.Space[object]) -> float:
    """The entropy to settle at [nat]; ``"auto"`` is minus the action's size (SAC), or half the greatest if countable.

    Raises:
        UsageError: neither a number nor ``"auto"``.
    """
    if isinstance(target_entropy, int | float) and not isinstance(target_entropy, bool):
        if math.isfinite(target_entropy):
            return float(target_entropy)
    elif target_entropy == "auto":
        return _automatic(action_space)
    raise UsageError(f"target_entropy must be a finite number or 'auto', not {target_entropy!r}")


def _automatic(space: spaces.Space[object]) -> float:
    if isinstance(space, spaces.Discrete):
        return 0.5 * math.log(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return 0.5 * sum(math.log(int(n)) for n in space.nvec.flat)
    size = math.prod(space.shape or ())
    return 0.5 * size * math.log(2.0) if isinstance(space, spaces.MultiBinary) else -float(size)
