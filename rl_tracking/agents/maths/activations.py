"""Reward activations: f in ``f(R)``, applied to all rewards of a rollout at once, ``[T, N, E] -> [T, N, E]``.

f changes what is maximised: the raw return is logged beside the activated one. f is applied before any value
is added for a time limit. ``z-score`` and ``tanh-z-score`` use the moments of the rollout at hand. They take the
mean off the reward of each step: where the policy decides how long an episode lasts, that changes which policy is best.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl_tracking import plugins
from rl_tracking.errors import ActivationError, account

Activation = Callable[[Tensor], Tensor]


def tanh(reward: Tensor) -> Tensor:
    """Tanh of R, the paper's choice: bounded by 1, linear near 0."""
    return torch.tanh(reward)


def identity(reward: Tensor) -> Tensor:
    """R itself."""
    return reward


def clip(reward: Tensor) -> Tensor:
    """R clipped to [-1, 1]."""
    return reward.clamp(-1.0, 1.0)


def sigmoid(reward: Tensor) -> Tensor:
    """1 / (1 + exp(-R)), between 0 and 1."""
    return torch.sigmoid(reward)


def symlog(reward: Tensor) -> Tensor:
    """sign(R) log(1 + abs(R)): linear near 0, logarithmic far away (Hafner et al. 2023)."""
    return torch.sign(reward) * torch.log1p(reward.abs())


def z_score(reward: Tensor) -> Tensor:
    """(R - mean) / deviation over the rollout (eq. 17 with the rollout as the window)."""
    return (reward - reward.mean()) / (reward.std(correction=0) + 1e-8)


def tanh_z_score(reward: Tensor) -> Tensor:
    """Tanh of the z-score: bounded whatever the scale of R is."""
    return torch.tanh(z_score(reward))


def resolve(activation: str | Activation, scale: float) -> Activation:
    """``R -> f(scale * R)``, checked: it must keep the shape and be finite.

    Args:
        activation: a name, ``file.py:function``, ``package.module:function`` or a function.
        scale: multiplies the reward first, so that f meets numbers of its own size.

    Raises:
        UsageError: nothing bears that name.
    """
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "activation")
    function: Activation = plugins.resolve("activation", activation) if isinstance(activation, str) else activation

    def apply(reward: Tensor) -> Tensor:
        # A user's function: whatever it does wrong is one line here and not NaN in the networks.
        try:
            value = function(reward * scale)  # a new tensor, which it may change in place
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a user's function must not end the process
            raise ActivationError(f"reward activation '{name}' raised {account(error)}") from error
        if not isinstance(value, Tensor) or value.shape != reward.shape:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ActivationError(f"reward activation '{name}' turned shape {list(reward.shape)} into {shape}; keep it")
        if value.is_complex():
            raise ActivationError(f"reward activation '{name}' returned complex numbers; it must return real ones")
        if not bool(torch.isfinite(value).all()):
            raise ActivationError(f"reward activation '{name}' returned a number that is not finite")
        if not reward.requires_grad:
            value = value.detach()  # an f with parameters; the gradient that is asked for is that through the reward
        return value.to(reward.dtype, copy=True)  # it may return the same tensor every time

    return apply
