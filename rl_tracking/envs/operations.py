"""Operations of torch in the form that costs least: constants, a comparison, and what one world can skip."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

MANY = 1024  # worlds


@functools.lru_cache(maxsize=1024)
def constant(value: float) -> Tensor:
    """``value`` as a float32 scalar tensor, which works with tensors of any device.

    torch turns a Python number into a tensor at each use; for few worlds that is half the cost of an operation.
    """
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.float32)


@functools.lru_cache(maxsize=256)
def int_constant(value: int) -> Tensor:
    """:func:`constant` for counts: an int64 scalar."""
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=torch.int64)


def is_scalar_batch(number: Tensor) -> bool:
    """Whether this is one number on the CPU, as a single world has them.

    Reading its value then costs less than the operations that the answer may save; a GPU would have to wait, and
    ``torch.compile`` could not trace it.
    """
    return number.numel() == 1 and number.is_cpu and not is_dynamo_compiling()


def is_worth_numpy(number: Tensor) -> bool:
    """Whether these are so many numbers on the CPU that NumPy is faster where torch does not vectorise."""
    return number.numel() >= MANY and number.is_cpu and not is_dynamo_compiling()


def same(a: Tensor, b: Tensor) -> Tensor:
    """1 where two tensors are equal and 0 elsewhere, in their own type.

    torch vectorises this comparison, but not one whose result is bool: at 16,384 worlds that takes five times as long.
    """
    if is_worth_numpy(a) and not (a.requires_grad or b.requires_grad):
        return torch.eq(a, b, out=torch.empty_like(a))  # saves the copy
    return a.clone().eq_(b)


def below(a: Tensor, b: Tensor) -> Tensor:
    """1 where ``a < b`` and 0 elsewhere, in their own type; see :func:`same`."""
    return a.clone().lt_(b)
