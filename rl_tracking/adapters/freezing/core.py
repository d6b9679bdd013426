"""Freezing and thawing; see :mod:`rl_tracking.adapters.freezing`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rl_tracking.errors import UsageError

ATOMS: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, np.bool_, np.str_, np.bytes_}
    | {np.dtype(code).type for code in "bhilqBHILQefdgFDGmM"}
)


_DEEPEST = 180  # objects within objects
_LONGEST_PATH = 100  # characters


class NotCopyableError(Exception):
    """Something is no value; ``path`` leads to it from the environment, ``kind`` says what it is."""

    def __init__(self, kind: str, path: str = "") -> None:
        super().__init__(kind)
        self.kind, self.path = kind, path

    def __str__(self) -> str:
        path = self.path.lstrip(".")
        return f"{path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + '...'} is {self.kind}"


class Node:
    """A frozen value that is no atom; never changed once it is complete, so it may be shared.

    Attributes:
        kind: name of the codec that thaws it.
        label: which class, function or sort, as text.
        content: atoms, nodes, arrays that nobody writes to, and tuples, lists and dicts of these.
        ref: the class, function or flat container itself; None in a node that was read from bytes.
        shared: whether several places refer to it.
    """

    __slots__ = ("content", "kind", "label", "ref", "shared")

    def __init__(self, kind: str, label: str = "", content: Any = None, ref: Any = None) -> None:
        self.kind, self.label, self.content, self.ref = kind, label, content, ref
        self.shared = False


class Codec(Protocol):
    """How values of some types are frozen and thawed."""

    kind: str

    def accepts(self, cls: type) -> bool:
        """Whether values of this class are frozen here."""

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        """Fill in ``node``; what is returned, unless None, stands in its place."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The value again; ``live`` is what stands in its place now, None if nothing does."""


class Codecs:
    """The codecs in force: the first that accepts a class freezes its values."""

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
        """These, with others asked before them."""
        return Codecs((*codecs, *self._codecs))

    def with_last(self, *codecs: Codec) -> Codecs:
        """These, with others asked after them."""
        return Codecs((*self._codecs, *codecs))


class Freezer:
    """Freezes values one after the other; what is met again becomes the same node.

    Args:
        codecs: how.
        places: the nodes of the environment and its wrappers, by id; see :func:`places_of`.
    """

    def __init__(self, codecs: Codecs, places: Mapping[int, Node] | None = None) -> None:
        self._codecs = codecs
        self._seen: dict[int, Any] = dict(places or {})
        self._alive: list[Any] = []  # an id is only good as long as its object lives
        self.memory: dict[int, Node] = {}  # of tensors, by its address
        self._depth = 0
        self.place, self.settled = "", 0  # where it is, and how many spaces got their generator settled

    def freeze(self, value: Any) -> Any:
        """An atom or a node.

        Raises:
            NotCopyableError: it or something in it is no value.
        """
        cls = type(value)
        if cls in ATOMS:
            return value
        known = self._seen.get(id(value))
        if known is not None:
            if type(known) is Node:
                if known.kind == "claimed":
                    raise NotCopyableError("what belongs to something else, too")
                known.shared = True
            return known
        codec = self._codecs.of(cls)
        if codec is None:
            raise NotCopyableError(f"a {label_of(cls).replace(':', '.').lstrip('.')}, whose state cannot be read")
        node = Node(codec.kind)
        self._seen[id(value)] = node  # before its content, which may lead back here
        self._alive.append(value)
        instead = codec.freeze(value, node, self)
        if instead is not None:
            self._seen[id(value)] = instead
            return instead
        return node

    def freeze_at(self, step: str, value: Any) -> Any:
        """Like :meth:`freeze`, and an error says where it was: ``step`` is ``.name`` or ``[key]``."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:  # before Python's own limit, which would end the run
                raise NotCopyableError("nested too deep")
            return self.freeze(value)
        except NotCopyableError as error:
            error.path = step + error.path
            raise
        finally:
            self._depth -= 1

    def claim(self, part: Any) -> bool:
        """Whether nothing else has met ``part``, which is frozen as one with its owner."""
        if id(part) in self._seen:
            return False
        self._seen[id(part)] = Node("claimed")
        self._alive.append(part)
        return True

    def meet(self, value: Any, node: Node) -> bool:
        """Take ``node`` for ``value``, which was frozen before, unless it has been met already."""
        if id(value) in self._seen:
            return False
        self._seen[id(value)] = node
        self._alive.append(value)
        return True

    def met(self) -> list[tuple[Any, Any]]:
        """All that was frozen, beside what it became."""
        return [(value, self._seen.get(id(value))) for value in self._alive]

    def mark(self) -> int:
        """What :meth:`forget` goes back to."""
        return len(self._alive)

    def forget(self, mark: int) -> None:
        """Forget what was met since, after an error: its nodes are incomplete."""
        for value in self._alive[mark:]:
            self._seen.pop(id(value), None)


def places_of(layers: Sequence[Any]) -> dict[int, Node]:
    """A node for each layer: what refers to one will refer to the one in that place."""
    return {id(layer): Node("layer", "", place) for place, layer in enumerate(layers)}


class Thawer:
    """Makes values of frozen ones, within one environment; one restore after the other.

    Args:
        codecs: those that froze them.
        layers: the environment and its wrappers, in the order they were frozen in.
    """

    def __init__(self, codecs: Codecs, layers: Sequence[Any]) -> None:
        self._codecs, self.layers = codecs, layers
        self._made: dict[int, Any] = {}
        self._taken: dict[int, Any] = {}

    def begin(self) -> None:
        """Forget the previous restore."""
        self._made.clear()
        self._taken.clear()

    def thaw(self, frozen: Any, live: Any = None) -> Any:
        """The value of an atom or a node; ``live`` stands in its place now and may be reused."""
        if type(frozen) is not Node:
            return frozen
        key = id(frozen)
        if key in self._made:
            return self._made[key]
        codec = self._codecs.by_kind.get(frozen.kind)
        if codec is None:
            raise UsageError(f"this state holds a '{frozen.kind}', which is not known here")
        value = codec.thaw(frozen, live, self)
        self._made[key] = value
        return value

    def remember(self, node: Node, value: Any) -> None:
        """Say what a node becomes before its content is thawed, which may lead back to it."""
        self._made[id(node)] = value

    def made_before(self, node: Node) -> Any:
        """What a node became in this restore; None if it has not been met."""
        return self._made.get(id(node))

    def may_reuse(self, live: Any) -> bool:
        """Whether ``live`` may become a node's value; each object becomes the value of one node only."""
        if id(live) in self._taken:
            return False
        self._taken[id(live)] = live
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
    """What :func:`resolve` finds a class by."""
    return f"{module_of(cls)}:{cls.__qualname__}"


def module_of(cls: type) -> str:
    """The module of a class; those of some C libraries have none."""
    return str(getattr(cls, "__module__", ""))
