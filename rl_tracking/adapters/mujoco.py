"""MuJoCo's state: everything that the next step, or who reads the data before it, depends on.

Positions and velocities alone do not reproduce a step after contact: the solver starts from the last accelerations.
And what is derived from the state (``xpos``, ``cfrc_ext`` ...) belongs to the moment before the last integration, so
computing it anew would give other numbers than the ones an environment subtracts.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.arrays import Arrays
from rl_tracking.adapters.freezing.core import module_of
from rl_tracking.adapters.freezing.references import is_display

_ALIGNMENT = 64  # bytes: MuJoCo starts every array of its buffer at such a multiple


def _is(value: Any, name: str) -> bool:
    return type(value).__name__ == name and module_of(type(value)).startswith("mujoco")


_DEPTH = 4  # objects from the environment down to MuJoCo's


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
                if _is(value, name):
                    found[(*path, field)] = value
                elif hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType | gym.Space):
                    deeper.append(((*path, field), value))
        level = deeper
    return found


def copy_model(source: Any, target: Any) -> None:
    """Give a sibling's model the numbers of the original, whose masses and gains may have been changed by hand."""
    for mine, theirs, name in _other_numbers(source, target):
        value = getattr(mine, name)
        if isinstance(value, np.ndarray):
            getattr(theirs, name)[...] = value
        else:
            setattr(theirs, name, value)


def same_model(env: Any, other: Any) -> bool:
    """Whether the models of two unwrapped environments have the same numbers."""
    return next(_other_numbers(env, other), None) is None


def _other_numbers(env: Any, other: Any) -> Iterator[tuple[Any, Any, str]]:
    """The numbers that differ: where they are in one and in the other, and their name."""
    if "mujoco" not in sys.modules:
        return
    twins = found_in(other, "MjModel")
    for mine, theirs in [(mine, twins[path]) for path, mine in found_in(env, "MjModel").items() if path in twins]:
        for part, twin in ((mine, theirs), (mine.opt, theirs.opt)):
            for name in dir(part):
                value = None if name.startswith("_") else getattr(part, name)
                if isinstance(value, np.ndarray) and value.size:
                    if value.tobytes() != getattr(twin, name).tobytes():
                        yield part, twin, name
                elif isinstance(value, float) and value != getattr(twin, name):
                    yield part, twin, name


class ModelNumbers:
    """The numbers of the models that an environment may change: masses, gains, shapes, gravity.

    Args:
        env: unwrapped.
    """

    def __init__(self, env: Any) -> None:
        self._env, self._paths = env, list(found_in(env, "MjModel"))
        self._known: dict[int, tuple[Any, list[np.ndarray[Any, Any]], list[tuple[Any, str]]]] = {}
        self._before: list[Any] = []

    def _parts(self) -> Iterator[tuple[list[np.ndarray[Any, Any]], list[tuple[Any, str]]]]:
        """Of each model the stretches of memory that its arrays fill, and where its options are."""
        for path in self._paths:
            model = self._env
            for name in path:
                model = getattr(model, name)
            if id(model) not in self._known:
                if len(self._known) > 3:  # an environment that makes a new model at every reset
                    self._known.clear()
                options = [
                    (part, name)
                    for part in (model.opt, model.stat)
                    for name in dir(part)
                    if not name.startswith("_") and isinstance(getattr(part, name), int | float | np.ndarray)
                ]
                self._known[id(model)] = model, _stretches(model, _ALIGNMENT - 1, _matters), options
            yield self._known[id(model)][1:]

    def read(self) -> list[Any]:
        """A copy; what is as it was at the last time is shared with that."""
        numbers: list[Any] = []
        for stretches, options in self._parts():
            values = [getattr(part, name) for part, name in options]
            numbers += [*stretches, *map(np.asarray, values)]
        if len(numbers) != len(self._before):
            self._before = [None] * len(numbers)
        self._before = [
            before if before is not None and _alike(before, now) else _copy(now)
            for before, now in zip(self._before, numbers, strict=True)
        ]
        return list(self._before)

    def write(self, numbers: list[Any]) -> None:
        """Put back what :meth:`read` gave.

        Raises:
            NotCopyableError: it is of another model.
        """
        waiting = iter(numbers)
        for stretches, options in self._parts():
            for live in stretches:
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


def _matters(name: str, array: np.ndarray[Any, Any]) -> bool:
    """Whether an array of a model is more than paint."""
    return name != "tex_data"


def _alike(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _copy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    copied = array.copy()
    copied.flags.writeable = False
    return copied


def _stretches(
    owner: Any, padding: int, chosen: Callable[[str, np.ndarray[Any, Any]], bool] = lambda name, array: True
) -> list[np.ndarray[Any, Any]]:
    """The public arrays of one of MuJoCo's objects as bytes, joined across gaps of at most ``padding`` bytes."""
    arrays = []
    for name in dir(owner):
        value = None if name.startswith("_") else getattr(owner, name)
        if isinstance(value, np.ndarray) and value.size and chosen(name, value):
            arrays.append((_address(value), value.nbytes, value))
    arrays.sort(key=lambda entry: entry[0])
    joined: list[tuple[int, int, Any]] = []
    for address, size, array in arrays:
        if joined and address - sum(joined[-1][:2]) <= padding:
            first, length, base = joined[-1]
            joined[-1] = (first, max(length, address + size - first), base)
        else:
            joined.append((address, size, array))
    return [_memory(array, size) for _, size, array in joined]


class Layout:
    """Where the numbers of an ``MjData`` are: its integration state, and its buffer as few stretches of memory."""

    def __init__(self, data: Any) -> None:
        self._mujoco: Any = sys.modules["mujoco"]
        self.data, self._model = data, data.model
        self._model_memory: tuple[int, int] | None = None  # where the model's arrays lie
        self._what = int(self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._size = int(self._mujoco.mj_stateSize(self._model, self._what))
        self.start = _address(data.qpos)
        self.end = self.start + int(data.nbuffer)
        # A plugin's pointers lie between the arrays and must stay: then nothing is joined.
        self._stretches = _stretches(
            data, 0 if self._model.nplugin else _ALIGNMENT - 1, lambda _, array: self.holds(array)
        )
        self._sizes = [self._size, *map(len, self._stretches)]

    def holds(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether an array is a view of the buffer."""
        address = _address(array)
        return self.start <= address and address + array.nbytes <= self.end

    def models(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether an array is a view of the model."""
        if self._model_memory is None:
            parts = [(_address(part), len(part)) for part in _stretches(self._model, 0)]
            self._model_memory = min(start for start, _ in parts), max(start + size for start, size in parts)
        first, end = self._model_memory
        return first <= _address(array) < end

    def read(self) -> list[Any]:
        """A copy: the integration state (float64), then each stretch (uint8)."""
        state = np.empty(self._size)
        self._mujoco.mj_getState(self._model, self.data, state, self._what)
        return [state, *[stretch.copy() for stretch in self._stretches]]

    def write(self, numbers: list[Any]) -> None:
        """Put back what :meth:`read` gave, of this data or of a sibling's."""
        if list(map(len, numbers)) != self._sizes:
            raise NotCopyableError("of another MuJoCo model")
        self._mujoco.mj_setState(self._model, self.data, numbers[0], self._what)
        for index, live in enumerate(self._stretches):
            live[:] = numbers[index + 1]


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _memory(array: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """``size`` bytes from where an array starts, as a view that keeps the array's owner alive."""
    first = array.reshape(-1).view(np.uint8)
    return np.lib.stride_tricks.as_strided(first, (size,), (1,))


class DataCodec:
    """Freezes ``MjData``; one codec serves one environment, whose layouts it keeps."""

    kind = "mujoco-data"

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}

    def accepts(self, cls: type) -> bool:
        """``mujoco.MjData``."""
        return cls.__name__ == "MjData" and module_of(cls).startswith("mujoco")

    def layout(self, data: Any) -> Layout:
        """The layout of a living ``MjData``."""
        found = self._layouts.get(id(data))
        if found is None:
            if len(self._layouts) > 3:  # an environment that makes new data at every reset
                self._layouts.clear()
            found = self._layouts[id(data)] = Layout(data)
        return found

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Its numbers."""
        node.content = self.layout(value).read()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living data, with these numbers."""
        layout = self._layouts.get(id(live))
        if layout is None:
            if not _is(live, "MjData"):
                raise NotCopyableError("MuJoCo data where there is none")
            layout = self.layout(live)
        layout.write(node.content)
        return live


class ViewCodec(Arrays):
    """Arrays that are views of an ``MjData`` are restored with it; others are copied."""

    kind = "mujoco-array"

    def __init__(self, data: DataCodec) -> None:
        self._data = data

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Nothing for a view."""
        if value.base is not None and any(layout.holds(value) for layout in self._data._layouts.values()):
            node.label = "of the data"
            return
        if value.base is not None and any(layout.models(value) for layout in self._data._layouts.values()):
            node.label = "of the model"  # which is a constant, or put back by itself
            return
        super().freeze(value, node, freezer)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living view."""
        return live if node.label.startswith("of the ") else super().thaw(node, live, thawer)


class ModelCodec:
    """``MjModel`` and its kin are taken as constants, each world having its own."""

    kind = "mujoco-model"

    def accepts(self, cls: type) -> bool:
        """Whatever else MuJoCo defines."""
        return module_of(cls).startswith("mujoco")

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Nothing."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one."""
        return live
