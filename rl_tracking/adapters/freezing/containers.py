"""Lists, tuples, sets, dictionaries, queues and bytes."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

from rl_tracking.adapters.freezing.core import (
    ATOMS,
    Codec,
    Freezer,
    Node,
    NotCopyableError,
    Thawer,
    label_of,
    resolve,
)


def _elements(parts: list[Any], live: Any, thawer: Thawer) -> list[Any]:
    """The elements again; spaces among them stay the live ones in their places."""
    if isinstance(live, list | tuple) and len(live) == len(parts):
        places = zip(parts, live, strict=True)
        return [thawer.thaw(part, now if type(part) is Node and part.kind == "space" else None) for part, now in places]
    return [thawer.thaw(part) for part in parts]


class _Lists(Codec):
    """Lists, and double-ended queues with their greatest length."""

    kind = "list"
    types = (list, deque)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        if type(value) is deque:
            node.label = f"deque {'' if value.maxlen is None else value.maxlen}"
        if ATOMS.issuperset(map(type, value)):
            kept = value.copy()
            node.content, node.copy = kept if type(kept) is list else list(kept), kept.copy
        else:
            node.content = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value)]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        longest = node.label.removeprefix("deque ")
        made: Any = deque(maxlen=int(longest) if longest else None) if node.label else []
        thawer.remember(node, made)
        made.extend(_elements(node.content, live, thawer))
        return made


class _Tuples(Codec):
    """Tuples and named tuples; a tuple of atoms stands for itself."""

    kind = "tuple"

    def accepts(self, cls: type) -> bool:
        return cls is tuple or (issubclass(cls, tuple) and hasattr(cls, "_fields"))

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        parts = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value)]
        if type(value) is tuple:
            if not any(type(part) is Node for part in parts):
                return value
        else:
            node.label, node.ref = label_of(type(value)), type(value)
        node.content = parts
        return None

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        parts = _elements(node.content, live, thawer)
        return tuple.__new__(node.ref or resolve(node.label), parts) if node.label else tuple(parts)


class _Sets(Codec):
    """Sets of immutable elements; a copy iterates in the same order."""

    kind = "set"
    types = (set, frozenset)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        if any(type(freezer.freeze(part)) is Node for part in value):
            raise NotCopyableError("a set of objects")
        node.label, node.content, node.copy = type(value).__name__, list(value), value.copy().copy

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        if node.copy is not None:
            return node.copy()
        return set(node.content) if node.label == "set" else frozenset(node.content)


_DICTS: dict[str, Any] = {cls.__name__: cls for cls in (dict, OrderedDict, defaultdict, Counter)}


class _Dicts(Codec):
    """Dictionaries of the standard library, in their order; keys are immutable."""

    kind = "dict"
    types = tuple(_DICTS.values())

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label = type(value).__name__
        if type(value) is dict and ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
            node.content, node.copy = [list(value.items()), None], value.copy().copy
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


class _Bytes(Codec):
    """Bytes that may be changed."""

    kind = "bytes"
    types = (bytearray,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.content = bytes(value)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return bytearray(node.content)


CONTAINER_CODECS = (_Lists(), _Dicts(), _Tuples(), _Sets(), _Bytes())
