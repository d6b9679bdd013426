"""Whether code has advanced one of the random generators that a whole process shares.

An environment that draws from one of them cannot be branched, because its branches and the algorithm share the draws.
A reading draws nothing, and takes a microsecond instead of the fifty that it takes to get the whole state. All three
are Mersenne Twisters: the position, which every draw advances, is read from memory together with a few of the 624
words, which are all replaced when the position starts again. Where the memory is laid out otherwise, the whole state
is read.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

_WORDS = 624  # of a Mersenne Twister, 32 bits each
_READ = 64  # bytes of it that are read
_FARTHEST = 128  # bytes from the start of torch's generator to its words
Reader = Callable[[], Any]
Reading = list[Any]


class GlobalGenerators:
    """Reads the generators of Python's ``random``, of ``numpy.random`` and of PyTorch.

    Normal numbers are drawn in pairs, of which NumPy and PyTorch keep the second beside the state that is read here:
    of two such draws the first is seen.
    """

    def __init__(self) -> None:
        found: dict[str, list[Reader]] = {
            "Python's random": _python(),
            "NumPy's np.random": _numpy(),
            "PyTorch's torch": _torch(),
            "PyTorch's torch.cuda": [_cuda] if torch.cuda.is_available() else [],
        }
        self._names = [name for name, readers in found.items() for _ in readers]
        self._readers = [reader for readers in found.values() for reader in readers]

    def __reduce__(self) -> tuple[type[GlobalGenerators], tuple[()]]:
        """A copy reads the generators too, and not a copy of them."""
        return GlobalGenerators, ()

    def read(self) -> Reading:
        """What to compare with a later reading."""
        return [reader() for reader in self._readers]

    def moved_since(self, reading: Reading) -> list[str]:
        """Names of the generators that code has moved since ``reading``."""
        now = self.read()
        if now == reading:
            return []
        moved = (name for name, old, new in zip(self._names, reading, now, strict=True) if old != new)
        return list(dict.fromkeys(moved))


def _python() -> list[Reader]:
    """CPython's object: a header, the position, the words; and the second of two normal numbers."""
    generator: Any = random.random.__self__  # type: ignore[attr-defined]
    address = id(generator) + object.__basicsize__
    *words, position = random.getstate()[1]
    if not _holds(address, [position, *words]):
        return [random.getstate]
    return [_memory(address), partial(getattr, generator, "gauss_next")]


def _numpy() -> list[Reader]:
    """The words and the position, at an address that NumPy hands out; and which generator it is."""
    current: Reader = np.random.get_bit_generator  # type: ignore[attr-defined]
    bits: Any = current()
    state: dict[str, Any] = bits.state
    if state["bit_generator"] == "MT19937":
        address = bits.ctypes.state_address
        if _holds(address, [*state["state"]["key"].tolist(), state["state"]["pos"]]):
            # A reading holds on to the generator, so its memory stays.
            return [_memory(address + 4 * (_WORDS + 1) - _READ), current]
    return [lambda: repr(current().state)]


def _torch() -> list[Reader]:
    """PyTorch's object: somewhere in it the words, and the position before them."""
    generator = torch.default_generator
    state: bytes = generator.get_state().numpy().tobytes()
    words = np.frombuffer(state, np.uint64, _WORDS, offset=24).tolist()  # after the seed and the position, as 64 bits
    start: int = getattr(generator, "_cdata", 0)
    for address in range(start, start + _FARTHEST, 4) if start else ():
        if _holds(address, words):
            return [_memory(address - _READ // 2)]
    return [lambda: generator.get_state().numpy().tobytes()]


def _cuda() -> list[tuple[int, int]]:
    """Seed and position of each GPU's generator, once torch has begun to use GPUs."""
    if not torch.cuda.is_initialized():
        return []
    return [(generator.initial_seed(), generator.get_offset()) for generator in torch.cuda.default_generators]


def _holds(address: int, words: Sequence[int]) -> bool:
    """Whether these words of 32 bits stand in memory, which no documentation promises."""
    expected = np.array(words, dtype=np.uint32).tobytes()
    return ctypes.string_at(address, len(expected)) == expected


def _memory(address: int) -> Reader:
    """Reads what stands there."""
    return partial(getattr, (ctypes.c_char * _READ).from_address(address), "raw")
