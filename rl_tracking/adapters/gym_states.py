"""States of Gymnasium environments as one value."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from rl_tracking.adapters.freezing import (
    RANDOM_KINDS,
    Node,
    differences,
    from_bytes,
    reseeded,
    to_bytes,
    without_clocks,
)


@dataclasses.dataclass(frozen=True)
class GymStates:
    """The states of some worlds as one value; nothing in it ever changes, so copies share what is equal.

    Attributes:
        worlds: one frozen state each, see :mod:`rl_tracking.adapters.freezing`.
    """

    worlds: tuple[Node, ...]

    def __len__(self) -> int:
        """Number of worlds."""
        return len(self.worlds)

    def __getitem__(self, worlds: int | slice | Iterable[Any]) -> Self:
        """Some of the worlds, by number, slice, numbers or mask; one number gives one world."""
        if isinstance(worlds, slice):
            return type(self)(self.worlds[worlds])
        chosen = np.atleast_1d(np.asarray(worlds))
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return type(self)(tuple(self.worlds[int(world)] for world in chosen))

    def repeat(self, n: int) -> Self:
        """``n`` copies of every world, branch-major.

        Raises:
            ValueError: n is not positive.
        """
        if n < 1:
            raise ValueError(f"a state can be repeated 1 time or more, not {n}")
        return type(self)(self.worlds * n)

    def reseeded(self, seed: int) -> Self:
        """The same worlds with other randomness: every generator starts afresh from (seed, world, i).

        ``set_state(states)`` brings the same random numbers again; ``set_state(states.reseeded(seed))`` does not.
        """
        return type(self)(tuple(with_new_randomness(world, (seed, i)) for i, world in enumerate(self.worlds)))

    def forked(self, branches: int) -> Self:
        """``branches`` copies of every world, branch-major: the first as it is, each other with randomness of its own.

        It follows from the generators of the world, so that equal states give equal forks.
        """
        seeds = [randomness(world) for world in self.worlds]
        others = [
            with_new_randomness(world, (seed, branch))
            for branch in range(1, branches)
            for world, seed in zip(self.worlds, seeds, strict=True)
        ]
        return type(self)((*self.worlds, *others))

    def differences(self, other: object, *, spaces: bool = True) -> list[str]:
        """Names of what differs, such as ``TimeLimit._elapsed_steps``; empty when bit-equal.

        Args:
            other: states of as many worlds.
            spaces: whether the generators of spaces count, from which others than the environment may have drawn.
        """
        if not isinstance(other, GymStates):
            return [f"GymStates is not {type(other).__name__}"]
        if len(self) != len(other):
            return [f"{len(self)} worlds are not {len(other)}"]
        found: dict[str, None] = {}
        for mine, theirs in zip(self.worlds, other.worlds, strict=True):
            paths = differences(mine, theirs, frozenset() if spaces else frozenset({"space"}))
            found |= dict.fromkeys(path or "the strategy that saved them" for path in paths)
        return list(found)

    def decisive_differences(self, other: object) -> list[str]:
        """The fields that differ and decide the next steps: neither the time of day nor the generators of spaces."""
        return without_clocks(self.differences(other, spaces=False))

    def to_bytes(self) -> bytes:
        """A copy without pickled objects: a JSON tree and the arrays as ``.npy``.

        Raises:
            UsageError: a field holds something that has no form as bytes.
        """
        return to_bytes(list(self.worlds))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The states that :meth:`to_bytes` wrote, to be restored in an environment like theirs.

        Raises:
            ValueError: the bytes are something else.
        """
        worlds = from_bytes(data)
        if not isinstance(worlds, list) or not all(type(w) is Node and w.kind == "world" for w in worlds):
            raise ValueError("these bytes hold no saved GymStates")
        return cls(tuple(worlds))


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
