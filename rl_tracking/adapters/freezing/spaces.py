"""Gymnasium's spaces: a restored world keeps its own spaces, and gets the saved generators that they draw from."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, Thawer, label_of
from rl_tracking.errors import UsageError

Space = gym.Space[Any]

_LEAVES = frozenset({spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Text})


def parts_of(space: Space) -> tuple[Any, ...]:
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


class Spaces(Codec):
    """The generators of spaces; one codec serves one world.

    Gymnasium makes the generator of a space at its first draw, from a seed that cannot be repeated. So a space that has
    none when it is saved gets the world's, which follows from the world's seed.

    Args:
        env: unwrapped.
    """

    kind = "space"

    def __init__(self, env: Any) -> None:
        self._env = env
        self._generator: np.random.Generator | None = None
        self.seed = 0  # used where the environment has no seed

    def accepts(self, cls: type) -> bool:
        """Every space."""
        return issubclass(cls, gym.Space)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """One generator for each part; None for a part of a class that keeps none."""
        node.label, node.ref, node.content = label_of(type(value)), value, []
        for part in parts_of(value):
            if getattr(part, "_np_random", part) is None:
                part._np_random = self._of_world()
            node.content.append(freezer.freeze(getattr(part, "_np_random", None)))

    def _of_world(self) -> np.random.Generator:
        if self._generator is None:
            seed = getattr(self._env, "_np_random_seed", None)
            words = (self.seed if seed is None else int(seed) % 2**64, 0x5ACE)  # another stream than the environment's
            self._generator = np.random.default_rng(words)
        return self._generator

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live space, or a copy of the saved one where there is none of its class; with the saved generators.

        Raises:
            UsageError: there is none, and the node was read from bytes.
        """
        if type(live) is type(node.ref) and type(live) in _LEAVES:  # as nearly all are
            live._np_random = thawer.thaw(node.content[0], live._np_random)
            return live
        if type(live) is not type(node.ref) and (live is None or label_of(type(live)) != node.label):
            if node.ref is None:
                raise UsageError(f"this state refers to {node.label.replace(':', '.')}, which bytes cannot hold")
            live = copy.deepcopy(node.ref)
        parts = parts_of(live)
        if len(parts) == len(node.content):
            for part, frozen in zip(parts, node.content, strict=True):
                if frozen is not None:
                    part._np_random = thawer.thaw(frozen, part._np_random)
        return live
