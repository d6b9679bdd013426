"""How far a value function can be believed: slopes of returns on values, with their standard errors.

Symbols: k in [0, h) steps of a branch, i in [0, N) branches, R roots, e in [0, E) worlds; ``ret_k`` the discounted
rewards from step k to the end of the branch or of its episode, ``end_k = gamma^m V`` of the state m steps later where
that is, 0 where the episode terminated, ``fade_k`` its factor gamma^m. An exact V has ``V_k = E[ret_k + end_k]``.

A slope is not bounded by the noise of returns, as explained variance is: noise widens its standard error alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rl_tracking.agents.maths import baselines, estimators


class Ahead(NamedTuple):
    """What follows each state, all of one shape: see the module's symbols."""

    ret: Tensor
    end: Tensor
    fade: Tensor


def ahead_of_paths(r: Tensor, v: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, gamma: float) -> Ahead:
    """What follows every step of branches.

    Args:
        r: activated reward ``[R, h, N, E]``.
        v: ``[R, h, N, E]``.
        v_next: of the state reached ``[R, h, N, E]``.
        d: 1 where the episode terminated ``[R, h, N, E]``.
        episode_end: ``[R, h, N, E]``.
        gamma: discount in [0, 1].
    """
    none, one = torch.zeros_like(v), torch.ones_like(v)
    # GAE with lambda 1 telescopes: with V = 0 to the rewards, with V = 1 and no rewards to the factor of the end.
    ret = estimators.path_advantage(r, none, none, d, episode_end, gamma)
    fade = estimators.path_advantage(none, one, one, d, episode_end, gamma) + 1.0
    return Ahead(ret, estimators.path_advantage(r, v, v_next, d, episode_end, gamma) + v - ret, fade)


def ahead_of_steps(r: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, gamma: float) -> Ahead:
    """What follows every executed state of a rollout, whose rewards are the means of their groups.

    Args:
        r: activated reward ``[T, N, E]``.
        v_next: ``[T, N, E]``.
        d: ``[T, N, E]``.
        episode_end: of the executed episode ``[T, E]``.
        gamma: discount in [0, 1].

    Returns:
        ``[T, E]`` each.
    """
    # As in GAE's tail: later rewards of a group have the expectation of the executed one and less noise.
    ret = estimators.discounted_sum(r.mean(dim=1), episode_end, gamma)
    goes_on = gamma * (1.0 - d[:, 0].to(r.dtype))
    last = episode_end.clone()
    last[-1] = True
    fade = torch.where(last, goes_on, 0.0)
    end = fade * v_next[:, 0]
    return Ahead(ret, *(estimators.discounted_sum(part, episode_end, gamma) for part in (end, fade)))


def across_moments(v: Tensor, ahead: Ahead) -> Tensor:
    """Moments of the equation ``ret_k = c (1 - fade_k) + b (V_k - end_k)``, tested with 1 and V_k.

    That is least-squares temporal difference learning (Bradtke, Barto 1996) with the features 1 and V: the c and b for
    which ``c + b V`` satisfies the Bellman equation, the rewards alone being known.

    Args:
        v: ``[R, k, N, E]``.
        ahead: of these states.

    Returns:
        ``[R E, 6]``: products of (1, V) with (ret, 1 - fade, V - end), means over the steps and branches of a root.
    """
    terms = ahead.ret, 1.0 - ahead.fade, v - ahead.end
    return torch.stack(
        [(test * term).mean(dim=(1, 2)).flatten() for test in (torch.ones_like(v), v) for term in terms], 1
    )


def within_moments(v: Tensor, ahead: Ahead, start: Tensor) -> Tensor:
    """Moments of returns and values less the means of their groups.

    Args:
        v: ``[R, k, N, E]``.
        ahead: of these states.
        start: see :func:`rl_tracking.agents.maths.baselines.episode_start`.

    Returns:
        ``[R E, 3]``: sums of products of V with ret, end and V.
    """
    weight = torch.ones_like(v)

    def centred(part: Tensor) -> Tensor:
        return baselines.centre_steps(part, start, "group-mean", weight)

    # A branch that is alone at a step has nothing to be compared with.
    value = torch.where(baselines.group_size(start) > 1, centred(v), 0.0)
    return torch.stack(
        [(value * part).sum(dim=(1, 2)).flatten() for part in (centred(ahead.ret), centred(ahead.end), value)], 1
    )


def executed_moments(
    r: Tensor, v: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, ahead: Ahead, gamma: float
) -> Tensor:
    """The moments of :func:`within_moments` where branches have one step: V(s') of the executed branch in its group.

    Only the executed branch has a later return, that of the next state. Less the mean of its group, its V(s') has the
    expectation 0 in every root, so any number of the root can be taken off the return: ``(V(s) - mean_i r_i) / gamma``.

    Args:
        r: activated reward ``[T, N, E]``.
        v: ``[T, E]``.
        v_next: ``[T, N, E]``.
        d: ``[T, N, E]``.
        episode_end: ``[T, E]``.
        ahead: of the executed states, ``[T, E]`` each.
        gamma: discount in (0, 1].

    Returns:
        ``[E, 3]``; zeros for rollouts of one step.
    """
    reached = torch.where(d.bool(), 0.0, v_next)
    deviation = reached - reached.mean(dim=1, keepdim=True)
    goes_on = (~episode_end.bool()).to(r.dtype)[:-1]
    executed, square = deviation[:-1, 0] * goes_on, (deviation * deviation).mean(dim=1)[:-1] * goes_on
    known = ((v - r.mean(dim=1)) / max(gamma, 1e-6))[:-1]
    return torch.stack([executed * (ahead.ret[1:] - known), executed * ahead.end[1:], square], 2).sum(dim=0)


def across_slope(sums: Tensor, squares: Tensor) -> tuple[float, float]:
    """The b of :func:`across_moments` and its standard error; 0 and infinity where the moments do not say.

    Args:
        sums: of the moments over roots, ``[6]``.
        squares: sum over roots of their outer products, ``[6, 6]``.
    """
    moments = sums.view(2, 3)
    matrix = moments[:, 1:]
    # The denominator is positive for a V that varies from state to state; rounding must not be divided by.
    if not float(matrix[1, 1]) > 0 or abs(float(torch.linalg.det(matrix))) <= 1e-12 * float(matrix.norm()) ** 2:
        return 0.0, math.inf
    c, b = torch.linalg.solve(matrix, moments[:, 0]).unbind()
    # Roots are independent, the steps and branches of a root are not: each root is one observation (delta method).
    influence = torch.linalg.inv(matrix)[1].unsqueeze(1) * torch.stack([torch.ones_like(c), -c, -b])
    return float(b), _deviation(influence.flatten(), squares)


def within_slope(sums: Tensor, squares: Tensor, trust: float) -> tuple[float, float]:
    """``(Cov(ret, V) + trust Cov(end, V)) / Var(V)`` and its standard error; 0 and infinity where V does not vary.

    Args:
        sums: of :func:`within_moments` over roots, ``[3]``.
        squares: sum over roots of their outer products, ``[3, 3]``.
        trust: how far the V at the ends of branches is believed.
    """
    variance = float(sums[2])
    if not variance > 0:
        return 0.0, math.inf
    slope = float(sums[0] + trust * sums[1]) / variance
    return slope, _deviation(sums.new_tensor([1.0, trust, -slope]), squares) / variance


def posterior_mean(measured: float, error: float, prior: float, deviation: float) -> float:
    """Mean of a normal number with a normal prior after one measurement with a normal error."""
    if error == 0.0:
        return measured
    share = deviation**2 / (deviation**2 + error**2)
    return prior + share * (measured - prior)


def _deviation(weights: Tensor, squares: Tensor) -> float:
    return math.sqrt(max(float(weights @ squares @ weights), 0.0))
