"""MuJoCo's objects in an environment, and the numbers of its models."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import NotCopyableError, is_display, module_of

Array = np.ndarray[Any, Any]
Numbers = tuple[list[Array], list[tuple[Any, str]]]  # stretches of memory, and options as objects and names

ALIGNMENT = 64  # bytes: MuJoCo starts every array of its buffer at such a multiple
_DEPTH = 4  # objects from the environment down to MuJoCo's
MOST_KNOWN = 3  # layouts that are kept; an environment may make a new model at every reset


def found_in(env: Any, name: str) -> dict[tuple[str, ...], Any]:
    """MuJoCo's objects of a class (``MjData`` or ``MjModel``) that an unwrapped environment holds, by their path.

    Each once, at the shortest path, in its fields or in those of objects that it holds: ``env.sim.data``.
    """
    found: dict[tuple[str, ...], Any] = {}
    seen: set[int] = set()
    level: list[tuple[tuple[str, ...], Any]] = [((), env)]
    for _ in range(_DEPTH):
        deeper = []
        for path, owner in level:
            for field, value in getattr(owner, "__dict__", {}).items():
                if id(value) in seen or is_display(type(value)):
                    continue
                seen.add(id(value))
                if type(value).__name__ == name and is_mujocos(type(value)):
                    found[(*path, field)] = value
                elif hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType | gym.Space):
                    deeper.append(((*path, field), value))
        level = deeper
    return found


def is_mujocos(cls: type) -> bool:
    """Whether MuJoCo defines a class."""
    return module_of(cls).startswith("mujoco")


def copy_model(source: Any, target: Any) -> None:
    """Give a sibling's models the numbers of the original's, whose masses and gains may have been changed by hand."""
    for mine, theirs, name in _differing_numbers(source, target):
        value = getattr(mine, name)
        if isinstance(value, np.ndarray):
            getattr(theirs, name)[...] = value
        else:
            setattr(theirs, name, value)


def same_model(env: Any, other: Any) -> bool:
    """Whether the models of two unwrapped environments have the same numbers."""
    return next(_differing_numbers(env, other), None) is None


def _differing_numbers(env: Any, other: Any) -> Iterator[tuple[Any, Any, str]]:
    """The numbers that differ: the object in one and in the other environment that has them, and their name."""
    if "mujoco" not in sys.modules:
        return
    twins = found_in(other, "MjModel")
    for mine, theirs in [(mine, twins[path]) for path, mine in found_in(env, "MjModel").items() if path in twins]:
        for part, twin in ((mine, theirs), (mine.opt, theirs.opt)):
            for name, value in _public(part):
                if isinstance(value, np.ndarray) and value.size:
                    if value.tobytes() != getattr(twin, name).tobytes():
                        yield part, twin, name
                elif isinstance(value, float) and value != getattr(twin, name):
                    yield part, twin, name


def _public(owner: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(owner, name)) for name in dir(owner) if not name.startswith("_")]


class ModelNumbers:
    """The numbers of the models that an environment may change: masses, gains, shapes, gravity.

    Args:
        env: unwrapped.
    """

    def __init__(self, env: Any) -> None:
        self._env, self._paths = env, list(found_in(env, "MjModel"))
        self._known: dict[int, tuple[Any, Numbers]] = {}
        self._before: list[Any] = []

    def _numbers(self) -> Iterator[Numbers]:
        """Of each model, the stretches of memory that its arrays fill, and where its options are."""
        for path in self._paths:
            model = self._env
            for name in path:
                model = getattr(model, name)
            if id(model) not in self._known:
                if len(self._known) > MOST_KNOWN:
                    self._known.clear()
                options = [
                    (part, name)
                    for part in (model.opt, model.stat)
                    for name, value in _public(part)
                    if isinstance(value, int | float | np.ndarray)
                ]
                memory = stretches(model, ALIGNMENT - 1, lambda name, _: name != "tex_data")  # that is paint
                self._known[id(model)] = model, (memory, options)
            yield self._known[id(model)][1]

    def read(self) -> list[Any]:
        """A copy; what has not changed since the last call is shared with that."""
        numbers: list[Any] = []
        for memory, options in self._numbers():
            numbers += [*memory, *[np.asarray(getattr(part, name)) for part, name in options]]
        if len(numbers) != len(self._before):
            self._before = [None] * len(numbers)
        self._before = [
            before if before is not None and _alike(before, now) else _read_only_copy(now)
            for before, now in zip(self._before, numbers, strict=True)
        ]
        return list(self._before)

    def write(self, numbers: list[Any]) -> None:
        """Restore what :meth:`read` gave.

        Raises:
            NotCopyableError: it is of another model.
        """
        waiting = iter(numbers)
        for memory, options in self._numbers():
            for live in memory:
                saved = next(waiting)
                if saved.size != live.size:
                    raise NotCopyableError("of another MuJoCo model")
                if not _alike(saved, live):
                    live[:] = saved
            for part, name in options:
                saved, now = next(waiting), getattr(part, name)
                if isinstance(now, np.ndarray):
                    now[...] = saved
                elif saved != now:
                    setattr(part, name, type(now)(saved))


def _alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _read_only_copy(array: Array) -> Array:
    copied = array.copy()
    copied.flags.writeable = False
    return copied


def stretches(owner: Any, padding: int, chosen: Callable[[str, Array], bool]) -> list[Array]:
    """The chosen arrays of one of MuJoCo's objects as bytes, joined across gaps of at most ``padding`` bytes."""
    arrays = sorted(
        ((address_of(value), value.nbytes, value) for name, value in _public(owner) if _is_chosen(name, value, chosen)),
        key=lambda entry: entry[0],
    )
    joined: list[tuple[int, int, Any]] = []
    for address, size, array in arrays:
        if joined and address - sum(joined[-1][:2]) <= padding:
            first, length, base = joined[-1]
            joined[-1] = (first, max(length, address + size - first), base)
        else:
            joined.append((address, size, array))
    # Each as a view that keeps the array's owner alive.
    views = [(array.reshape(-1).view(np.uint8), size) for _, size, array in joined]
    return [np.lib.stride_tricks.as_strided(first, (size,), (1,)) for first, size in views]


def _is_chosen(name: str, value: Any, chosen: Callable[[str, Array], bool]) -> bool:
    return isinstance(value, np.ndarray) and bool(value.size) and chosen(name, value)


def address_of(array: Array) -> int:
    """Where in memory an array starts."""
    address: int = array.__array_interface__["data"][0]
    return address
