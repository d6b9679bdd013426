"""Sums, lengths and limits of vectors, which end in the axis of space, ``[..., D]``, D = 2 or 3."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs.operations import constant

_LEAST = torch.finfo(torch.float32).tiny  # a smaller limit is 0 in a state, and 0 / 0 has no value
_TINY = 1e-9
_vecdot = torch.linalg.vecdot
_MANY = 2048  # worlds, from which on sums of two tensors cost less than a sum over an axis


def summed(parts: Tensor) -> Tensor:
    """Sum over the last axis, ``[..., D] -> [...]``: from the first to the last, and laid out in memory as ``parts``.

    torch sums an axis in an order that depends on the layout, unless it is shorter than 4; and slowly in many worlds.
    """
    if parts.size(-1) == 1:
        return parts.squeeze(-1)
    if _is_small(parts):
        return parts.sum(-1)
    if parts.dim() == 3 and parts.size(0) < _MANY and parts.size(-1) < 4:
        return parts.permute(1, 2, 0).sum(1).t()  # its result has the worlds fastest, that of `sum(-1)` the pursuers
    first, second, *rest = parts.unbind(-1)
    total = first + second
    for part in rest:
        total = total.add_(part)
    return total


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product over the last axis, ``[..., D] -> [...]``."""
    worlds = a.size(0)
    if worlds < _MANY and (worlds == 1 or a.dim() == 2 or a.size(1) == 1) and a.size(-1) < 4:  # see `_is_small`
        product: Tensor = _vecdot(a, b)
        return product
    return summed(a * b)


def _is_small(parts: Tensor) -> bool:
    """Whether torch's own sum over the last axis is right for :func:`summed`, and quick."""
    worlds = parts.size(0)
    return worlds < _MANY and (worlds == 1 or parts.dim() == 2 or parts.size(1) == 1) and parts.size(-1) < 4


def length(vector: Tensor) -> Tensor:
    """Euclidean length, ``[..., D] -> [...]``."""
    # vector_norm is a hundred times slower along an axis that is not the fastest in memory.
    square = dot(vector, vector)
    if not square.requires_grad:
        return square.sqrt_()
    zero = square == 0  # the gradient at a zero vector is 0, as that of vector_norm is
    return square.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def least_length(start: Tensor, end: Tensor) -> Tensor:
    """Least distance [m] from the origin to the straight line from ``start`` to ``end``, ``[..., D] -> [...]``."""
    line = end - start
    share = -dot(start, line) / dot(line, line).clamp_(min=_TINY)
    return length(start + share.clamp_(0.0, 1.0).unsqueeze(-1) * line)


def limit_length_(vector: Tensor, limit: float) -> Tensor:
    """``vector`` shortened to ``limit`` where it is longer, itself where none is; its direction is kept.

    May write into ``vector``, which nothing else must hold; for many worlds this is faster than new memory.
    """
    if limit < _LEAST:
        return torch.zeros_like(vector)
    # Of one vector, the length in Python costs less than the operations that it saves; however it is rounded.
    is_one = vector.numel() <= 3 and vector.is_cpu and not is_dynamo_compiling()
    if is_one and math.hypot(*vector.view(-1).tolist()) <= limit * (1 - 1e-6):
        return vector
    # A zero vector has an infinite scale, which the clamp makes 1.
    if vector.requires_grad:  # a gradient needs the vector as it was
        scale: Tensor = constant(limit) / length(vector)
        return vector * scale.clamp_(max=1.0).unsqueeze(-1)
    scale = constant(limit) / dot(vector, vector).sqrt_()
    return vector.mul_(scale.clamp_max_(constant(1.0)).unsqueeze(-1))


def limit_lengths(vector: Tensor, limit: Tensor) -> Tensor:
    """:func:`limit_length_` in new memory, with a limit of its own for every world, ``[B, ..., 1]``, 0 or more."""
    scale = limit / length(vector).clamp(min=_TINY).unsqueeze(-1)
    return vector * scale.clamp(max=1.0)
