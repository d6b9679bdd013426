"""Advantages and value targets: pure functions of tensors.

Symbols: t in [0, T) macro-steps, i in [0, N) branches, e in [0, E) worlds; r is the activated reward f(R), v = V(s),
w_i the importance weight of branch i (1 unless sampling is guided), with which every mean over i is taken,
v_next = V(s') with s' the state reached (the terminal one where the episode ended), d = 1 where the episode
terminated (a truncation is no termination), episode_end = 1 where the executed episode ended either way.
Paper: Sane, "Hybrid Group Relative Policy Optimization", arXiv 2502.01652.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_tracking.errors import UsageError


def residuals(r: Tensor, v: Tensor, v_next: Tensor, d: Tensor, gamma: float) -> Tensor:
    """One-step residual of every branch: ``delta_i = r_i + gamma (1 - d_i) v_next_i - v`` (eqs. 10-13).

    Args:
        r: ``[T, N, E]``.
        v: ``[T, E]``.
        v_next: ``[T, N, E]``, each branch's own.
        d: ``[T, N, E]``.
        gamma: discount in [0, 1].

    Returns:
        ``[T, N, E]``.
    """
    _same_shape(r=r, v_next=v_next, d=d)
    _same_shape(v=v, r=r[:, 0])
    # A truncated episode bootstraps: it would have continued (Pardo et al. 2018).
    return r + gamma * (1.0 - d.to(r.dtype)) * v_next - v.unsqueeze(1)


def discounted_sum(delta: Tensor, episode_end: Tensor, decay: float) -> Tensor:
    """``G_t = delta_t + decay (1 - episode_end_t) G_{t+1}``, zero after the last step.

    Args:
        delta: ``[T, E]``.
        episode_end: ``[T, E]``; nothing flows back across an end.
        decay: gamma * lambda.

    Returns:
        ``[T, E]``.
    """
    _same_shape(delta=delta, episode_end=episode_end)
    # From the last step back, so that each step takes one multiplication; the rollout's end counts as one, too.
    keep = decay * (1.0 - episode_end.to(delta.dtype))
    out = torch.empty_like(delta)
    g = torch.zeros_like(delta[0])
    for t in reversed(range(delta.shape[0])):
        g = delta[t] + keep[t] * g
        out[t] = g
    return out


def gae(r: Tensor, v: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation of the executed steps (Schulman et al. 2016, eq. 16).

    Args:
        r: activated reward ``[T, E]``.
        v: ``[T, E]``.
        v_next: of the state reached ``[T, E]``.
        d: ``[T, E]``.
        episode_end: ``[T, E]``.
        gamma: discount in [0, 1].
        lam: lambda in [0, 1].

    Returns:
        ``[T, E]``.
    """
    _same_shape(r=r, v=v, v_next=v_next, d=d, episode_end=episode_end)
    # A group of one sample: then the residual of a branch is that of the executed step.
    delta = residuals(r.unsqueeze(1), v, v_next.unsqueeze(1), d.unsqueeze(1), gamma)
    return discounted_sum(delta.squeeze(1), episode_end, gamma * lam)


def td_lambda(r: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, gamma: float, lam: float) -> Tensor:
    """TD(lambda) targets: ``G_t = r_t + gamma (1 - d_t) ((1 - lambda) v_next_t + lambda G_{t+1})``.

    At the last step and where an episode was truncated v_next takes the place of G_{t+1} (Sutton, Barto 2018, ch. 12).

    Args:
        r: activated reward ``[T, E]``.
        v_next: of the state reached ``[T, E]``.
        d: ``[T, E]``.
        episode_end: ``[T, E]``.
        gamma: discount in [0, 1].
        lam: lambda in [0, 1].

    Returns:
        ``[T, E]``.
    """
    _same_shape(r=r, v_next=v_next, d=d, episode_end=episode_end)
    later, out = v_next[-1], torch.empty_like(r)
    for t in reversed(range(r.shape[0])):
        # Nothing flows back from the next episode: the final state's own value closes this one.
        later = torch.where(episode_end[t].bool(), v_next[t], later)
        later = out[t] = r[t] + gamma * (1.0 - d[t].to(r.dtype)) * ((1.0 - lam) * v_next[t] + lam * later)
    return out


def path_advantage(r: Tensor, v: Tensor, v_next: Tensor, d: Tensor, episode_end: Tensor, gamma: float) -> Tensor:
    """The bracket of eq. 16, for every step k of a branch of n steps.

    ``A_k = sum_{j=k}^{n-1} gamma^{j-k} r_j + gamma^{n-k} v(s_n) - v(s_k)``, or to the end of the episode.

    Args:
        r: activated reward ``[R, n, N, E]``, R roots.
        v: ``[R, n, N, E]``.
        v_next: of the state reached ``[R, n, N, E]``.
        d: ``[R, n, N, E]``.
        episode_end: ``[R, n, N, E]``.
        gamma: discount in [0, 1].

    Returns:
        ``[R, n, N, E]``; at k = 0 its mean over N is the paper's A_T.
    """
    shape = r.transpose(0, 1).shape

    def worlds(tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1).flatten(1)

    # GAE with lambda 1 telescopes to the n-step return minus V; every branch of every root is a world of its own.
    flat = gae(worlds(r), worlds(v), worlds(v_next), worlds(d), worlds(episode_end), gamma, 1.0)
    return flat.view(shape).transpose(0, 1)


def reward_to_go(r: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """``G_k = sum_{j>=k} gamma^{j-k} r_j`` over the steps of the root's episode.

    Args:
        r: ``[R, h, N, E]``.
        valid: ``[R, h, N, E]``, 1 where the step belongs to the root's episode.
        gamma: discount in [0, 1].

    Returns:
        ``[R, h, N, E]``.
    """
    _same_shape(r=r, valid=valid)
    # Steps after the root's episode count 0, so the sum need not know where it ended.
    counted = (r * valid.to(r.dtype)).transpose(0, 1)
    never = torch.zeros_like(counted)
    return discounted_sum(counted, never, gamma).transpose(0, 1)


def group_relative(g: Tensor, valid: Tensor, *, baseline: str, scale: bool) -> Tensor:
    """GRPO's advantage: each branch against its group at the same step (DeepSeekMath 2024, sec. 4.1; eq. 7 a sample).

    ``(g_i - mean_j g_j) / std_j g_j`` over the branches alive at that step; ``leave-one-out`` takes the mean of the
    others (RLOO, Ahmadian et al. 2024); without ``scale`` nothing is divided (Dr. GRPO, Liu et al. 2025).

    Args:
        g: ``[R, h, N, E]``.
        valid: ``[R, h, N, E]``.
        baseline: ``group-mean`` or ``leave-one-out``.
        scale: divide by the group's standard deviation (with N in the denominator).

    Returns:
        ``[R, h, N, E]``, zero where a branch is not valid, is alone, or all are equal; with ``scale`` also where they
        differ by no more than the rounding of their sums.
    """
    _same_shape(g=g, valid=valid)
    # n differs from step to step: branches end at different times.
    here = valid.to(g.dtype)
    n = here.sum(dim=2, keepdim=True)
    # Subtract the group's maximum first, so that equal returns centre to exactly 0.
    best = torch.where(valid, g, -torch.inf).amax(dim=2, keepdim=True)
    behind = torch.where(valid, g - best, 0.0)
    centred = (behind - behind.sum(dim=2, keepdim=True) / n.clamp(min=1)) * here
    if scale:
        spread = ((centred * centred).sum(dim=2, keepdim=True) / n.clamp(min=1)).sqrt()
        # g_k is summed from the end of the branch: its rounding is that of the largest partial sum so far.
        partial = torch.where(valid, g, 0.0).abs().amax(dim=2, keepdim=True)
        largest = partial.flip(1).cummax(dim=1).values.flip(1)
        centred = torch.where(spread > rounding(largest), centred / (spread + 1e-8), 0.0)
    # g_i minus the mean of the others is n / (n - 1) times g_i minus the mean of all.
    if baseline == "leave-one-out":
        centred = centred * n / (n - 1).clamp(min=1)
    return torch.where(n > 1, centred, torch.zeros_like(centred))


def rounding(size: Tensor) -> Tensor:
    """The largest spread of equal numbers of that size after rounding: 8 times the machine's precision."""
    return 8.0 * torch.finfo(size.dtype).eps * size.abs()


def group_mean(x: Tensor, w: Tensor | float = 1.0) -> Tensor:
    """``1/N sum_i w_i x_i``, ``[T, N, ...] -> [T, ...]``: a mean over the policy, also where sampling is guided."""
    return (w * x).mean(dim=1)


def tail(delta: Tensor, episode_end: Tensor, gamma: float, lam: float, w: Tensor | float = 1.0) -> Tensor:
    """What later states add to the executed branch: ``tail_t = gamma lambda (1 - episode_end_t) G_{t+1}``.

    ``G_t = mean_i delta_{t,i} + tail_t``: the group's mean residual of each later state takes the place of the
    executed one: the same expectation, less noise. N = 1 is the tail of GAE; lambda = 0 is the paper.

    Args:
        delta: ``[T, N, E]``.
        episode_end: ``[T, E]``.
        gamma: discount in [0, 1].
        lam: lambda in [0, 1].
        w: importance weights ``[T, N, E]``.

    Returns:
        ``[T, E]``.
    """
    # The sum includes delta_t itself, which each branch has in its own form.
    mean = group_mean(delta, w)
    return discounted_sum(mean, episode_end, gamma * lam) - mean


def hybrid_advantage(delta: Tensor, tail: Tensor, *, advantage: str, baseline: str, w: Tensor | float = 1.0) -> Tensor:
    """Advantage of every sampled action.

    ``per-sample``: ``A_i = delta_i`` (one term of eq. 13 a sample); for the executed branch
    ``A_0 = delta_0 + tail``.
    ``literal``: eq. 13 as it stands, ``A = mean_i delta_i + tail``, shared by all N samples.

    Args:
        delta: ``[T, N, E]``.
        tail: ``[T, E]``; see :func:`tail`.
        advantage: ``per-sample`` or ``literal``.
        baseline: what is subtracted from the per-sample form within a group: ``none``, ``group-mean`` or
            ``leave-one-out``.
        w: importance weights ``[T, N, E]``.

    Returns:
        ``[T, N, E]``.
    """
    _same_shape(tail=tail, delta=delta[:, 0])
    # All N log-probabilities share one number, whose noise the baseline cannot reduce (10 to 64 times as noisy).
    if advantage == "literal":
        return (group_mean(delta, w) + tail).unsqueeze(1).expand_as(delta)
    # Later states follow from the executed branch alone, so only its advantage has their tail.
    executed = (delta[:, 0] + tail).unsqueeze(1)
    return centre(torch.cat([executed, delta[:, 1:]], dim=1), baseline, w)


def centre(a: Tensor, baseline: str, w: Tensor | float = 1.0) -> Tensor:
    """Take a baseline off within each group.

    ``group-mean``: ``a_i - mean_j w_j a_j``; ``leave-one-out``: ``a_i - mean_{j != i} w_j a_j`` (Kool et al. 2019),
    which without weights is the former times N / (N - 1).

    Args:
        a: ``[T, N, E]``, N > 1 unless the baseline is ``none``.
        baseline: ``none``, ``group-mean`` or ``leave-one-out``.
        w: importance weights ``[T, N, E]``.
    """
    n = a.shape[1]
    if baseline == "none":
        return a
    if n < 2:
        raise UsageError(f"baseline '{baseline}' needs a group of 2 samples or more, not {n}; use baseline 'none'")
    # Leaving a_i out keeps the baseline independent of action i, so the gradient is unbiased (Kool et al. 2019).
    total = (w * a).sum(dim=1, keepdim=True)
    return a - (total - w * a) / (n - 1) if baseline == "leave-one-out" else a - total / n


def shrink(v: Tensor, mean: Tensor, k: float) -> Tensor:
    """``mean + k (v - mean)``: a prediction shrunk towards its mean, any shape; k in [0, 1]."""
    return mean + k * (v - mean)


def value_target(v: Tensor, delta: Tensor, tail: Tensor, w: Tensor | float = 1.0) -> Tensor:
    """``V(s) + mean_i w_i delta_i + tail``, ``[T, E]``; N = 1 is PPO's lambda return."""
    return v + group_mean(delta, w) + tail


def explained_variance(target: Tensor, v: Tensor) -> float:
    """``1 - Var(target - v) / Var(target)``; NaN where the target does not vary."""
    # Bounded by the noise of returns: 0.01 to 0.14 for an exact V on the drone task.
    variance = target.var()
    return float(torch.nan if variance == 0 else 1.0 - (target - v).var() / variance)


def _same_shape(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"shapes differ: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")
