"""Objects of Python classes, and references to the environment itself."""

from __future__ import annotations

import types
import weakref
from typing import Any

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, Thawer, label_of, resolve
from rl_tracking.errors import UsageError

_HEAP_TYPE = 1 << 9  # of ``__flags__``: made by a class statement, or by a C library at run time
_EMPTY = object()


class Objects(Codec):
    """Objects of Python classes, by their attributes; restored in place, so references to them stay valid."""

    kind = "object"

    def accepts(self, cls: type) -> bool:
        """Classes whose objects consist of their attributes and nothing else."""
        slots = len(slots_of(cls))
        # Memory beyond a dict, a weak reference and the slots belongs to a C library or to a built-in type.
        hidden = (
            cls.__basicsize__ > _size_of(cls, slots) or cls.__itemsize__ != 0 or any(map(_is_built_in, cls.__mro__))
        )
        return not hidden and (slots > 0 or cls.__dictoffset__ != 0)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Attribute by attribute."""
        cls = type(value)
        node.label, node.ref = label_of(cls), cls
        fields = getattr(value, "__dict__", {}) | slots_in(value)
        node.content = {name: freezer.freeze_at(f".{name}", part) for name, part in fields.items()}

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live object if it is of the same class and may change, else a new one.

        An object that holds windows or pictures belongs to drawing and is not made where there is none.
        """
        cls = node.ref or (type(live) if label_of(type(live)) == node.label else resolve(node.label))
        if type(live) is not cls and any(map(_holds_display, node.content.values())):
            return live
        frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
        made = live if type(live) is cls and not frozen and thawer.may_reuse(live) else _bare(cls, node)
        thawer.remember(node, made)
        fields = getattr(made, "__dict__", {})
        slots = slots_of(cls)
        # Attributes that came after the save go.
        for name in [name for name in (*fields, *slots_in(made)) if name not in node.content]:
            if name in slots:
                object.__delattr__(made, name)
            else:
                del fields[name]
        for name, part in node.content.items():
            if name in slots:
                object.__setattr__(made, name, thawer.thaw(part, _slot(made, name, None)))
            else:
                fields[name] = thawer.thaw(part, fields.get(name))
        return made


def _holds_display(frozen: Any) -> bool:
    """Whether a frozen attribute, or an element of it, is a window, a picture or the like."""
    if type(frozen) is not Node:
        return False
    if frozen.kind == "constant":
        return bool(frozen.content)
    if frozen.kind == "dict":
        return any(_holds_display(part) for _, part in frozen.content[0])
    return frozen.kind in ("list", "tuple") and any(map(_holds_display, frozen.content))


def _is_built_in(cls: type) -> bool:
    """Whether a class keeps something that is no attribute, as ``float`` does."""
    return cls.__basicsize__ > _size_of(cls, 0) and not cls.__flags__ & _HEAP_TYPE


def _size_of(cls: type, slots: int) -> int:
    """Bytes of an object that has a dict and a weak reference where its class says so, some slots, and nothing else."""
    return object.__basicsize__ + 8 * (slots + (cls.__weakrefoffset__ != 0) + (cls.__dictoffset__ > 0))


def _bare(cls: Any, node: Node) -> Any:
    """An object without attributes; no code of its class runs."""
    if node.ref is None and (hasattr(cls, "__del__") or not Objects().accepts(cls)):
        raise UsageError(f"this state holds a {node.label.replace(':', '.')}, which cannot be made from bytes")
    built_in = isinstance(cls.__new__, types.BuiltinFunctionType)  # a namespace of the standard library's
    return cls.__new__(cls) if built_in else object.__new__(cls)


_SLOTS: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()


def slots_of(cls: type) -> tuple[str, ...]:
    """The slots of a class and its bases, by the names that their values are found under."""
    known = _SLOTS.get(cls)
    if known is None:
        known = _SLOTS[cls] = _slots(cls)
    return known


def _slots(cls: type) -> tuple[str, ...]:
    names: list[str] = []
    for base in cls.__mro__:
        own = base.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else tuple(own):
            private = name.startswith("__") and not name.endswith("__")
            stem = base.__name__.lstrip("_")
            names.append(f"_{stem}{name}" if private and stem else name)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def slots_in(value: Any) -> dict[str, Any]:
    """The slots of an object that hold something."""
    found = {name: _slot(value, name, _EMPTY) for name in slots_of(type(value))}
    return {name: part for name, part in found.items() if part is not _EMPTY}


def _slot(value: Any, name: str, otherwise: Any) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return otherwise


class _Layers(Codec):
    """References to the environment or a wrapper of it: the layer in that place of the restored environment."""

    kind = "layer"

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return thawer.layers[node.content]


OBJECT_CODECS = (_Layers(), Objects())
