"""The random generators that a whole process shares: whether code that ran has moved them.

An environment that draws from one of them cannot be forked: its branches and the algorithm share the draws. The
readings are cheap enough for every step (a microsecond or two), and draw nothing.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_WORDS = 624  # of a Mersenne Twister, which Python and NumPy keep beside a position of 32 bits
_BYTES = 4 * (_WORDS + 1)
Reading = tuple[Any, ...]


class GlobalGenerators:
    """Reads the generators of Python's ``random``, of ``numpy.random`` and of PyTorch."""

    names = ("Python's random", "NumPy's np.random", "PyTorch's torch", "PyTorch's torch.cuda")

    def __init__(self) -> None:
        self._readers: tuple[Callable[[], Any], ...] = (_python_reader(), _numpy_reader(), _torch, _cuda)

    def read(self) -> Reading:
        """What to compare with a later reading."""
        return tuple(reader() for reader in self._readers)

    def moved_since(self, reading: Reading) -> list[str]:
        """Names of the generators that code has moved since ``reading``.

        NumPy keeps the second of two normal numbers beside the state that is read, so of two of its draws the first
        is seen.
        """
        if self.read() == reading:
            return []
        return [name for name, old, new in zip(self.names, reading, self.read(), strict=True) if old != new]


def _python_reader() -> Callable[[], Any]:
    """``random.getstate`` takes ten times as long as a step of CartPole's branch: read the words where they are."""
    generator: Any = random.random.__self__  # type: ignore[attr-defined]
    address = id(generator) + object.__basicsize__
    *words, position = random.getstate()[1]
    if not _holds(address, [position, *words]):
        return random.getstate
    return lambda: (ctypes.string_at(address, _BYTES), generator.gauss_next)


def _numpy_reader() -> Callable[[], Any]:
    """As for Python; the address is one that NumPy hands out for other languages."""
    bits: Any = np.random.get_bit_generator()
    state: dict[str, Any] = bits.state
    if state["bit_generator"] != "MT19937":
        return lambda: repr(np.random.get_bit_generator().state)
    address: int = bits.ctypes.state_address
    if not _holds(address, [*state["state"]["key"].tolist(), state["state"]["pos"]]):
        return lambda: repr(np.random.get_bit_generator().state)
    # The generator is part of the reading, so that its memory stays and another one in its place is seen.
    return lambda: (ctypes.string_at(address, _BYTES), np.random.get_bit_generator() is bits)


def _torch() -> bytes:
    state: bytes = torch.default_generator.get_state().numpy().tobytes()
    return state


def _cuda() -> tuple[tuple[int, int], ...]:
    """Seed and position of each GPU's generator, once torch has begun to use GPUs."""
    if not torch.cuda.is_initialized():
        return ()
    return tuple((generator.initial_seed(), generator.get_offset()) for generator in torch.cuda.default_generators)


def _holds(address: int, words: list[int]) -> bool:
    """Whether these words of 32 bits stand at an address inside a generator, which no documentation promises."""
    return ctypes.string_at(address, _BYTES) == np.array(words, dtype=np.uint32).tobytes()
