"""The ways to save and restore one environment under its wrappers, in the order they are tried.

Each is a class with a name; its constructor raises :class:`WayNotOpenError` where it has nothing to work with, and
:func:`rl_tracking.adapters.contract.find_way` uses none that was not seen to be faithful. The wrappers' own fields, and
every generator in them, are saved by all of them.

An auto-reset has no seed, as in SB3. That is no use where only a reset with a seed makes the generator anew: so some
ways (:func:`seeded`, and playing an episode again) give every reset a seed, which follows from the world's key, its
seed or a random number, and from the episode's number. Both are part of the saved state, so a branch that runs into the
next episode finds the world's own; ``fork(noise="independent")`` gives a branch another key.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters import mujoco as mujoco_state
from rl_tracking.adapters.freezing import CODECS, Codecs, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.core import module_of, places_of
from rl_tracking.adapters.freezing.spaces import Spaces
from rl_tracking.adapters.layers import Layer, SpacesAlone
from rl_tracking.adapters.reached_code import is_library
from rl_tracking.adapters.stacks import Env, layers_of, name_of
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import NotRestorableError


class WayNotOpenError(Exception):
    """A way of saving that an environment does not have; the text says what it lacks."""


class Fields:
    """A copy of the environment's own fields, and of its wrappers'."""

    title = "a copy of its fields"
    slow = False
    seeds_resets = False  # whether a reset that nobody gives a seed gets one from the world's key and its episode

    def __init__(self, env: Env) -> None:
        self.env, self._layers = env, layers_of(env)
        self._places = places_of(self._layers)
        self.spaces = Spaces(self._layers[0])
        self._codecs = self._open().with_first(self.spaces)
        self._parts = [Layer(layer) for layer in self._layers]
        self._thawer = Thawer(self._codecs, self._layers)
        self._chain = _chain_of(env)
        self.key: tuple[int, ...] = ()
        self.episode = 0

    def next_seed(self, seed: int | None = None) -> int | None:
        """What the next reset is to be seeded with: ``seed`` if there is one, or one of the way's own, or nothing."""
        if seed is not None:
            self.key, self.episode = (int(seed),), 0
        elif self.seeds_resets:
            if not self.key:  # nobody gave this world a seed
                self.key = tuple(int(word) for word in np.random.SeedSequence().generate_state(4))
            self.episode += 1
            return int(np.random.SeedSequence((*self.key, self.episode)).generate_state(1)[0] >> 1)
        return seed

    def begin(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode: the first of a seed, or the one after the present."""
        return self.env.reset(seed=self.next_seed(seed))

    def _open(self) -> Codecs:
        try:
            freezer = Freezer(CODECS, self._places)
            for layer in self._layers:
                Layer(layer).freeze(freezer)
        except NotCopyableError as error:
            raise WayNotOpenError(str(error)) from error
        return CODECS

    def save(self) -> Node:
        """The present state.

        Raises:
            NotRestorableError: a field has come to hold what cannot be copied.
        """
        replaced = self.replaced()
        if replaced is not None:
            raise NotRestorableError(f"{name_of(self.env)} cannot be saved: {replaced}")
        freezer = Freezer(self._codecs, self._places)
        try:
            episodes = (Node("seed", "", self.key), self.episode) if self.seeds_resets else None
            content = [self._core(freezer), episodes, *[part.freeze(freezer) for part in self._parts]]
        except NotCopyableError as error:
            raise NotRestorableError(f"{name_of(self.env)} cannot be saved: {error}") from error
        return Node("world", self.title, content)

    def replaced(self) -> str | None:
        """Which wrapper holds another environment than it did, of which nothing would be saved; None if none does."""
        for wrapper, inner in self._chain:
            if wrapper.env is not inner:
                return f"{type(wrapper).__name__} has put another environment inside it"
        return None

    def _core(self, freezer: Freezer) -> Any:
        """What is saved beside the fields."""

    def restore(self, state: Node) -> None:
        """Put a state back, of this environment or of a sibling.

        Raises:
            UsageError: it is of another environment.
            NotRestorableError: it does not fit, as where a reset has made another MuJoCo model.
        """
        core, episodes, *saved = state.content
        if state.label != self.title or len(saved) != len(self._parts):
            raise self._foreign()
        thawer = self._thawer
        thawer.begin()
        if episodes is not None:
            self.key, self.episode = episodes[0].content, episodes[1]
        try:
            if core is not None:
                self._restore_core(core, thawer)
            for part, node in zip(self._parts, saved, strict=False):
                if node.label != part.name:
                    raise self._foreign()
                part.thaw(node, thawer)
        except NotCopyableError as error:
            raise NotRestorableError(f"{name_of(self.env)} cannot be put back: it holds something {error}") from error

    def _foreign(self) -> UsageError:
        return UsageError(f"these states are of another environment than {name_of(self.env)}")

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        """Put back what :meth:`_core` saved."""


class MujocoFields(Fields):
    """MuJoCo's integration state with all that was derived from it, and the fields."""

    title = "MuJoCo's full state and a copy of its fields"

    def _open(self) -> Codecs:
        base = self._layers[0]
        found = mujoco_state.found_in(base, "MjData") if "mujoco" in sys.modules else {}
        if not found:
            raise WayNotOpenError("it does not simulate with MuJoCo")
        data = mujoco_state.DataCodec()
        for value in found.values():
            data.layout(value)
        # Environments of libraries leave their models as they are; comparing them would cost them time.
        ours = all(is_library(module_of(type(layer))) for layer in self._layers)
        self._models = None if ours else mujoco_state.ModelNumbers(base)
        return CODECS.with_first(data, mujoco_state.ViewCodec(data), mujoco_state.ModelCodec())

    def _core(self, freezer: Freezer) -> Any:
        return None if self._models is None else Node("mujoco-models", "", self._models.read())

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        if self._models is not None:
            self._models.write(core.content)


class OwnMethods(Fields):
    """The environment's own ``get_state`` and ``set_state``, with its generator and its wrappers' fields."""

    title = "its own get_state and set_state"

    def _open(self) -> Codecs:
        base: Any = self._layers[0]
        if not callable(getattr(base, "get_state", None)) or not callable(getattr(base, "set_state", None)):
            raise WayNotOpenError("it has no get_state and set_state")
        if not (_callable_with(base.get_state, 0) and _callable_with(base.set_state, 1)):
            raise WayNotOpenError("its set_state takes more than the state")
        return CODECS

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._base: Any = self._layers[0]
        self._parts[0] = SpacesAlone(self._layers[0])

    def _core(self, freezer: Freezer) -> Any:
        own = freezer.freeze_at(".get_state()", self._base.get_state())
        return [own, freezer.freeze(self._base._np_random), self._base._np_random_seed]

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        own, generator, seed = core
        # The generator is set last: a set_state may draw from it.
        self._base.set_state(thawer.thaw(own))
        self._base._np_random = thawer.thaw(generator, self._base._np_random)
        self._base._np_random_seed = seed


def _chain_of(env: Any) -> list[tuple[Any, Any]]:
    """Each wrapper, with what it wraps."""
    found = []
    while isinstance(env, gym.Wrapper):
        found.append((env, env.env))
        env = env.env
    return found


def seeded(way: type[Fields]) -> type[Fields]:
    """The same way, for environments whose episodes can only be repeated from a reset with a seed."""
    title = f"{way.title}, each reset with a seed of its own"
    return type(f"Seeded{way.__name__}", (way,), {"seeds_resets": True, "title": title, "__doc__": way.__doc__})


def _callable_with(function: Any, arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except (TypeError, ValueError):
        return False
    return True
