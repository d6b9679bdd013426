"""Gymnasium's spaces: a space stays that of whoever is restored, and the generators that it draws from are put back.

Most environments never draw from their spaces, and a restore must not pay for those that could. So a generator that
nobody has asked for yet is put back as a :class:`Pending` one, which costs an assignment.
"""

from __future__ import annotations

import copy
import zlib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_tracking.adapters.freezing.core import Freezer, Node, Thawer, label_of
from rl_tracking.adapters.freezing.randomness import generator_of
from rl_tracking.errors import UsageError

Space = gym.Space[Any]

_LEAVES = frozenset({spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Text})
_NOBODY_DRAWS = np.random.PCG64(0)


class Pending(np.random.Generator):
    """A generator that stands in a space until somebody draws: then the real one is made, and takes its place.

    Args:
        space: that it stands in.
        node: the frozen generator; may be replaced as long as nobody has drawn.
    """

    __slots__ = ("made", "node", "space")

    def __init__(self, space: Space, node: Node) -> None:
        super().__init__(_NOBODY_DRAWS)
        self.space, self.node = space, node
        self.made: np.random.Generator | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in ("space", "node", "made", "real", "__class__", "__deepcopy__", "__reduce_ex__"):
            return super().__getattribute__(name)
        return getattr(self.real(), name)

    def real(self) -> np.random.Generator:
        """The generator itself."""
        if self.made is None:
            self.made = generator_of(self.node)
            self.__class__ = Drawn  # what is a Pending has not been drawn from, wherever it is held
        if self.space._np_random is self:
            self.space._np_random = self.made
        return self.made

    def __deepcopy__(self, memo: dict[int, Any]) -> np.random.Generator:
        return generator_of(self.node) if self.made is None else copy.deepcopy(self.made, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return copy.deepcopy(self).__reduce_ex__(protocol)


class Drawn(Pending):
    """What a pending generator becomes for those who hold it beside its space."""

    __slots__ = ()


# Quicker than asking a Pending itself, whose attributes are those of the real one.
_node_of = vars(Pending)["node"].__get__


def pending_in(space: Space) -> Node | None:
    """What a space's generator is to start from, if nobody has drawn from it."""
    now: Any = getattr(space, "_np_random", None)
    return _node_of(now) if type(now) is Pending else None


def parts_of(space: Space) -> tuple[Space, ...]:
    """A space and those it consists of, each once."""
    if type(space) in _LEAVES:
        return (space,)
    found = {id(space): space}
    waiting = [space]
    while waiting:
        for value in vars(waiting.pop()).values():
            inner = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            )
            new = [part for part in inner if isinstance(part, gym.Space) and id(part) not in found]
            found |= {id(part): part for part in new}
            waiting += new
    return tuple(found.values())


class Spaces:
    """The generators of spaces; one codec serves one environment.

    A generator that is not there yet is settled when the space is saved: what is drawn then is drawn again after a
    restore. It follows from the environment's seed and from where the space is.

    Args:
        env: unwrapped.
    """

    kind = "space"

    def __init__(self, env: Any) -> None:
        self._env = env
        self.seed = 0  # in place of the environment's, where that has none

    def accepts(self, cls: type) -> bool:
        """All of them."""
        return issubclass(cls, gym.Space)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """A generator for each of its parts."""
        node.label, node.ref = label_of(type(value)), value
        node.content = [self._frozen(part, freezer) for part in parts_of(value)]

    def _frozen(self, part: Any, freezer: Freezer) -> Any:
        now = getattr(part, "_np_random", part)
        if now is part:  # a space of one's own, without such a field
            return None
        if now is None:
            now = part._np_random = Pending(part, Node("seed", "", self._words(freezer)))
        return _node_of(now) if type(now) is Pending else freezer.freeze(now)

    def _words(self, freezer: Freezer) -> tuple[int, ...]:
        seed = getattr(self._env, "_np_random_seed", None)
        freezer.settled += 1
        words = (self.seed if seed is None else seed, zlib.crc32(freezer.place.encode()), freezer.settled)
        return tuple(int(word) % 2**64 for word in words)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living space, or a copy of the saved one where there is none of its class.

        Raises:
            UsageError: there is none, and the node was read from bytes.
        """
        if live is None or label_of(type(live)) != node.label:
            if node.ref is None:
                raise UsageError(f"this state refers to {node.label.replace(':', '.')}, which bytes cannot hold")
            live = copy.deepcopy(node.ref)
        put(node.content, live, thawer)
        return live


def put(generators: list[Any], space: Space, thawer: Thawer) -> None:
    """Give a space the frozen generators of one like it; a space of other parts keeps its own."""
    parts: tuple[Any, ...] = parts_of(space)
    if len(parts) != len(generators):
        return
    for part, frozen in zip(parts, generators, strict=True):
        if frozen is None:
            continue
        now = getattr(part, "_np_random", None)
        later = type(now) is Pending or now is None or getattr(frozen, "kind", "") == "seed"
        if not later or type(frozen) is not Node or frozen.kind not in ("generator", "seed"):
            part._np_random = thawer.thaw(frozen, now)
        elif frozen.shared:
            part._np_random = thawer.made_before(frozen) or Pending(part, frozen)
            thawer.remember(frozen, part._np_random)
        elif type(now) is Pending:
            now.node = frozen
        else:
            part._np_random = Pending(part, frozen)


class Pendings:
    """Pending generators where another than their space holds them."""

    kind = "pending"

    def accepts(self, cls: type) -> bool:
        """They alone, drawn from or not."""
        return issubclass(cls, Pending)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        """What its space would give."""
        if value.made is not None:
            return freezer.freeze(value.made)
        value.node.shared = True
        return value.node

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """Never called."""
