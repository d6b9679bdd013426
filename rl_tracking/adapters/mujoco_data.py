"""The state of ``MjData``: everything on which the next step, or a reader of the data before it, depends.

Positions and velocities alone do not reproduce a step after contact, because the solver starts from the last
accelerations. And what is derived from the state (``xpos``, ``cfrc_ext`` ...) belongs to the moment before the last
integration: computing it anew would give other numbers than those that an environment subtracts.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from rl_tracking.adapters.freezing import Arrays, Codec, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.mujoco import ALIGNMENT, MOST_KNOWN, Array, address_of, is_mujocos, stretches


class _Layout:
    """Where the numbers of an ``MjData`` are: its integration state, and its buffer as few stretches of memory."""

    def __init__(self, data: Any) -> None:
        self._mujoco: Any = sys.modules["mujoco"]
        self._data, self._model = data, data.model
        self._what = int(self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._size = int(self._mujoco.mj_stateSize(self._model, self._what))
        self._start = address_of(data.qpos)
        self._end = self._start + int(data.nbuffer)
        # A plugin's pointers lie between the arrays and must stay: then nothing is joined.
        padding = 0 if self._model.nplugin else ALIGNMENT - 1
        self._stretches = stretches(data, padding, lambda _, array: self.holds(array))
        self._sizes = [self._size, *map(len, self._stretches)]

    def holds(self, array: Array) -> bool:
        """Whether an array is a view of the data's buffer."""
        address = address_of(array)
        return self._start <= address and address + array.nbytes <= self._end

    def model_holds(self, array: Array) -> bool:
        """Whether an array is a view of the model."""
        first, end = self._model_range
        return first <= address_of(array) < end

    @functools.cached_property
    def _model_range(self) -> tuple[int, int]:
        memory = [(address_of(part), len(part)) for part in stretches(self._model, 0, lambda *_: True)]
        return min(memory)[0], max(start + size for start, size in memory)

    def read(self) -> list[Any]:
        """A copy: the integration state (float64), then each stretch (uint8)."""
        state = np.empty(self._size)
        self._mujoco.mj_getState(self._model, self._data, state, self._what)
        return [state, *[stretch.copy() for stretch in self._stretches]]

    def write(self, numbers: list[Any]) -> None:
        """Restore what :meth:`read` gave, of this data or of a sibling's."""
        if list(map(len, numbers)) != self._sizes:
            raise NotCopyableError("of another MuJoCo model")
        self._mujoco.mj_setState(self._model, self._data, numbers[0], self._what)
        for index, live in enumerate(self._stretches):
            live[:] = numbers[index + 1]


def codecs(data: Iterable[Any]) -> tuple[Codec, ...]:
    """The codecs of MuJoCo's objects for one environment, which holds these ``MjData``."""
    known = _Data()
    for each in data:
        known.layout(each)
    return known, _Views(known), _Models()


class _Data(Codec):
    """``MjData``, by its numbers; the layout of each is kept."""

    kind = "mujoco-data"

    def __init__(self) -> None:
        self.layouts: dict[int, _Layout] = {}

    def accepts(self, cls: type) -> bool:
        return cls.__name__ == "MjData" and is_mujocos(cls)

    def layout(self, data: Any) -> _Layout:
        found = self.layouts.get(id(data))
        if found is None:
            if len(self.layouts) > MOST_KNOWN:
                self.layouts.clear()
            found = self.layouts[id(data)] = _Layout(data)
        return found

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.content = self.layout(value).read()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live data, with the saved numbers."""
        known = self.layouts.get(id(live))
        if known is None:
            if not self.accepts(type(live)):
                raise NotCopyableError("MuJoCo data where there is none")
            known = self.layout(live)
        known.write(node.content)
        return live


class _Views(Arrays):
    """Arrays that are views of an ``MjData`` are restored with it; other arrays are copied."""

    kind = "mujoco-array"

    def __init__(self, data: _Data) -> None:
        self._data = data

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        layouts = self._data.layouts.values()
        if value.base is not None and any(layout.holds(value) for layout in layouts):
            node.label = "of the data"
        elif value.base is not None and any(layout.model_holds(value) for layout in layouts):
            node.label = "of the model"  # which is a constant, or restored by itself
        else:
            super().freeze(value, node, freezer)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return live if node.label in ("of the data", "of the model") else super().thaw(node, live, thawer)


class _Models(Codec):
    """``MjModel`` and whatever else MuJoCo defines: constants, each world having its own."""

    kind = "mujoco-model"

    def accepts(self, cls: type) -> bool:
        return is_mujocos(cls)
