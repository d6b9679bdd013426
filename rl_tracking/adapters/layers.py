"""The fields of one layer, an environment or a wrapper, saved and put back."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from rl_tracking.adapters.freezing import Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.arrays import copier as array_copier
from rl_tracking.adapters.freezing.containers import copier as container_copier
from rl_tracking.adapters.freezing.core import ATOMS, module_of
from rl_tracking.adapters.freezing.objects import slots_in, slots_of
from rl_tracking.adapters.freezing.references import is_display
from rl_tracking.adapters.freezing.spaces import Pending, pending_in, put
from rl_tracking.adapters.reached_code import is_library
from rl_tracking.adapters.stacks import Env, constant_fields, shown_by

# How a layer was made, described and is shown, and the layer below it.
_NO_STATE = frozenset(
    "env spec metadata render render_mode _cached_spec _metadata _observation_space _action_space "
    "_saved_kwargs _ezpickle_args _ezpickle_kwargs".split()
)

_Draws = Sequence[tuple[str, Node]]  # the name of a space, and its frozen generator
_NONE: tuple[dict[str, Node], _Draws] = {}, ()


class Layer:
    """Saves the fields of one layer and puts them back.

    Which fields are atoms, which are copied, which are spaces and which are no state is worked out once for every set
    of fields and types that is met: this runs at every step of every branch.
    """

    def __init__(self, layer: Env) -> None:
        self.layer = layer
        self.name = type(layer).__name__
        self._class = type(layer)
        self._skipped = _NO_STATE | set(constant_fields(layer))
        if not is_library(module_of(type(layer))):
            self._skipped -= {"metadata"}  # of a class, unless somebody keeps something there
        self._names: tuple[str, ...] = ()
        self._n_shown = 0
        self._types: tuple[type, ...] = ()
        self._atoms: list[str] = []
        self._copied: list[str] = []
        self._spaces: list[str] = []
        self._quiet: list[tuple[str, gym.Space[Any], Node, Node]] = []
        self._as_before: tuple[dict[str, Node], _Draws] = {}, []
        self._others: tuple[str, ...] = ()
        self._slotted = bool(slots_of(type(layer)))
        self.shown = _note_what_render_makes(layer)

    def _fields(self) -> dict[str, Any]:
        """Its attributes by name; its own dictionary if it has no slots."""
        return vars(self.layer) | slots_in(self.layer) if self._slotted else vars(self.layer)

    def freeze(self, freezer: Freezer) -> Node:
        """The fields that are atoms, those that were frozen, the generators of spaces, and names of no state."""
        if type(self.layer) is not self._class:
            raise NotCopyableError(f"of another class than {self.name}, which it was", self.name)
        fields = self._fields() if self._slotted else self.layer.__dict__
        names, types = tuple(fields), tuple(map(type, fields.values()))
        if types != self._types or names != self._names or len(self.shown) != self._n_shown:
            self._sort(names, types)
        atoms = {name: fields[name] for name in self._atoms}
        spaces, draws = self._generators(fields, freezer) if self._spaces else _NONE
        return Node(
            "layer-state", self.name, [atoms, self._frozen(fields, freezer), spaces, self._others], (len(fields), draws)
        )

    def _sort(self, names: tuple[str, ...], types: tuple[type, ...]) -> None:
        self._names, self._types, self._n_shown = names, types, len(self.shown)
        state = [(name, cls) for name, cls in zip(names, types, strict=True) if self._is_state(name, cls)]
        self._atoms = [name for name, cls in state if cls in ATOMS]
        self._copied = [name for name, cls in state if cls not in ATOMS]
        self._others = tuple(sorted(set(names) - {name for name, _ in state} - _NO_STATE))
        self._spaces = [name for name, cls in zip(names, types, strict=True) if self._is_space(name, cls)]

    def _is_state(self, name: str, cls: type) -> bool:
        if (
            name in self._skipped
            or name in self.shown
            or (cls.__name__ == "MjModel" and module_of(cls).startswith("mujoco"))
        ):
            return False
        return not (issubclass(cls, gym.Space) or is_display(cls))

    def _is_space(self, name: str, cls: type) -> bool:
        return issubclass(cls, gym.Space)

    def _generators(self, fields: dict[str, Any], freezer: Freezer) -> tuple[dict[str, Node], _Draws]:
        """The spaces by name, and the simple ones' generators; as the last time if nobody has drawn from any."""
        for name, space, generator, node in self._quiet:
            if fields[name] is not space or pending_in(space) is not generator or not freezer.meet(space, node):
                break
        else:
            if len(self._quiet) == len(self._spaces):
                return self._as_before
        frozen = {name: self._space(name, fields[name], freezer) for name in self._spaces}
        draws = _simple(frozen)
        self._quiet = [
            (name, fields[name], generator, frozen[name])
            for name, generator in draws
            if pending_in(fields[name]) is generator
        ]
        self._as_before = frozen, draws
        return self._as_before

    def _space(self, name: str, space: gym.Space[Any], freezer: Freezer) -> Any:
        freezer.place = f"{self.name}.{name}"
        try:
            return freezer.freeze(space)
        except NotCopyableError as error:
            error.path = f"{self.name}.{name}._np_random"
            raise

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
        """Set the fields; those that came later go, and what shows the world stays."""
        plan = node.ref
        if type(plan) is not _Plan:
            plan = node.ref = _Plan(node)
        fields: dict[str, Any] = self._fields() if self._slotted else self.layer.__dict__
        # Spaces come first: what else refers to one gets this layer's.
        for name, generator in plan.draws:
            try:
                now = fields[name]._np_random
            except (KeyError, AttributeError):  # no space is there now
                continue
            if type(now) is Pending:
                now.node = generator
            elif isinstance(fields[name], gym.Space):
                put([generator], fields[name], thawer)
        for name, part in plan.spaces:
            if isinstance(fields.get(name), gym.Space):
                fields[name] = thawer.thaw(part, fields[name])
        # A window may have come where there was nothing.
        kept = [(n, fields[n]) for n in plan.unset if fields.get(n) is not None] if plan.unset else None
        if kept or self.shown:
            kept = self._kept(fields, kept or [])
        fields.update(plan.values)
        for name, copy in plan.copies:
            fields[name] = copy()
        for name, part in plan.deep:
            fields[name] = thawer.thaw(part, fields.get(name))
        if kept:
            fields.update(kept)
        if len(fields) != plan.size or (plan.others and not fields.keys() >= plan.others):
            self._drop_later(fields, node)
        if self._slotted:
            self._set(fields)

    def _kept(self, fields: dict[str, Any], new: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Of the fields that stand where nothing was, those that show; and what ``render`` has made."""
        windows = [(name, value) for name, value in new if is_display(type(value))]
        return [*windows, *[(name, fields[name]) for name in self.shown if name in fields]]

    def _set(self, fields: dict[str, Any]) -> None:
        slots = slots_of(type(self.layer))
        for name in slots_in(self.layer).keys() - fields.keys():
            object.__delattr__(self.layer, name)
        for name in fields.keys() & set(slots):
            object.__setattr__(self.layer, name, fields.pop(name))
        own = vars(self.layer)
        own.clear()
        own.update(fields)

    def _drop_later(self, fields: dict[str, Any], node: Node) -> None:
        atoms, frozen, _, others = node.content
        for name in fields.keys() - atoms.keys() - frozen.keys() - set(others):
            if self._is_state(name, type(fields[name])):
                del fields[name]


def _note_what_render_makes(layer: Any) -> set[str]:
    """Names of the fields that ``render`` makes where nothing was; the set grows as they come.

    An environment shows itself when asked to, or by itself in every step (``render_mode="human"``); both go through
    its ``render``, which is watched. Such fields belong to drawing, whatever they hold, and are no state.
    """
    fields: dict[str, Any] = vars(layer)
    shown: set[str] = set()
    if getattr(layer, "render_mode", None) is None or type(layer).render is gym.Wrapper.render:
        return shown
    render: Any = layer.render
    if hasattr(render, "makes"):  # it is watched already
        made: set[str] = render.makes
        return made
    # What it showed before it came here.
    shown |= {name for name, value in fields.items() if id(value) in shown_by(layer)}

    @functools.wraps(render)
    def noting(*arguments: Any, **more: Any) -> Any:
        before = {name for name, value in fields.items() if value is not None}
        try:
            return render(*arguments, **more)
        finally:
            now = {name for name, value in fields.items() if value is not None and type(value) not in ATOMS}
            shown.update(now - before)

    noting.makes = shown  # type: ignore[attr-defined]
    fields["render"] = noting
    return shown


class LooseLayer(Layer):
    """Saves the fields that can be copied, and leaves the other ones out, and the spaces."""

    def _is_space(self, name: str, cls: type) -> bool:
        return False

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


class SpacesAlone(Layer):
    """Saves the generators of a layer's spaces, whose fields are saved otherwise."""

    def _is_state(self, name: str, cls: type) -> bool:
        return False

    def _drop_later(self, fields: dict[str, Any], node: Node) -> None:
        """Nothing."""


class _Plan:
    """What thawing a layer's node amounts to, worked out at the first time; many siblings follow."""

    __slots__ = ("copies", "deep", "draws", "others", "size", "spaces", "unset", "values")

    def __init__(self, node: Node) -> None:
        atoms, frozen, spaces, others = node.content
        # Neither is known of a node that was read from bytes.
        known: tuple[int, _Draws] = node.ref or (0, ())
        size, draws = known
        for name, generator in draws:
            if generator.shared or spaces[name].shared:  # by what was frozen after them
                draws = ()
        self.draws: _Draws = draws if len(draws) == len(spaces) else _simple(spaces)
        self.spaces: Sequence[tuple[str, Node]] = ()
        if len(self.draws) != len(spaces):
            self.spaces = [(name, part) for name, part in spaces.items() if not _is_simple(part)]
        # Tuples of atoms are frozen as themselves.
        self.values = {**atoms, **{name: part for name, part in frozen.items() if type(part) is not Node}}
        nodes = [(name, part) for name, part in frozen.items() if type(part) is Node]
        quick = {name: None if part.shared else array_copier(part) or container_copier(part) for name, part in nodes}
        self.copies = [(name, copy) for name, copy in quick.items() if copy is not None]
        self.deep = [(name, part) for name, part in nodes if quick[name] is None]
        self.unset = [name for name, value in atoms.items() if value is None]
        self.size, self.others = size, frozenset(others)


def _simple(spaces: dict[str, Node]) -> _Draws:
    """The generators of those spaces that have one, met nowhere else, by name."""
    return [(name, node.content[0]) for name, node in spaces.items() if _is_simple(node)]


def _is_simple(space: Node) -> bool:
    """Whether a space has one generator, and neither it nor that is met elsewhere."""
    if space.shared or space.kind != "space" or len(space.content) != 1:
        return False
    (generator,) = space.content
    return type(generator) is Node and not generator.shared
