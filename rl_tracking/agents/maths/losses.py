"""Losses as pure functions of tensors.

Symbols: rho = pi_theta(a|s) / pi_old(a|s) (eq. 4), a = advantage, eps = clip range, w = importance weight of a sample
(1 unless sampling is guided): every mean over samples is ``mean w x``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.agents.maths.estimators import rounding


def normalize(a: Tensor, w: Tensor | float = 1.0) -> Tensor:
    """Advantages with mean 0 and deviation 1 over the whole batch; a batch of one is left as it is.

    Those that differ by rounding alone become 0.
    """
    # As in SB3's PPO, which leaves a batch of one alone, too: it has no deviation.
    if a.numel() < 2:
        return a
    spread = deviation(a, w)
    return torch.where(spread > rounding(a.abs().max()), (a - (w * a).mean()) / (spread + 1e-8), 0.0)


def deviation(a: Tensor, w: Tensor | float = 1.0) -> Tensor:
    """The standard deviation of two samples or more, with M - 1 in the denominator."""
    centred = a - (w * a).mean()
    return ((w * centred * centred).sum() / (a.numel() - 1)).sqrt()


def clipped_surrogate(log_rho: Tensor, a: Tensor, eps: float, w: Tensor | float = 1.0) -> Tensor:
    """``-mean w min(rho a, clip(rho, 1 - eps, 1 + eps) a)`` (Schulman et al. 2017, eq. 7; the paper's eq. 3).

    Args:
        log_rho: log-ratio, any shape.
        a: advantages, same shape, no gradient.
        eps: clip range.
        w: importance weights, same shape.
    """
    # The smaller of the two is a lower bound: no gain from moving a ratio further than eps.
    rho = log_rho.exp()
    return -(w * torch.min(rho * a, rho.clamp(1.0 - eps, 1.0 + eps) * a)).mean()


def value_loss(v: Tensor, target: Tensor, v_old: Tensor, eps: float | None) -> Tensor:
    """Mean squared error; with ``eps``, V moves at most that far from its old value (as in SB3's PPO)."""
    # Not in the paper of PPO, but in its authors' code and in SB3.
    if eps is not None:
        v = v_old + (v - v_old).clamp(-eps, eps)
    return torch.nn.functional.mse_loss(v, target)


def kl_estimate(log_rho: Tensor, w: Tensor | float = 1.0) -> Tensor:
    """KL(pi_old || pi_theta) from samples of pi_old: ``mean(rho - 1 - log rho)``, never below 0 (Schulman 2020, k3)."""
    # expm1, since rho - 1 would lose the digits of a small log-ratio.
    return (w * (torch.expm1(log_rho) - log_rho)).mean()


def reference_kl(log_rho_ref: Tensor, estimator: str) -> Tensor:
    """KL(pi_theta || pi_ref) from samples, a mean over them (Schulman 2020).

    With ``x = log_rho_ref = log pi_ref(a|s) - log pi_theta(a|s)``: ``k1`` is -x (unbiased, can be negative), ``k2`` is
    x^2 / 2 (never negative, biased), ``k3`` is exp(x) - 1 - x (both unbiased and never negative; GRPO's).

    On samples of pi_theta the gradient of k2 is that of KL(pi_theta || pi_ref), that of k3 is KL(pi_ref || pi_theta)'s.
    That of -x does not know the reference, and its mean is 0: ``k1`` has the gradient of k2 (Tang, Munos 2025).

    Args:
        log_rho_ref: any shape, with the gradient of pi_theta.
        estimator: ``k1``, ``k2`` or ``k3``.
    """
    # k1 has the value of -x and the gradient of k2.
    k2 = (log_rho_ref * log_rho_ref).mean() / 2
    if estimator == "k1":
        return k2 - k2.detach() - log_rho_ref.detach().mean()
    if estimator == "k2":
        return k2
    # expm1, as above.
    return (torch.expm1(log_rho_ref) - log_rho_ref).mean()


def clip_fraction(log_rho: Tensor, eps: float) -> Tensor:
    """Share of the ratios outside [1 - eps, 1 + eps]."""
    return ((log_rho.exp() - 1.0).abs() > eps).to(log_rho.dtype).mean()
