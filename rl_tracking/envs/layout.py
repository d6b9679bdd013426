"""How tensors of worlds lie in memory: the worlds are the fastest axis.

Shapes start with the worlds, ``[B, P, D]``, but memory is that of a contiguous tensor with the worlds last,
``[P, D, B]``. An operation then runs along B consecutive numbers, whatever it broadcasts or sums over, and is
vectorised; along D = 3 numbers it would be interrupted at every third. Elementwise operations keep the strides of their
arguments and so this layout; for the others there are the functions below. ``flatten(1)`` is a view in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_MANY, _FEW_COLUMNS = 1024, 64


def worlds_last(tensor: Tensor) -> Tensor:
    """A view ``[..., B]`` of ``[B, ...]``; contiguous where the worlds are the fastest axis."""
    return tensor.movedim(0, -1)


def worlds_first(tensor: Tensor) -> Tensor:
    """A view ``[B, ...]`` of ``[..., B]``."""
    return tensor.movedim(-1, 0)


def worlds_fastest(tensor: Tensor) -> Tensor:
    """The same numbers with the worlds fastest in memory; the tensor itself where they are already."""
    if tensor.stride(0) == 1 or is_worlds_fastest(tensor):
        return tensor
    if tensor.dim() == 2:  # as actions are, at every step
        if tensor.size(0) >= _MANY and tensor.size(1) <= _FEW_COLUMNS:  # a quarter of the time
            return torch.stack(tensor.unbind(-1)).t()
        return tensor.t().contiguous().t()
    return worlds_first(worlds_last(tensor).contiguous())


def is_worlds_fastest(tensor: Tensor) -> bool:
    """Whether neighbouring worlds are neighbours in memory."""
    return tensor.stride(0) == 1 or tensor.size(0) == 1 or tensor.numel() == 0


def take(tensor: Tensor, worlds: Tensor) -> Tensor:
    """A copy of some worlds of ``[B, ...]``, by indices ``[K]`` or a mask ``[B]``."""
    return worlds_first(worlds_last(tensor)[..., worlds])


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """``torch.cat`` of tensors ``[B, ...]`` whose result has the worlds fastest in memory.

    Args:
        tensors: with as many axes each.
        dim: the axis along which they are joined; 0 lines up worlds, -1 what each world has.
    """
    if tensors[0].size(0) == 1 and dim != 0:  # one world has one layout
        return torch.cat(list(tensors), dim=dim)
    if dim == -1 and tensors[0].dim() == 3 and tensors[0].size(1) == 1:  # a swap costs less than a rotation
        return torch.cat([tensor.transpose(0, 2) for tensor in tensors]).transpose(0, 2)
    if tensors[0].dim() == 2:
        return torch.cat(list(map(Tensor.t, tensors)), dim=1 if dim == 0 else 0).t()
    axes = range(tensors[0].dim())
    last, first = (*axes[1:], 0), (axes[-1], *axes[:-1])  # in other words `movedim`, which costs more
    return torch.cat([tensor.permute(last) for tensor in tensors], -1 if dim == 0 else dim - 1).permute(first)


def repeated(tensor: Tensor, n: int) -> Tensor:
    """``n`` copies of the worlds of ``[B, ...]``, one batch after the other, ``[n B, ...]``."""
    # For few worlds, joining copies takes a third of the time of Tensor.repeat.
    if tensor.dim() == 1:
        return torch.cat([tensor] * n)
    # One view for all copies, and a swap of two axes where that makes it: for few worlds, views are most of the cost.
    if tensor.dim() == 2 or (tensor.dim() == 3 and tensor.size(1) == 1):
        return torch.cat([tensor.transpose(0, -1)] * n, dim=-1).transpose(0, -1)
    return worlds_first(torch.cat([worlds_last(tensor)] * n, dim=-1))
