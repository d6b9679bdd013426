"""MuJoCo's state: everything that the next step, or who reads the data before it, depends on.

Positions and velocities alone do not reproduce a step after contact: the solver starts from the last accelerations.
And what is derived from the state (``xpos``, ``cfrc_ext`` ...) belongs to the moment before the last integration, so
computing it anew would give other numbers than the ones an environment subtracts.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from rl_tracking.envs.faithful import Freezer, Node, NotCopyableError, Thawer
from rl_tracking.envs.faithful.arrays import Arrays
from rl_tracking.envs.faithful.core import module_of

_ALIGNMENT = 64  # bytes: MuJoCo starts every array of its buffer at such a multiple


def is_mujoco(env: Any) -> bool:
    """Whether an unwrapped environment simulates with MuJoCo."""
    return any(_is(value, "MjData") for value in vars(env).values())


def _is(value: Any, name: str) -> bool:
    return type(value).__name__ == name and module_of(type(value)).startswith("mujoco")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MuJoCo from repeating what it says of a model (and from writing it to a file) for every sibling."""
    mujoco: Any = sys.modules.get("mujoco")
    if mujoco is None:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


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
    models = [name for name, value in vars(env).items() if _is(value, "MjModel")]
    for mine, theirs in [(vars(env)[name], vars(other)[name]) for name in models]:
        for part, twin in ((mine, theirs), (mine.opt, theirs.opt)):
            for name in dir(part):
                value = None if name.startswith("_") else getattr(part, name)
                if isinstance(value, np.ndarray) and value.size:
                    if value.tobytes() != getattr(twin, name).tobytes():
                        yield part, twin, name
                elif isinstance(value, float) and value != getattr(twin, name):
                    yield part, twin, name


class Layout:
    """Where the numbers of an ``MjData`` are: its integration state, and its buffer as few stretches of memory."""

    def __init__(self, data: Any) -> None:
        self._mujoco: Any = sys.modules["mujoco"]
        self.data, self._model = data, data.model
        self._what = int(self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._size = int(self._mujoco.mj_stateSize(self._model, self._what))
        self.start = _address(data.qpos)
        self.end = self.start + int(data.nbuffer)
        self._stretches = self._contiguous()
        self._sizes = [self._size, *map(len, self._stretches)]

    def _contiguous(self) -> list[np.ndarray[Any, Any]]:
        """The buffer's public arrays as bytes, joined across the padding between them."""
        arrays = []
        for name in dir(self.data):
            value = None if name.startswith("_") else getattr(self.data, name)
            if isinstance(value, np.ndarray) and value.size and self.holds(value):
                arrays.append((_address(value), value.nbytes, value))
        arrays.sort(key=lambda entry: entry[0])
        # A plugin's pointers lie between the arrays and must stay: then nothing is joined.
        padding = 0 if self._model.nplugin else _ALIGNMENT - 1
        joined: list[tuple[int, int, Any]] = []
        for address, size, array in arrays:
            if joined and address - sum(joined[-1][:2]) <= padding:
                first, _, base = joined[-1]
                joined[-1] = (first, address + size - first, base)
            else:
                joined.append((address, size, array))
        return [_memory(array, size) for _, size, array in joined]

    def holds(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether an array is a view of the buffer."""
        address = _address(array)
        return self.start <= address and address + array.nbytes <= self.end

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
        super().freeze(value, node, freezer)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living view."""
        return live if node.label == "of the data" else super().thaw(node, live, thawer)


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
