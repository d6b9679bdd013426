"""Baselines at every step of branches: which of them are comparable there, and what is taken off.

Symbols: R roots, h steps of a branch, N branches, E worlds; k a step of a branch, w the importance weight of a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor


def episode_start(episode_end: Tensor) -> Tensor:
    """The step at which the episode of each branch step began, 0 for the root's: ``[R, h, N, E]`` int64.

    Args:
        episode_end: an episode ended here, ``[R, h, N, E]``.
    """
    after = torch.arange(1, episode_end.shape[1] + 1, device=episode_end.device).view(1, -1, 1, 1)
    began = torch.where(episode_end.bool(), after, 0).cummax(dim=1).values
    return torch.cat([torch.zeros_like(began[:, :1]), began[:, :-1]], dim=1)


def group_size(start: Tensor) -> Tensor:
    """How many branches of the root are in an episode that began at the same step, ``[R, h, N, E]`` int64."""
    return _same_start(start).sum(dim=3)


def _same_start(start: Tensor) -> Tensor:
    return start.unsqueeze(3) == start.unsqueeze(2)


def centre_steps(a: Tensor, start: Tensor, baseline: str, w: Tensor) -> Tensor:
    """Take a baseline off at every step k of the branches, among those whose episodes began at the same step.

    At the root this is ``centre`` of :mod:`rl_tracking.agents.maths.estimators`. At later steps branches are in
    different states, but near ones, so they share much of the critic's error, which their mean removes. Branches that
    reach a time limit together begin the next episode together, and are a group there too. ``leave-one-out`` does not
    depend on the action that it is subtracted from, so it leaves the expectation of the policy gradient unchanged at
    any k; ``group-mean`` is (n - 1) / n times that, n being the branches of the group at step k, and so weighs less
    where some have ended.

    Args:
        a: ``[R, h, N, E]``.
        start: see :func:`episode_start`, ``[R, h, N, E]``; from a branch alone nothing is taken off.
        baseline: ``none``, ``group-mean`` or ``leave-one-out``.
        w: importance weights ``[R, h, N, E]``.

    Returns:
        ``[R, h, N, E]``.
    """
    if baseline == "none":
        return a
    # Only branches in episodes that began together are compared with each other.
    same = _same_start(start).to(a.dtype)
    n = same.sum(dim=3)
    total = (same * (w * a).unsqueeze(2)).sum(dim=3)
    mean = (total - w * a) / (n - 1).clamp(min=1) if baseline == "leave-one-out" else total / n
    return torch.where(n > 1, a - mean, a)
