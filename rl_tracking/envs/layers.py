"""The fields of one layer, an environment or a wrapper, saved and put back."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rl_tracking.envs.faithful import Freezer, Node, NotCopyableError, Thawer
from rl_tracking.envs.faithful.arrays import copier as array_copier
from rl_tracking.envs.faithful.containers import copier as container_copier
from rl_tracking.envs.faithful.core import ATOMS, module_of
from rl_tracking.envs.faithful.references import draws
from rl_tracking.envs.stacks import Env, constant_fields

# How a layer was made and described, and the layer below it.
_NO_STATE = frozenset(
    "env spec metadata _cached_spec _metadata _observation_space _action_space "
    "_saved_kwargs _ezpickle_args _ezpickle_kwargs".split()
)


class Layer:
    """Saves the fields of one layer and puts them back.

    Which fields are atoms, which are copied and which are no state is worked out once for every set of fields and
    types that is met: this runs at every step of every branch.
    """

    def __init__(self, layer: Env) -> None:
        self.layer = layer
        self.name = type(layer).__name__
        self._skipped = _NO_STATE | set(constant_fields(layer))
        self._names: tuple[str, ...] = ()
        self._types: tuple[type, ...] = ()
        self._atoms: list[str] = []
        self._copied: list[str] = []
        self._others: frozenset[str] = frozenset()

    def freeze(self, freezer: Freezer) -> Node:
        """Two dictionaries: the fields that are atoms, and those that were frozen."""
        fields = vars(self.layer)
        names, types = tuple(fields), tuple(map(type, fields.values()))
        if types != self._types or names != self._names:
            self._sort(names, types)
        atoms = {name: fields[name] for name in self._atoms}
        return Node("layer-state", self.name, [atoms, self._frozen(fields, freezer)], self._others)

    def _sort(self, names: tuple[str, ...], types: tuple[type, ...]) -> None:
        self._names, self._types = names, types
        state = [(name, cls) for name, cls in zip(names, types, strict=True) if self._is_state(name, cls)]
        self._atoms = [name for name, cls in state if cls in ATOMS]
        self._copied = [name for name, cls in state if cls not in ATOMS]
        self._others = frozenset(names) - {name for name, _ in state}

    def _is_state(self, name: str, cls: type) -> bool:
        if name in self._skipped or (cls.__name__ == "MjModel" and module_of(cls).startswith("mujoco")):
            return False
        return not (issubclass(cls, gym.Space) or draws(cls))

    def _frozen(self, fields: dict[str, Any], freezer: Freezer) -> dict[str, Any]:
        name = ""
        try:
            frozen = {}
            for name in self._copied:
                frozen[name] = freezer.freeze(fields[name])
        except NotCopyableError as error:
            error.path = f"{self.name}.{name}{error.path}"
            raise
        return frozen

    def thaw(self, node: Node, thawer: Thawer) -> None:
        """Set the fields; those that came later go, and what draws stays."""
        plan = node.ref
        if type(plan) is not _Plan:
            plan = node.ref = _Plan(node)
        fields: dict[str, Any] = self.layer.__dict__
        shown = [(name, fields[name]) for name in plan.unset if fields.get(name) is not None] if plan.unset else ()
        fields.update(plan.values)
        for name, value in shown:
            if draws(type(value)):
                fields[name] = value
        for name, copy in plan.copies:
            fields[name] = copy()
        for name, part in plan.deep:
            fields[name] = thawer.thaw(part, fields.get(name))
        if len(fields) != plan.size or (plan.others and not fields.keys() >= plan.others):
            self._drop_later(fields, node)

    def _drop_later(self, fields: dict[str, Any], node: Node) -> None:
        atoms, frozen = node.content
        for name in fields.keys() - atoms.keys() - frozen.keys():
            if self._is_state(name, type(fields[name])):
                del fields[name]


class LooseLayer(Layer):
    """Saves the fields that can be copied, and leaves the other ones out."""

    def _frozen(self, fields: dict[str, Any], freezer: Freezer) -> dict[str, Any]:
        frozen = {}
        for name in self._copied:
            mark = freezer.mark()
            try:
                frozen[name] = freezer.freeze(fields[name])
            except NotCopyableError:
                freezer.forget(mark)
        return frozen

    def _drop_later(self, fields: dict[str, Any], node: Node) -> None:
        """Nothing: what was left out is not known."""


class _Plan:
    """What thawing a layer's node amounts to, worked out at the first time; many siblings follow."""

    __slots__ = ("copies", "deep", "others", "size", "unset", "values")

    def __init__(self, node: Node) -> None:
        atoms, frozen = node.content
        # Tuples of atoms are frozen as themselves.
        self.values = {**atoms, **{name: part for name, part in frozen.items() if type(part) is not Node}}
        nodes = [(name, part) for name, part in frozen.items() if type(part) is Node]
        quick = {name: None if part.shared else array_copier(part) or container_copier(part) for name, part in nodes}
        self.copies = [(name, copy) for name, copy in quick.items() if copy is not None]
        self.deep = [(name, part) for name, part in nodes if quick[name] is None]
        # What draws may come to stand where there was nothing.
        self.unset = [name for name, value in atoms.items() if value is None]
        others: frozenset[str] = node.ref or frozenset()  # not known of a node that was read from bytes
        self.size = len(atoms) + len(frozen) + len(others)
        self.others = others - _NO_STATE  # those that one layer of a class may have and another not
