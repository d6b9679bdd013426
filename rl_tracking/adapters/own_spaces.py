"""Every world draws from spaces of its own, as it does from generators of its own."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import Space, parts_of

Env = gym.Env[Any, Any]


def separate(layers: Iterable[Env], others: Iterable[Env]) -> None:
    """Replace those spaces of some layers that other layers hold as well by copies without a generator."""
    taken = {id(part) for layer in others for space in _spaces(layer).values() for part in parts_of(space)}
    memo: dict[int, Any] = {}
    for layer in layers:
        for name, space in _spaces(layer).items():
            if any(id(part) in taken for part in parts_of(space)):
                vars(layer)[name] = copied = copy.deepcopy(space, memo)
                _forget(copied, None)


@contextlib.contextmanager
def untouched(layers: Iterable[Env]) -> Iterator[None]:
    """Restore the generators of the spaces of some layers; a sibling may draw from the same while it is built."""
    parts: list[Any] = [part for layer in layers for space in _spaces(layer).values() for part in parts_of(space)]
    kept: list[tuple[Any, Any]] = [(part, getattr(part, "_np_random", None)) for part in parts]
    states = [now.bit_generator.state if type(now) is np.random.Generator else None for _, now in kept]
    yield
    for (part, now), state in zip(kept, states, strict=True):
        if now is not None:
            part._np_random = now
        if state is not None:
            now.bit_generator.state = state


def forget_generators(env: Env) -> None:
    """Have a copy of an environment draw from its spaces otherwise than the original does."""
    for space in _spaces(env).values():
        _forget(space, vars(env).get("_np_random"))


def _spaces(layer: Env) -> dict[str, Space]:
    return {name: value for name, value in vars(layer).items() if isinstance(value, gym.Space)}


def _forget(space: Space, shared: Any) -> None:
    for part in parts_of(space):
        # A generator that is the environment's own is seeded with it.
        if getattr(part, "_np_random", None) is not shared:
            part._np_random = None
