"""Objects of Python classes, and references to the environment itself."""

from __future__ import annotations

from typing import Any

from rl_tracking.envs.faithful.core import Freezer, Node, Thawer, label_of, resolve
from rl_tracking.errors import UsageError


class Objects:
    """Objects of Python classes, by their attributes; restored in place, so that who refers to them still does."""

    kind = "object"

    def accepts(self, cls: type) -> bool:
        """Classes whose objects consist of their attributes and nothing else."""
        slots = len(_slots(cls))
        # What does not fit into a dict, a weak reference and the slots belongs to a C library.
        hidden = cls.__basicsize__ > object.__basicsize__ + 8 * (slots + 2) or cls.__itemsize__ != 0
        return not hidden and (slots > 0 or cls.__dictoffset__ != 0)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Attribute by attribute."""
        cls = type(value)
        node.label, node.ref = label_of(cls), cls
        fields = dict(getattr(value, "__dict__", {}))
        fields |= {name: getattr(value, name) for name in _slots(cls) if hasattr(value, name)}
        node.content = {name: freezer.freeze_at(f".{name}", part) for name, part in fields.items()}

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living object if it is of the same class and may change, else a new one."""
        cls = node.ref or (type(live) if label_of(type(live)) == node.label else resolve(node.label))
        frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
        made = live if type(live) is cls and not frozen and thawer.may_reuse(live) else _bare(cls, node)
        thawer.remember(node, made)
        fields = getattr(made, "__dict__", {})
        for name in [name for name in fields if name not in node.content]:
            del fields[name]
        for name, part in node.content.items():
            if name in _slots(cls):
                object.__setattr__(made, name, thawer.thaw(part, getattr(made, name, None)))
            else:
                fields[name] = thawer.thaw(part, fields.get(name))
        return made


def _bare(cls: Any, node: Node) -> Any:
    """An object without attributes; no code of its class runs."""
    if node.ref is None and (hasattr(cls, "__del__") or not Objects().accepts(cls)):
        raise UsageError(f"this state holds a {node.label.replace(':', '.')}, which cannot be made from bytes")
    return object.__new__(cls)


def _slots(cls: type) -> tuple[str, ...]:
    names: list[str] = []
    for base in cls.__mro__:
        own = base.__dict__.get("__slots__", ())
        names += [own] if isinstance(own, str) else own
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


class Layers:
    """References to the environment or a wrapper of it."""

    kind = "layer"

    def accepts(self, cls: type) -> bool:
        """None: the freezer knows them by identity."""
        return False

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Never called."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The layer in that place of the environment that is restored."""
        return thawer.layers[node.content]


OBJECT_CODECS = (Layers(), Objects())
