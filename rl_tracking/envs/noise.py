"""Random numbers from (key, step, stream): no generator object, so randomness is part of the state.

Counter-based, as in Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
The mixing function is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014): the n-th number of the key k is ``mix(k + (n + 1) * GOLDEN)``.
"""

from __future__ import annotations

import functools
import math
import sys
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs.operations import constant, int_constant, is_worth_numpy

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MULTIPLIER_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = -7723592293110705685  # 0x94D049BB133111EB
_LANES = 16  # numbers a stream may draw in one step
_STREAMS = 16  # streams in one step
_HIGHEST_BIT = -(2**63)
_BLOCK = 64  # steps for which one world draws together
_AHEAD, _AHEAD_NUMBERS = 32, 16_384  # steps for which a few worlds do, and numbers, at most
_FEW = 1024  # worlds
_PURPOSES = 32  # kinds of draws that are kept for some steps
_HIGH_WORD = 1 if sys.byteorder == "little" else 0  # of the two int32 of an int64


def _wrapped(number: int) -> int:
    """``number`` as int64 arithmetic has it."""
    return (number + 2**63) % 2**64 - 2**63


_STEP_STRIDE = _wrapped(_GOLDEN * _LANES * _STREAMS)  # one step further
# Arrays and not numbers, which NumPy would convert at each use.
_NUMPY_STRIDE = np.array(_STEP_STRIDE, dtype=np.int64)
_NUMPY_1, _NUMPY_7, _NUMPY_HIGHEST_BIT = (np.array(number, dtype=np.int32) for number in (1, 7, -(2**31)))
_NUMPY_30, _NUMPY_27, _NUMPY_MULTIPLIER_1, _NUMPY_MULTIPLIER_2 = (
    np.array(number % 2**64, dtype=np.uint64) for number in (30, 27, _MULTIPLIER_1, _MULTIPLIER_2)
)


class Stream(IntEnum):
    """What a random number is for; each purpose draws from numbers of its own."""

    WIND = 0
    TARGET_SPAWN = 1
    TARGET_MOTION = 2
    PURSUER_SPAWN = 3
    SENSOR = 4
    POLICY = 5
    NEXT_EPISODE = 6
    BRANCH = 7
    EARLIER_EPISODE = 8
    EPISODE_PARAMETERS = 9
    IMAGINED = 10
    TARGET_TURN = 11
    FORMATION = 12


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: int64's own shift copies the sign bit."""
    return z.bitwise_right_shift(int_constant(bits)).bitwise_and_(int_constant((1 << (64 - bits)) - 1))


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of int64 whose output bits all depend on all input bits."""
    return _last_xor(_multiplied(z))


def _multiplied(z: Tensor) -> Tensor:
    """:func:`mix` without its last step, which leaves the 33 highest bits as they are."""
    z = _shift_right(z, 30).bitwise_xor_(z).mul_(int_constant(_MULTIPLIER_1))
    return _shift_right(z, 27).bitwise_xor_(z).mul_(int_constant(_MULTIPLIER_2))


def _last_xor(z: Tensor) -> Tensor:
    return _shift_right(z, 31).bitwise_xor_(z)


def bits(key: Tensor, step: Tensor, stream: int, lanes: int) -> Tensor:
    """Random int64 ``[B, lanes]``, worlds fastest in memory.

    Args:
        key: ``[B]`` int64, one a world.
        step: ``[B]`` int64, the world's step count.
        stream: what the numbers are for.
        lanes: how many numbers a world, 16 at most.
    """
    return _last_xor(_high_bits(key, step, stream, lanes)).T


def _high_bits(key: Tensor, step: Tensor, stream: int, lanes: int, ahead: int = 0) -> Tensor:
    """:func:`bits` as ``[lanes, B]`` of which only the 33 highest are right: the mixing ends there."""
    # mix(key + (counter + 1) * GOLDEN) with counter = (step * STREAMS + stream) * LANES + lane, in few operations.
    if is_worth_numpy(key):
        return _high_bits_by_numpy(key, step, int(stream), lanes, ahead)
    start = torch.add(key, step, alpha=_STEP_STRIDE)
    return _multiplied(start + _lane_offsets(int(stream), lanes, ahead, key.device))


def _high_bits_by_numpy(key: Tensor, step: Tensor, stream: int, lanes: int, ahead: int) -> Tensor:
    """:func:`_high_bits` of many worlds on the CPU: unsigned shifts need no mask, and most steps no new memory."""
    start = step.numpy() * _NUMPY_STRIDE
    start += key.numpy()
    z = (start + _lane_offsets(stream, lanes, ahead, key.device).numpy()).view(np.uint64)
    shifted = z >> _NUMPY_30
    z ^= shifted
    z *= _NUMPY_MULTIPLIER_1
    z ^= np.right_shift(z, _NUMPY_27, out=shifted)
    z *= _NUMPY_MULTIPLIER_2
    return torch.from_numpy(z.view(np.int64))


@functools.lru_cache(maxsize=256)
def _lane_offsets(stream: int, lanes: int, ahead: int, device: torch.device) -> Tensor:
    """``((ahead * STREAMS + stream) * LANES + lane + 1) * GOLDEN`` ``[lanes, 1]``; kept, as making it is slow."""
    if lanes > _LANES:
        raise ValueError(f"a stream draws at most {_LANES} numbers a step, not {lanes}")
    first = (ahead * _STREAMS + stream) * _LANES + 1
    # Not a product of tensors: torch.compile works that out itself, without wrapping, and fails.
    numbers = [_wrapped(lane * _GOLDEN) for lane in range(first, first + lanes)]
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.int64, device=device).unsqueeze(-1)


def uniform(key: Tensor, step: Tensor, stream: Stream, lanes: int) -> Tensor:
    """Uniform float32 in [0, 1), ``[B, lanes]``, from the 24 highest bits."""
    numbers = _shift_right(_high_bits(key, step, stream, lanes), 40)
    return numbers.to(torch.float32).mul_(constant(2.0**-24)).T


def normal(key: Tensor, step: Tensor, stream: Stream, lanes: int, ahead: int = 0, *, read_only: bool = False) -> Tensor:
    """Standard normal float32 ``[B, lanes]`` of ``ahead`` steps after ``step``, by inversion of the distribution.

    The 24 highest bits n give (2 n + 1) / 2^24 - 1, symmetric, exact in float32 and never -1 or 1. With ``read_only``
    the caller must not write to what is returned, which saves a copy.
    """
    # Few worlds pay for the call of an operation, not for its numbers: they draw many steps at once.
    if key.size(0) <= _FEW and key.is_cpu and not is_dynamo_compiling():
        if key.size(0) == 1:
            block, place = divmod(int(step.item()) + ahead, _BLOCK)
            drawn = _normal_block(int(key.item()), block, int(stream), lanes)[place]
        else:
            drawn = _normal_ahead(key, step, int(stream), lanes, ahead)
        return drawn if read_only else drawn.clone()
    return _normal(key, step, stream, lanes, ahead)


def _normal(key: Tensor, step: Tensor, stream: int, lanes: int, ahead: int = 0) -> Tensor:
    # 2 n + 1 - 2^24 for the 24 highest bits n: with the highest flipped they are n - 2^23 in two's complement.
    numbers = _high_bits(key, step, stream, lanes, ahead)
    if is_worth_numpy(key):
        odd = _odd_by_numpy(numbers)
    else:
        flipped = numbers.bitwise_xor_(int_constant(_HIGHEST_BIT))
        odd = flipped.bitwise_right_shift_(int_constant(39)).bitwise_or_(int_constant(1))
    return odd.to(torch.float32).mul_(constant(2.0**-24)).erfinv_().mul_(constant(math.sqrt(2.0))).T


def _odd_by_numpy(numbers: Tensor) -> Tensor:
    """What :func:`_normal` makes of the bits of many worlds: int32 from their high halves, in a third of the time."""
    odd = numbers.numpy().view(np.int32)[:, _HIGH_WORD::2] ^ _NUMPY_HIGHEST_BIT
    odd >>= _NUMPY_7
    odd |= _NUMPY_1
    return torch.from_numpy(odd)


class _Ahead:
    """Normal numbers of the same worlds at successive steps, drawn at once when a second step is asked for.

    Not state: only what was drawn for equal keys and steps is given out.
    """

    def __init__(self, key: Tensor) -> None:
        self._key = key
        self._first, self._next = 0, 0
        self._steps: tuple[Tensor, ...] = ()
        self._draws: tuple[Tensor, ...] = ()

    def at(self, key: Tensor, step: Tensor, stream: int, lanes: int, ahead: int) -> Tensor | None:
        """What :func:`_normal` gives at ``step`` ``[B]``, not to be written to; None for the keys of other worlds."""
        if not (key is self._key or torch.equal(self._key, key)):
            return None
        # The step after the one before, as a rule; else one that world 0 tells.
        place = self._next
        if place < len(self._steps) and torch.equal(self._steps[place], step):
            self._next = place + 1
            return self._draws[place]
        place = int(step[0].item()) - self._first
        if 0 <= place < len(self._steps) and torch.equal(self._steps[place], step):
            self._next = place + 1
            return self._draws[place]
        self._draw_block(step, stream, lanes, ahead)
        self._next = 1
        return self._draws[0]

    def _draw_block(self, step: Tensor, stream: int, lanes: int, ahead: int) -> None:
        """Draw for the steps from ``step`` on, ``[B, lanes]`` each."""
        worlds = step.size(0)
        block = max(1, min(_AHEAD, _AHEAD_NUMBERS // (worlds * lanes)))
        with torch.inference_mode(False), torch.no_grad():
            steps = step + torch.arange(block).unsqueeze(-1)
            together = _normal(self._key.repeat(block), steps.flatten(), stream, lanes, ahead)
            laid_out = together.t().view(lanes, block, worlds).transpose(0, 1).contiguous()
            self._steps, self._draws = steps.unbind(), laid_out.transpose(1, 2).unbind()
        self._first = int(step[0].item())


_ahead: dict[tuple[int, int, int, int], _Ahead] = {}  # by stream, lanes, steps ahead and number of worlds


def _normal_ahead(key: Tensor, step: Tensor, stream: int, lanes: int, ahead: int) -> Tensor:
    """:func:`normal` of a few worlds; not to be written to."""
    purpose = (stream, lanes, ahead, key.size(0))
    known = _ahead.get(purpose)
    drawn = None if known is None else known.at(key, step, stream, lanes, ahead)
    if drawn is not None:
        return drawn
    if len(_ahead) >= _PURPOSES:
        _ahead.clear()
    _ahead[purpose] = _Ahead(key)
    return _normal(key, step, stream, lanes, ahead)


@functools.lru_cache(maxsize=16)
def _normal_block(key: int, block: int, stream: int, lanes: int) -> tuple[Tensor, ...]:
    """What :func:`normal` gives one world at each of the ``_BLOCK`` steps of a block, ``[1, lanes]`` each."""
    with torch.inference_mode(False), torch.no_grad():
        step = torch.arange(block * _BLOCK, (block + 1) * _BLOCK)
        together = _normal(torch.full_like(step, key), step, stream, lanes)
        return tuple(together[place : place + 1] for place in range(_BLOCK))


def world_keys(seed: int, num_worlds: int, device: torch.device | str = "cpu", first: int = 0) -> Tensor:
    """Keys ``[B]`` of worlds ``first, first + 1, ...`` of a seed; world i has the same key whatever B is."""
    root = mix(torch.tensor([seed & 0x7FFF_FFFF_FFFF_FFFF], dtype=torch.int64, device=device) + _GOLDEN)
    worlds = torch.arange(first + 1, first + num_worlds + 1, dtype=torch.int64, device=device)
    return mix(root + worlds * _GOLDEN)


def next_episode(key: Tensor) -> Tensor:
    """The key ``[B]`` of each world's next episode."""
    return bits(key, torch.zeros_like(key), Stream.NEXT_EPISODE, 1).squeeze(-1)


def fork(key: Tensor, step: Tensor, branches: int) -> Tensor:
    """Independent keys ``[branches * B]``, branch-major; branch 0 keeps the key of its parent.

    They depend on the step ``[B]``, so that the branches of successive steps meet different weather too.
    """
    branch = torch.arange(branches, dtype=torch.int64, device=key.device).repeat_interleave(key.shape[0])
    parent = key.repeat(branches)
    here = bits(key, step, Stream.BRANCH, 1).squeeze(-1).repeat(branches)
    fresh = bits(here, branch, Stream.BRANCH, 1).squeeze(-1)
    return torch.where(branch == 0, parent, fresh)


def imagined_keys(key: Tensor, step: Tensor, copies: int) -> Tensor:
    """Independent keys ``[copies * B]``, copy-major, none of them that of its parent; other ones at every step."""
    copy = torch.arange(copies, dtype=torch.int64, device=key.device).repeat_interleave(key.shape[0])
    here = bits(key, step, Stream.IMAGINED, 1).squeeze(-1).repeat(copies)
    return bits(here, copy, Stream.IMAGINED, 1).squeeze(-1)
