"""Frozen values with other random numbers."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

from rl_tracking.adapters.freezing.core import Node
from rl_tracking.adapters.freezing.encoding import to_bytes
from rl_tracking.adapters.freezing.randomness import RANDOM_KINDS, reseeded


def randomness(frozen: Any) -> int:
    """A number that follows from the states of all generators in a frozen value."""
    found: list[Any] = []
    _replaced(frozen, lambda node: found.append(node.content) or node)  # type: ignore[func-returns-value]
    return int.from_bytes(hashlib.blake2b(to_bytes(found), digest_size=8).digest())


def with_new_randomness(frozen: Any, seed: tuple[int, ...]) -> Any:
    """The same value with every generator in it started afresh: the i-th from ``(*seed, i)``."""
    numbers = itertools.count()
    return _replaced(frozen, lambda node: reseeded(node, (*seed, next(numbers))))


def _replaced(frozen: Any, new: Callable[[Node], Node]) -> Any:
    """A copy with other nodes in place of its generators' nodes; each node is replaced once."""
    made: dict[int, Node] = {}

    def rebuilt(part: Any) -> Any:
        if isinstance(part, dict):
            # In the order that a dictionary has after it was written as bytes.
            return {name: rebuilt(part[name]) for name in sorted(part)}
        if isinstance(part, list | tuple):
            return type(part)(map(rebuilt, part))
        if type(part) is not Node or id(part) in made:
            return made.get(id(part), part)
        if part.kind in RANDOM_KINDS:
            copy = new(part)
        else:
            # What a layer's node keeps beside its content is read from the new content.
            copy = Node(part.kind, part.label, None, None if part.kind == "layer-state" else part.ref)
            copy.copy = part.copy
        made[id(part)] = copy
        if part.kind == "history":
            # The steps that were made stay as they are; only what follows them gets other numbers.
            copy.label, copy.content = "reseeded", [*part.content[:-1], rebuilt(part.content[-1])]
        elif part.kind not in RANDOM_KINDS:
            copy.content = rebuilt(part.content)
        copy.shared = part.shared
        return copy

    return rebuilt(frozen)
