"""Freezing values into nodes and thawing them again; see :mod:`rl_tracking.adapters.freezing`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rl_tracking.errors import UsageError

# Immutable values that stand for themselves.
ATOMS: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, np.bool_, np.str_, np.bytes_}
    | {np.dtype(code).type for code in "bhilqBHILQefdgFDGmM"}
)
_DEEPEST = 180  # objects within objects; Python's own recursion limit would end the run
_LONGEST_PATH = 100  # characters


class NotCopyableError(Exception):
    """Something is not a value; ``path`` leads to it from the environment, ``kind`` says what it is."""

    def __init__(self, kind: str, path: str = "") -> None:
        super().__init__(kind)
        self.kind, self.path = kind, path

    def __str__(self) -> str:
        path = self.path.lstrip(".")
        return f"{path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + '...'} is {self.kind}"


class Node:
    """A frozen value that is no atom; it never changes once it is complete, so states may share it.

    Attributes:
        kind: name of the codec that thaws it.
        label: which class, function or variant, as text.
        content: atoms, nodes, read-only arrays, and tuples, lists and dicts of these.
        ref: the class or function itself; None in a node that was read from bytes.
        copy: makes the value without a codec; None where there is no such function.
        shared: whether several places refer to it.
    """

    __slots__ = ("content", "copy", "kind", "label", "ref", "shared")

    def __init__(self, kind: str, label: str = "", content: Any = None, ref: Any = None) -> None:
        self.kind, self.label, self.content, self.ref = kind, label, content, ref
        self.copy: Callable[[], Any] | None = None
        self.shared = False


class Codec:
    """How values of some types are frozen and thawed.

    Attributes:
        kind: name of the nodes it makes.
        types: the classes whose values it freezes, without subclasses.
    """

    kind: str
    types: tuple[type, ...] = ()

    def accepts(self, cls: type) -> bool:
        """Whether values of this class are frozen here."""
        return cls in self.types

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        """Fill in ``node``; the return value replaces the node unless it is None."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The value of a node; ``live`` is what is in its place now, None if nothing is."""
        return live


class Codecs:
    """The codecs in use: the first that accepts a class freezes its values."""

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)
        self._by_type: dict[type, Codec | None] = {}
        self.by_kind = {codec.kind: codec for codec in codecs}

    def of(self, cls: type) -> Codec | None:
        """The codec of a class, or None if its values cannot be copied."""
        if cls not in self._by_type:
            self._by_type[cls] = next((codec for codec in self._codecs if codec.accepts(cls)), None)
        return self._by_type[cls]

    def with_first(self, *codecs: Codec) -> Codecs:
        """These codecs with others asked before them."""
        return Codecs((*codecs, *self._codecs))

    def with_last(self, *codecs: Codec) -> Codecs:
        """These codecs with others asked after them."""
        return Codecs((*self._codecs, *codecs))


class Freezer:
    """Freezes values one after the other; an object that is met again becomes the same node.

    Args:
        codecs: the codecs in use.
        places: the nodes of the environment and its wrappers, by id; see :func:`places_of`.
    """

    def __init__(self, codecs: Codecs, places: Mapping[int, Node] | None = None) -> None:
        self._codecs = codecs
        self._seen: dict[int, Any] = dict(places or {})
        self._alive: list[Any] = []  # an id is valid only while its object lives
        self.memory: dict[int, Node] = {}  # of tensors, by its address
        self._depth = 0

    def freeze(self, value: Any) -> Any:
        """An atom or a node.

        Raises:
            NotCopyableError: the value or something in it cannot be copied.
        """
        cls = type(value)
        if cls in ATOMS:
            return value
        known = self._seen.get(id(value))
        if known is not None:
            if type(known) is Node:
                known.shared = True
            return known
        codec = self._codecs.of(cls)
        if codec is None:
            raise NotCopyableError(f"a {label_of(cls).replace(':', '.').lstrip('.')}, whose state cannot be read")
        node = Node(codec.kind)
        self._seen[id(value)] = node  # before its content, which may refer back to it
        self._alive.append(value)
        instead = codec.freeze(value, node, self)
        if instead is not None:
            self._seen[id(value)] = instead
            return instead
        return node

    def freeze_at(self, step: str, value: Any) -> Any:
        """Like :meth:`freeze`; an error's path gets ``step``, which is ``.name`` or ``[key]``."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise NotCopyableError("nested too deep")
            return self.freeze(value)
        except NotCopyableError as error:
            error.path = step + error.path
            raise
        finally:
            self._depth -= 1

    def met(self) -> list[tuple[Any, Any]]:
        """Every object that was frozen, with its node."""
        return [(value, self._seen.get(id(value))) for value in self._alive]

    def mark(self) -> int:
        """A position for :meth:`forget`."""
        return len(self._alive)

    def forget(self, mark: int) -> None:
        """Forget what was frozen since ``mark``; after an error its nodes are incomplete."""
        for value in self._alive[mark:]:
            self._seen.pop(id(value), None)


def places_of(layers: Sequence[Any]) -> dict[int, Node]:
    """A node for each layer; a reference to a layer becomes one to the layer in the same place."""
    return {id(layer): Node("layer", "", place) for place, layer in enumerate(layers)}


class Thawer:
    """Makes values of nodes within one environment, one restore after the other.

    Args:
        codecs: those that froze them.
        layers: the environment and its wrappers, in the order they were frozen in.
    """

    def __init__(self, codecs: Codecs, layers: Sequence[Any]) -> None:
        self._codecs, self.layers = codecs, layers
        self._thawed: dict[int, Any] = {}
        self._reused: dict[int, Any] = {}

    def begin(self) -> None:
        """Forget the previous restore."""
        self._thawed.clear()
        self._reused.clear()

    def thaw(self, frozen: Any, live: Any = None) -> Any:
        """The value of an atom or a node; ``live`` is in its place now and may be reused."""
        if type(frozen) is not Node:
            return frozen
        if frozen.copy is not None and not frozen.shared:
            return frozen.copy()
        key = id(frozen)
        if frozen.shared and key in self._thawed:
            return self._thawed[key]
        codec = self._codecs.by_kind.get(frozen.kind)
        if codec is None:
            raise UsageError(f"this state holds a '{frozen.kind}', which is not known here")
        if not frozen.shared:
            return codec.thaw(frozen, live, self)
        value = self._thawed[key] = codec.thaw(frozen, live, self)
        return value

    def remember(self, node: Node, value: Any) -> None:
        """Say what a node becomes before its content is thawed, which may refer back to it."""
        self._thawed[id(node)] = value

    def may_reuse(self, live: Any) -> bool:
        """Whether ``live`` may become a node's value; each object becomes the value of one node only."""
        if id(live) in self._reused:
            return False
        self._reused[id(live)] = live
        return True


def resolve(label: str) -> type:
    """The class ``module:qualified.name``, if its module is loaded; nothing is imported or run.

    Raises:
        UsageError: there is no such class.
    """
    module, _, path = label.partition(":")
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, type):
        raise UsageError(f"this state holds a {label.replace(':', '.')}, which is not loaded here")
    return found


def label_of(cls: type) -> str:
    """The name by which :func:`resolve` finds a class."""
    return f"{module_of(cls)}:{cls.__qualname__}"


def module_of(cls: type) -> str:
    """The module of a class; an empty text for classes of some C libraries, which have none."""
    return str(getattr(cls, "__module__", ""))
