"""Gradients of returns with respect to the draws of actions: pure functions of tensors.

Symbols: r the activated reward f(R), k in [0, h) steps of a branch, g = mu + sigma eps the draw of an action, x = dJ/dg
the gradient of the return with respect to it, A the advantage, rho the ratio of the policies. Axes: R roots, h steps,
N branches, E worlds, A numbers of an action.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.agents.maths import estimators


def branch_return(r: Tensor, valid: Tensor, v_end: Tensor, d_end: Tensor, gamma: float) -> Tensor:
    """``J = sum_{k<n} gamma^k r_k + gamma^n (1 - d) V(s_n)``, n being the steps of a branch in the root's episode.

    What SHAC differentiates (Xu et al. 2022, arXiv 2204.07137, eq. 5).

    Args:
        r: ``[R, h, N, E]``.
        valid: ``[R, h, N, E]``, 1 where the step belongs to the root's episode.
        v_end: V of the state that the last of these steps reached ``[R, N, E]``.
        d_end: 1 where the episode terminated there ``[R, N, E]``.
        gamma: discount in [0, 1].

    Returns:
        ``[R, N, E]``.
    """
    decay = discounts(r.shape[1], gamma, r)
    to_end = gamma ** valid.sum(dim=1).to(r.dtype)
    return (decay * valid.to(r.dtype) * r).sum(dim=1) + to_end * (1.0 - d_end.to(r.dtype)) * v_end


def discounts(h: int, gamma: float, like: Tensor) -> Tensor:
    """``gamma^k`` of the steps k in [0, h), ``[h, 1, 1]``."""
    return (gamma ** torch.arange(h, dtype=like.dtype, device=like.device)).view(-1, 1, 1)


def spread(g: Tensor, valid: Tensor) -> Tensor:
    """Variance of action gradients within groups, a number a step: ``sum |g_i - mean_j g_j|^2 / sum (n - 1)``.

    Args:
        g: ``[R, h, N, E, A]``.
        valid: ``[R, h, N, E]``; n is how many of a group are valid at a step.

    Returns:
        ``[h]``; 0 where no group has two.
    """
    here = valid.to(g.dtype).unsqueeze(-1)
    n = here.sum(dim=2, keepdim=True)
    centred = (g - (here * g).sum(dim=2, keepdim=True) / n.clamp(min=1)) * here
    freedom = (n - 1).clamp(min=0).sum(dim=(0, 2, 3, 4))
    return (centred * centred).sum(dim=(0, 2, 3, 4)) / freedom.clamp(min=1)


def gain_to_go(x: Tensor, offset: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """What the draws of step k and later ones add to the return from k on, to first order.

    ``sum_{j>=k} gamma^{j-k} x_j (g_j - mu_j)``.

    Args:
        x: gradient of the return from step j on with respect to the draw g_j, ``[R, h, N, E, A]``.
        offset: ``g - mu``, shaped alike.
        valid: ``[R, h, N, E]``.
        gamma: discount in [0, 1].

    Returns:
        ``[R, h, N, E]``.
    """
    return estimators.reward_to_go((x * offset).sum(dim=-1), valid, gamma)


def agreement(a: Tensor, p: Tensor, valid: Tensor) -> Tensor:
    """Confidence that predicted differences within groups have the sign of the measured ones: ``erf(z / sqrt 2)``.

    ``z = r sqrt(m)`` with r the correlation of ``a`` and ``p`` less their group means, over all steps, and m the
    degrees of freedom of the first step: steps of one branch are not independent. 0 where r is not above 0.

    Args:
        a: what was measured ``[R, h, N, E]``.
        p: what was predicted ``[R, h, N, E]``.
        valid: ``[R, h, N, E]``.
    """
    here = valid.to(a.dtype)
    n = here.sum(dim=2, keepdim=True)
    of_a, of_p = ((x - (here * x).sum(dim=2, keepdim=True) / n.clamp(min=1)) * here for x in (a, p))
    size = (of_a.square().sum() * of_p.square().sum()).sqrt()
    r = torch.where(size > 0, (of_a * of_p).sum() / size, 0.0)
    return torch.erf(r.clamp(min=0.0) * ((n[:, :1] - 1).clamp(min=0).sum() / 2).sqrt())


def surrogate(log_rho: Tensor, x: Tensor, drawn: Tensor, linear: Tensor, eps: float, w: Tensor | float = 1.0) -> Tensor:
    """``-mean w rho x (g_theta - g)`` of draws ``g_theta = mu_theta(s) + sigma_theta eps_theta(g)``, x = dJ/dg.

    At the policy that sampled its gradient is that of the expected return through the world. Away from it the ratio
    makes the sample one of the present policy, and a sample that has moved further than ``eps`` the way that raises its
    return has no gradient, as in PPO (Zhong et al., "Reparameterization Proximal Policy Optimization", 2508.06214).

    Args:
        log_rho: log-ratio, any shape.
        x: gradient of the return with respect to the draws, same shape and an axis A.
        drawn: the draws with the gradient of the parameters, shaped as ``x``.
        linear: first-order gain of each draw over the mean, ``x (g - mu)``, shaped as ``log_rho``.
        eps: clip range.
        w: importance weights, shaped as ``log_rho``.
    """
    rho = log_rho.detach().exp()
    inside = torch.where(linear > 0, rho <= 1.0 + eps, rho >= 1.0 - eps)
    return -(w * rho * inside * (x * (drawn - drawn.detach())).sum(dim=-1)).mean()
