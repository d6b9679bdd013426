"""One thing that all worlds share: how to read it, and whether it has changed since it was first read."""

from __future__ import annotations

import array
import contextvars
import ctypes
import dataclasses
import mmap
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import (
    ATOMS,
    CODECS,
    Codec,
    Freezer,
    Node,
    NotCopyableError,
    differences,
    label_of,
    parts_of,
)

_HEAVY = 5_000  # numbers and objects, beyond which a value is compared rarely
_SOMETIMES, _RARELY = 16, 256  # saves between two comparisons
_LARGE, _MANY = 2**14, 256  # bytes of an array and elements of a container that are compared at every save
_MOST_MEMORY = 2**26  # bytes that are compared at all
_BOUNDS = ("low", "high", "n", "start", "nvec", "_shape", "dtype")
_MISSING = object()


@dataclasses.dataclass
class SharedPart:
    """Something that all worlds share.

    Attributes:
        name: what errors call it.
        read: gives its present value.
        advice: what to do if it changes.
        of_world: whether it is read from the environment itself, which must have been reset before.
        pause: saves from one comparison to the next; a value that takes long is compared from time to time.
    """

    name: str
    read: Callable[[], Any]
    advice: str = "keep it in self"
    of_world: bool = False
    before: Any = _MISSING
    pause: int = 1

    def differs(self) -> bool:
        """Whether the value is another one than at the first call."""
        value = self.read()
        now = fingerprint(value)
        if now is None:
            try:
                now = Freezer(_COMPARED).freeze(value)
            except NotCopyableError:
                return False
        if self.before is _MISSING:
            self.before = now
            self.pause = 1 if type(now) is not Node else _SOMETIMES if _weight(now) < _HEAVY else _RARELY
            return False
        if type(now) is Node or type(self.before) is Node:
            return next(differences(self.before, now), None) is not None
        return bool(now != self.before)


def fingerprint(value: Any) -> Any:
    """Something to compare a value by within a microsecond; None if there is no such thing."""
    cls = type(value)
    if cls in ATOMS:
        return (value,)
    if cls is np.ndarray and not value.dtype.hasobject and value.nbytes < _LARGE:
        return value.tobytes(), value.shape
    if cls is dict and ATOMS.issuperset(map(type, value.values())) and len(value) < _MANY:
        return dict(value)
    if cls in (list, tuple) and ATOMS.issuperset(map(type, value)) and len(value) < _MANY:
        return list(value)
    if isinstance(value, gym.Space):  # by its bounds
        fields = [vars(part) for part in parts_of(value)]
        return [fingerprint(own[name]) for own in fields for name in _BOUNDS if name in own]
    return None


def _weight(frozen: Any) -> int:
    """About how many numbers and objects a frozen value has."""
    seen: set[int] = set()
    waiting, weight = [frozen], 0
    while waiting and weight <= _HEAVY:
        part = waiting.pop()
        weight += 1
        if isinstance(part, np.ndarray):
            weight += part.size // 16
        elif type(part) is Node and id(part) not in seen:
            seen.add(id(part))
            waiting.append(part.content)
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return weight


_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_VARIABLES = (threading.local, contextvars.ContextVar)
_C_DATA = ctypes.c_int.__mro__[2]  # the base of all ctypes objects
_MEMORY = (memoryview, mmap.mmap, array.array, _C_DATA)


class _Contents(Codec):
    """What cannot be restored but can be compared: memory, containers of the user's own classes, variables."""

    kind = "contents"

    def accepts(self, cls: type) -> bool:
        return cls in _LOCKS or issubclass(cls, (*_CONTAINERS, *_VARIABLES, np.ndarray, *_MEMORY))

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """As its base class has it, not as its own class does."""
        node.label = label_of(type(value))
        if type(value) in _LOCKS:
            return
        if isinstance(value, _MEMORY):
            node.content = _bytes_of(value)
            return
        if isinstance(value, contextvars.ContextVar):
            node.content = freezer.freeze(value.get(None))
            return
        parts: list[Any] = [getattr(value, "__dict__", None)]
        if isinstance(value, np.ndarray):
            _refuse_too_large(value.nbytes)  # such as a map of a file of data
            parts.append(np.array(value, copy=True, subok=False))
        elif isinstance(value, dict):
            parts.append(dict(dict.items(value)))
        elif isinstance(value, _CONTAINERS):
            parts.append(list(value))
        node.content = [freezer.freeze(part) for part in parts]


def _bytes_of(value: Any) -> bytes:
    try:
        memory = memoryview(value)
        _refuse_too_large(memory.nbytes)
        return memory.tobytes()
    except (TypeError, ValueError, BufferError) as error:  # such as a closed map
        raise NotCopyableError(f"memory that cannot be read: {error}") from error


def _refuse_too_large(size: int) -> None:
    if size > _MOST_MEMORY:
        raise NotCopyableError("too much memory to compare")


_COMPARED = CODECS.with_last(_Contents())
