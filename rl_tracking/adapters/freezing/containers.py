"""Lists, tuples, sets, dictionaries and queues."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from rl_tracking.adapters.freezing.core import ATOMS, Freezer, Node, NotCopyableError, Thawer, label_of, resolve


def _elements(parts: list[Any], live: Any, thawer: Thawer) -> list[Any]:
    """The elements again; those that are spaces stay the living ones in their places."""
    if isinstance(live, list | tuple) and len(live) == len(parts):
        places = zip(parts, live, strict=True)
        return [thawer.thaw(part, now if type(part) is Node and part.kind == "space" else None) for part, now in places]
    return [thawer.thaw(part) for part in parts]


class Lists:
    """Lists."""

    kind = "list"

    def accepts(self, cls: type) -> bool:
        """Plain lists."""
        return cls is list

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Element by element, or all at once if they are atoms."""
        if ATOMS.issuperset(map(type, value)):
            node.content = node.ref = value.copy()
        else:
            node.content = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value)]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new list."""
        made: list[Any] = []
        thawer.remember(node, made)
        made.extend(_elements(node.content, live, thawer))
        return made


class Tuples:
    """Tuples and named tuples; one of atoms stands for itself."""

    kind = "tuple"

    def accepts(self, cls: type) -> bool:
        """Subclasses only if they are named tuples."""
        return cls is tuple or (issubclass(cls, tuple) and hasattr(cls, "_fields"))

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        """Element by element."""
        parts = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value)]
        if type(value) is tuple:
            if not any(type(part) is Node for part in parts):
                return value
        else:
            node.label, node.ref = label_of(type(value)), type(value)
        node.content = parts
        return None

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new tuple."""
        parts = _elements(node.content, live, thawer)
        return tuple.__new__(node.ref or resolve(node.label), parts) if node.label else tuple(parts)


class Sets:
    """Sets of immutable elements."""

    kind = "set"

    def accepts(self, cls: type) -> bool:
        """Plain and frozen sets."""
        return cls in (set, frozenset)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """A copy, which iterates in the same order."""
        if any(type(freezer.freeze(part)) is Node for part in value):
            raise NotCopyableError("a set of objects")
        node.label, node.content, node.ref = type(value).__name__, list(value), value.copy()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new set."""
        if node.ref is not None:
            return node.ref.copy()
        return set(node.content) if node.label == "set" else frozenset(node.content)


_DICTS: dict[str, Any] = {cls.__name__: cls for cls in (dict, OrderedDict, defaultdict, Counter)}


class Dicts:
    """Dictionaries, in their order; keys are immutable."""

    kind = "dict"

    def accepts(self, cls: type) -> bool:
        """The standard library's."""
        return cls in _DICTS.values()

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Key by key, or all at once if there are only atoms."""
        node.label = type(value).__name__
        if type(value) is dict and ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
            node.content, node.ref = [list(value.items()), None], value.copy()
            return
        pairs = []
        for key, part in value.items():
            frozen = freezer.freeze(key)
            if type(frozen) is Node and frozen.kind not in ("value", "enum", "constant"):
                raise NotCopyableError(f"a dict with {type(key).__name__} keys")
            pairs.append((frozen, freezer.freeze_at(f"[{key!r}]", part)))
        factory = getattr(value, "default_factory", None)
        node.content = [pairs, freezer.freeze_at(".default_factory", factory)]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new dictionary; constants in it stay those of the living one."""
        if node.ref is not None:
            return node.ref.copy()
        pairs, factory = node.content
        made = _DICTS[node.label]()
        if factory is not None:
            made.default_factory = thawer.thaw(factory, getattr(live, "default_factory", None))
        thawer.remember(node, made)
        now = live if isinstance(live, dict) else {}
        for frozen, part in pairs:
            key = thawer.thaw(frozen)
            made[key] = thawer.thaw(part, now.get(key))
        return made


class Deques:
    """Double-ended queues and their greatest length."""

    kind = "deque"

    def accepts(self, cls: type) -> bool:
        """Plain ones."""
        return cls is deque

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Element by element, or all at once if they are atoms."""
        if ATOMS.issuperset(map(type, value)):
            node.content, node.ref = [value.maxlen, list(value)], value.copy()
        else:
            parts = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value)]
            node.content = [value.maxlen, parts]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new queue."""
        made: deque[Any] = deque(maxlen=node.content[0])
        thawer.remember(node, made)
        made.extend([thawer.thaw(part) for part in node.content[1]])
        return made


class Bytes:
    """Bytes that may be changed."""

    kind = "bytes"

    def accepts(self, cls: type) -> bool:
        """``bytearray``."""
        return cls is bytearray

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """A copy."""
        node.content = bytes(value)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """New ones."""
        return bytearray(node.content)


def copier(node: Node) -> Callable[[], Any] | None:
    """The quick way to thaw a flat container; None if there is none."""
    return node.ref.copy if node.kind in ("list", "dict", "set", "deque") and node.ref is not None else None


CONTAINER_CODECS = (Lists(), Dicts(), Tuples(), Sets(), Deques(), Bytes())
