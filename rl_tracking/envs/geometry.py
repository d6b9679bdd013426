"""Sums, lengths and limits of vectors, which end in the axis of space, ``[..., D]``, D = 2 or 3."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs.operations import constant

_LEAST = torch.finfo(torch.float32).tiny  # a smaller limit is 0 in a state, and 0 / 0 has no value
_TINY = 1e-9
_vecdot = torch.linalg.vecdot
_ONE = constant(1.0)
_LESS = 1 - 1e-6  # of a bound: leaves room for rounding
_FEW = 512  # worlds, up to which it costs less to ask than to compute
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
    shape = a.shape
    if shape[0] < _MANY and (shape[0] == 1 or len(shape) == 2 or shape[1] == 1) and shape[-1] < 4:  # see `_is_small`
        product: Tensor = _vecdot(a, b)
        return product
    return summed(a * b)


def _is_small(parts: Tensor) -> bool:
    """Whether torch's own sum over the last axis is right for :func:`summed`, and quick."""
    shape = parts.shape
    return shape[0] < _MANY and (shape[0] == 1 or len(shape) == 2 or shape[1] == 1) and shape[-1] < 4


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


def limit_length_(vector: Tensor, limit: float, *, seldom: bool = False) -> Tensor:
    """``vector`` shortened to ``limit`` where it is longer, itself where none is; its direction is kept.

    With ``seldom``, as a rule none is longer, so that it pays to ask.
    May write into ``vector``, which nothing else must hold; for many worlds this is faster than new memory.
    """
    if limit < _LEAST:
        return torch.zeros_like(vector)
    # Of one vector, the length in Python costs less than the operations that it saves; however it is rounded.
    is_one = vector.numel() <= 3 and vector.is_cpu and not is_dynamo_compiling()
    size = math.hypot(*_numbers(vector)) if is_one else 0.0
    if is_one and size <= limit * _LESS:
        return vector
    # A zero vector has an infinite scale, which the clamp makes 1.
    if vector.requires_grad:  # a gradient needs the vector as it was
        scale: Tensor = constant(limit) / length(vector)
        return vector * scale.clamp_(max=1.0).unsqueeze(-1)
    if size * _LESS > limit:  # one vector, which is longer for certain
        return vector.mul_(constant(limit) / _vecdot(vector, vector).sqrt_())
    shape = vector.shape
    is_small = shape[0] < _MANY and (len(shape) == 2 or shape[1] == 1) and shape[-1] < 4  # see `_is_small`
    square: Tensor = _vecdot(vector, vector) if is_small else dot(vector, vector)
    asks = seldom and shape[0] <= _FEW and square.is_cpu and not is_dynamo_compiling()
    if asks and square.max().item() <= limit * limit * _LESS:
        return vector
    return vector.mul_((constant(limit) / square.sqrt_()).clamp_max_(_ONE).unsqueeze(-1))


def _numbers(vector: Tensor) -> list[float]:
    """The numbers of a tensor that holds one vector."""
    numbers: Any = vector.tolist()
    while type(numbers[0]) is list:
        numbers = numbers[0]
    return numbers  # type: ignore[no-any-return]


def is_within(place: Tensor, low: float, high: float) -> bool:
    """Whether one vector on the CPU has all its numbers between two bounds; False, too, where there are many vectors.

    Asking in Python costs less than the operations that the answer saves.
    """
    if place.numel() > 3 or not place.is_cpu or is_dynamo_compiling():
        return False
    for number in _numbers(place):  # noqa: SIM110 - a generator would cost as much as an operation
        if not low < number < high:
            return False
    return True


def limit_lengths(vector: Tensor, limit: Tensor) -> Tensor:
    """:func:`limit_length_` in new memory, with a limit of its own for every world, ``[B, ..., 1]``, 0 or more."""
    scale = limit / length(vector).clamp(min=_TINY).unsqueeze(-1)
    return vector * scale.clamp(max=1.0)
