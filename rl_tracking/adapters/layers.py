"""The fields of one layer, an environment or a wrapper, saved and restored."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym

from rl_tracking.adapters.freezing import (
    ATOMS,
    Freezer,
    Node,
    NotCopyableError,
    Thawer,
    is_display,
    module_of,
    slots_in,
    slots_of,
)
from rl_tracking.adapters.reached_code import of_library
from rl_tracking.adapters.stacks import Env, constant_fields, displays_of

# How a layer was made, described and displayed, and the layer below it.
_NO_STATE = frozenset(
    "env spec metadata render render_mode _cached_spec _metadata _observation_space _action_space "
    "_saved_kwargs _ezpickle_args _ezpickle_kwargs".split()
)


class Layer:
    """Saves the fields of one layer and restores them.

    Which fields are atoms, which are copied and which are no state is found once for every set of fields and types
    that occurs, because this runs at every step of every branch.

    Args:
        layer: an environment or a wrapper.
        fields: whether to save fields that are no spaces.
        spaces: whether to save the generators of its spaces.
    """

    def __init__(self, layer: Env, *, fields: bool = True, spaces: bool = True) -> None:
        self.layer = layer
        self.name = type(layer).__name__
        self._class = type(layer)
        self._with_fields, self._with_spaces = fields, spaces
        self._skipped = _NO_STATE | set(constant_fields(layer))
        if not of_library(layer):
            self._skipped -= {"metadata"}  # of the class, unless the layer has its own
        self._names: tuple[str, ...] = ()
        self._n_rendered = 0
        self._types: tuple[type, ...] = ()
        self._atoms: list[str] = []
        self._copied: list[str] = []
        self._others: tuple[str, ...] = ()
        self._slotted = bool(slots_of(type(layer)))
        self.rendered = _note_what_render_makes(layer)

    def _fields(self) -> dict[str, Any]:
        """Its attributes by name; its own dictionary if it has no slots."""
        return vars(self.layer) | slots_in(self.layer) if self._slotted else self.layer.__dict__

    def freeze(self, freezer: Freezer) -> Node:
        """A node of the fields that are atoms, those that were frozen, and the names of those that are no state."""
        if type(self.layer) is not self._class:
            raise NotCopyableError(f"of another class than {self.name}, which it was", self.name)
        fields = self._fields()
        names, types = tuple(fields), tuple(map(type, fields.values()))
        if types != self._types or names != self._names or len(self.rendered) != self._n_rendered:
            self._sort(names, types)
        atoms = {name: fields[name] for name in self._atoms}
        return Node("layer-state", self.name, [atoms, self._frozen(fields, freezer), self._others])

    def _sort(self, names: tuple[str, ...], types: tuple[type, ...]) -> None:
        self._names, self._types, self._n_rendered = names, types, len(self.rendered)
        state = [(name, cls) for name, cls in zip(names, types, strict=True) if self._is_state(name, cls)]
        self._atoms = [name for name, cls in state if cls in ATOMS]
        self._copied = [name for name, cls in state if cls not in ATOMS]
        self._others = tuple(sorted(set(names) - {name for name, _ in state}))

    def _is_state(self, name: str, cls: type) -> bool:
        if issubclass(cls, gym.Space):
            return self._with_spaces
        if not self._with_fields or name in self._skipped or name in self.rendered:
            return False
        return not (is_display(cls) or (cls.__name__ == "MjModel" and module_of(cls).startswith("mujoco")))

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
        """Set the fields; those that came later go, and what displays the world stays."""
        plan = node.ref
        if plan is None:
            plan = node.ref = _Plan(node)
        fields = self._fields() if self._slotted else self.layer.__dict__
        # What was displayed later than the save, or is made by render, stays.
        came = [name for name in plan.unset if fields.get(name) is not None] if plan.unset else None
        kept = self._displayed(fields, came or []) if came or self.rendered else None
        fields.update(plan.values)
        for name, copy in plan.copies:
            fields[name] = copy()
        for name, part in plan.nodes:
            fields[name] = thawer.thaw(part, fields.get(name))
        if kept:
            fields.update(kept)
        if len(fields) != plan.size or (plan.others and not fields.keys() >= plan.others):
            self._drop_later(fields, plan)
        if self._slotted:
            self._set(fields)

    def _displayed(self, fields: dict[str, Any], came: list[str]) -> dict[str, Any]:
        made = {name: fields[name] for name in self.rendered if fields.get(name) is not None}
        return made | {name: fields[name] for name in came if is_display(type(fields[name]))}

    def _set(self, fields: dict[str, Any]) -> None:
        slots = slots_of(type(self.layer))
        for name in slots_in(self.layer).keys() - fields.keys():
            object.__delattr__(self.layer, name)
        for name in fields.keys() & set(slots):
            object.__setattr__(self.layer, name, fields.pop(name))
        own = vars(self.layer)
        own.clear()
        own.update(fields)

    def _drop_later(self, fields: dict[str, Any], plan: _Plan) -> None:
        for name in fields.keys() - plan.names:
            if self._with_fields and self._is_state(name, type(fields[name])):
                del fields[name]


class CopyableFields(Layer):
    """Saves the fields that can be copied and no others, which remain as they are; no spaces."""

    def __init__(self, layer: Env) -> None:
        super().__init__(layer, spaces=False)

    def _frozen(self, fields: dict[str, Any], freezer: Freezer) -> dict[str, Any]:
        frozen = {}
        for name in self._copied:
            mark = freezer.mark()
            try:
                frozen[name] = freezer.freeze(fields[name])
            except NotCopyableError:
                freezer.forget(mark)
        return frozen

    def _drop_later(self, fields: dict[str, Any], plan: _Plan) -> None:
        """Nothing, because a field that is not in the state may have been there."""


class _Plan:
    """How to thaw a layer's node, prepared at its first restore: many siblings follow."""

    __slots__ = ("copies", "names", "nodes", "others", "size", "unset", "values")

    def __init__(self, node: Node) -> None:
        atoms, frozen, others = node.content
        self.names, self.others = {*atoms, *frozen, *others}, frozenset(others) - _NO_STATE  # these never go
        self.size = len(self.names)
        # Tuples of atoms are frozen as themselves.
        self.values = {**atoms, **{name: part for name, part in frozen.items() if type(part) is not Node}}
        nodes = [(name, part) for name, part in frozen.items() if type(part) is Node]
        self.copies = [(name, part.copy) for name, part in nodes if part.copy is not None and not part.shared]
        nodes = [(name, part) for name, part in nodes if part.copy is None or part.shared]
        # Spaces come first, so that whatever else refers to a space gets this layer's.
        self.nodes = sorted(nodes, key=lambda entry: entry[1].kind != "space")
        self.unset = [name for name, value in atoms.items() if value is None]


def _note_what_render_makes(layer: Any) -> set[str]:
    """Names of the fields that ``render`` makes where nothing was; the set grows as they come.

    An environment renders when it is asked to, or by itself in every step (``render_mode="human"``); both go through
    its ``render``, which is wrapped here. Such fields belong to drawing, whatever they hold, and are no state.
    """
    fields: dict[str, Any] = vars(layer)
    if getattr(layer, "render_mode", None) is None or type(layer).render is gym.Wrapper.render:
        return set()
    render: Any = layer.render
    if hasattr(render, "makes"):  # it was wrapped before
        known: set[str] = render.makes
        return known
    # What it displayed before it came here.
    made = {name for name, value in fields.items() if id(value) in displays_of(layer)}

    @functools.wraps(render)
    def noting(*arguments: Any, **more: Any) -> Any:
        before = {name for name, value in fields.items() if value is not None}
        try:
            return render(*arguments, **more)
        finally:
            now = {name for name, value in fields.items() if value is not None and type(value) not in ATOMS}
            made.update(now - before)

    noting.makes = made  # type: ignore[attr-defined]
    fields["render"] = noting
    return made
