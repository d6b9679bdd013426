"""How tensors of worlds lie in memory: the worlds are the fastest axis.

Shapes start with the worlds, ``[B, P, D]``, but memory is that of a contiguous tensor whose first and last axis are
swapped, ``[D, P, B]``. An operation then runs along B consecutive numbers, whatever it broadcasts or sums over, and is
vectorised; with D = 3 as the fastest axis it would be interrupted every third number. Operations that keep the strides
of their arguments (all elementwise ones do) keep this layout; for the others there are the functions below.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def swapped(tensor: Tensor) -> Tensor:
    """A view with the first and last axis swapped; contiguous for a worlds-fastest tensor."""
    return tensor.transpose(0, -1)


def worlds_fastest(tensor: Tensor) -> Tensor:
    """The same numbers with the worlds fastest in memory; the tensor itself where they are already."""
    return tensor if is_worlds_fastest(tensor) else swapped(swapped(tensor).contiguous())


def is_worlds_fastest(tensor: Tensor) -> bool:
    """Whether neighbouring worlds are neighbours in memory."""
    return tensor.stride(0) == 1 or tensor.shape[0] == 1 or tensor.numel() == 0


def flatten(tensor: Tensor) -> Tensor:
    """``tensor.flatten(1)``, ``[B, ...] -> [B, N]``; a copy unless a view will do."""
    if tensor.size(0) == 1 or tensor.size(1) == 1:
        return tensor.flatten(1)
    return tensor.movedim(0, -1).flatten(0, -2).T


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """``cat(tensors, -1)`` of ``[B, P, ...]``, in memory as ``[P, N, B]``, so that ``flatten(1)`` of it is a view."""
    worlds, rows, _ = tensors[0].shape
    if worlds == 1:
        return torch.cat(list(tensors), dim=-1)
    if rows == 1:
        return cat(tensors, -1)
    return torch.cat([tensor.permute(1, 2, 0) for tensor in tensors], dim=1).permute(2, 0, 1)


def take(tensor: Tensor, worlds: Tensor) -> Tensor:
    """A copy of some worlds of ``[B, ...]``, by indices ``[K]`` or a mask ``[B]``."""
    return swapped(swapped(tensor)[..., worlds])


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """``torch.cat`` of worlds-fastest tensors ``[B, ...]``, which gives one again.

    Args:
        tensors: with as many axes each.
        dim: the axis along which to join them: 0 (the worlds), -1 (the last) or one between.
    """
    if tensors[0].size(0) == 1 and dim != 0:  # one world has one layout
        return torch.cat(list(tensors), dim=dim)
    return swapped(torch.cat([tensor.transpose(0, -1) for tensor in tensors], dim=_SWAPPED.get(dim, dim)))


_SWAPPED = {0: -1, -1: 0}
