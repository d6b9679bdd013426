"""The snapshot strategies: how one environment under its wrappers is saved and restored.

Each is a class; its constructor raises :class:`NotApplicableError` where the environment lacks what it needs, and
:func:`rl_tracking.adapters.select.select_strategy` uses the first one that passes the contract checks. The fields of
the wrappers, and every generator in them, are saved by all of them.

An auto-reset has no seed, as in SB3. Where only a reset with a seed makes the generator anew, such an episode cannot
be repeated. So some strategies (those of :func:`seeded`, and playing the episode again) seed every reset, from the
world's key and the number of the episode. The key is the world's seed, or a random number if it has none. Both are
saved, so a branch that runs into the next episode begins the same one as the world; ``fork(noise="independent")``
gives a branch another key.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters import mujoco, mujoco_data
from rl_tracking.adapters.freezing import CODECS, Codecs, Freezer, Node, NotCopyableError, Spaces, Thawer, places_of
from rl_tracking.adapters.layers import Layer
from rl_tracking.adapters.reached_code import of_library
from rl_tracking.adapters.stacks import Env, layers_of
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import NotRestorableError, name_of


class NotApplicableError(Exception):
    """The environment lacks what a snapshot strategy needs; the text says what."""


class Fields:
    """A copy of the environment's own fields, and of its wrappers'.

    Args:
        env: prepared.
        with_spaces: whether the generators of its spaces are state, see :mod:`rl_tracking.adapters.space_draws`.
    """

    title = "a copy of its fields"
    slow = False
    seeds_resets = False  # whether a reset without a seed gets one that follows from the world's key and its episode

    def __init__(self, env: Env, *, with_spaces: bool = True) -> None:
        self.env, self._layers = env, layers_of(env)
        self._places = places_of(self._layers)
        self.spaces = Spaces(self._layers[0])
        self._with_spaces = with_spaces
        codecs = self._applicable_codecs()
        self._codecs = codecs.with_first(self.spaces) if self._with_spaces else codecs
        self._parts = [Layer(layer, spaces=self._with_spaces) for layer in self._layers]
        self._thawer = Thawer(self._codecs, self._layers)
        self._chain = _chain_of(env)
        self.key: tuple[int, ...] = ()
        self.episode = 0

    def _applicable_codecs(self) -> Codecs:
        """The codecs that the environment is saved with.

        Raises:
            NotApplicableError: it cannot be saved with them.
        """
        try:
            freezer = Freezer(CODECS, self._places)
            for layer in self._layers:
                Layer(layer, spaces=False).freeze(freezer)
        except NotCopyableError as error:
            raise NotApplicableError(str(error)) from error
        return CODECS

    def next_seed(self, seed: int | None = None) -> int | None:
        """The seed of the next reset: ``seed`` if there is one, else one of the strategy's own if it seeds resets."""
        if seed is not None:
            self.key, self.episode = (int(seed),), 0
        elif self.seeds_resets:
            if not self.key:  # this world was never seeded
                self.key = tuple(int(word) for word in np.random.SeedSequence().generate_state(4))
            self.episode += 1
            return int(np.random.SeedSequence((*self.key, self.episode)).generate_state(1)[0] >> 1)
        return seed

    def begin(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode: the first one of a seed, or the next one."""
        return self.env.reset(seed=self.next_seed(seed))

    def save(self) -> Node:
        """The present state.

        Raises:
            NotRestorableError: a field holds what cannot be copied, or a wrapper holds another environment.
        """
        replaced = self.replaced()
        if replaced is not None:
            raise NotRestorableError(f"{name_of(self.env)} cannot be saved: {replaced}")
        freezer = Freezer(self._codecs, self._places)
        try:
            # What is saved beside the fields, the key of seeds, then layer by layer from the inside out.
            core = self._core(freezer)
            episodes = (Node("seed", "", self.key), self.episode) if self.seeds_resets else None
            content = [core, episodes, *[part.freeze(freezer) for part in self._parts]]
        except NotCopyableError as error:
            raise NotRestorableError(f"{name_of(self.env)} cannot be saved: {error}") from error
        return Node("world", self.title, content)

    def replaced(self) -> str | None:
        """Which wrapper holds another environment than at first, which would not be saved; None if none does."""
        for wrapper, inner in self._chain:
            if wrapper.env is not inner:
                return f"{type(wrapper).__name__} has put another environment inside it"
        return None

    def _core(self, freezer: Freezer) -> Any:
        """What is saved beside the fields."""

    def restore(self, state: Node) -> None:
        """Restore a state of this environment or of a sibling.

        Raises:
            UsageError: it is of another environment.
            NotRestorableError: it does not fit, as where a reset has made another MuJoCo model.
        """
        core, episodes, *saved = state.content
        if state.label != self.title or len(saved) != len(self._parts):
            raise self._of_another()
        thawer = self._thawer
        thawer.begin()
        # The key of seeds, what was saved beside the fields, then layer by layer from the inside out.
        if episodes is not None:
            self.key, self.episode = episodes[0].content, episodes[1]
        try:
            if core is not None:
                self._restore_core(core, thawer)
            for part, node in zip(self._parts, saved, strict=False):
                if node.label != part.name:
                    raise self._of_another()
                part.thaw(node, thawer)
        except NotCopyableError as error:
            raise NotRestorableError(f"{name_of(self.env)} cannot be restored: it holds something {error}") from error

    def _of_another(self) -> UsageError:
        return UsageError(f"these states are of another environment than {name_of(self.env)}")

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        """Restore what :meth:`_core` saved."""


class MujocoFields(Fields):
    """MuJoCo's integration state with all that was derived from it, and the fields."""

    title = "MuJoCo's full state and a copy of its fields"

    def _applicable_codecs(self) -> Codecs:
        base = self._layers[0]
        found = mujoco.found_in(base, "MjData") if "mujoco" in sys.modules else {}
        if not found:
            raise NotApplicableError("it does not simulate with MuJoCo")
        # Environments of libraries leave their models as they are; comparing them would cost them time.
        of_libraries = all(map(of_library, self._layers))
        self._models = None if of_libraries else mujoco.ModelNumbers(base)
        return CODECS.with_first(*mujoco_data.codecs(found.values()))

    def _core(self, freezer: Freezer) -> Any:
        return None if self._models is None else Node("mujoco-models", "", self._models.read())

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        if self._models is not None:
            self._models.write(core.content)


class OwnMethods(Fields):
    """The environment's own ``get_state`` and ``set_state``, with its generator and its wrappers' fields."""

    title = "its own get_state and set_state"

    def __init__(self, env: Env, *, with_spaces: bool = True) -> None:
        super().__init__(env, with_spaces=with_spaces)
        self._base: Any = self._layers[0]
        self._parts[0] = Layer(self._layers[0], fields=False, spaces=self._with_spaces)

    def _applicable_codecs(self) -> Codecs:
        base: Any = self._layers[0]
        if not callable(getattr(base, "get_state", None)) or not callable(getattr(base, "set_state", None)):
            raise NotApplicableError("it has no get_state and set_state")
        if not (_callable_with(base.get_state, 0) and _callable_with(base.set_state, 1)):
            raise NotApplicableError("its set_state takes more than the state")
        return CODECS

    def _core(self, freezer: Freezer) -> Any:
        own = freezer.freeze_at(".get_state()", self._base.get_state())
        return [own, freezer.freeze(self._base._np_random), self._base._np_random_seed]

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        own, generator, seed = core
        # The generator is set last, because a set_state may draw from it.
        self._base.set_state(thawer.thaw(own))
        self._base._np_random = thawer.thaw(generator, self._base._np_random)
        self._base._np_random_seed = seed


def seeded(strategy: type[Fields]) -> type[Fields]:
    """The same strategy, for environments whose episodes can only be repeated from a reset with a seed."""
    title = f"{strategy.title}, each reset with a seed of its own"
    named = {"seeds_resets": True, "title": title, "__doc__": strategy.__doc__}
    return type(f"Seeded{strategy.__name__}", (strategy,), named)


def _chain_of(env: Any) -> list[tuple[Any, Any]]:
    """Each wrapper, with what it wraps."""
    found = []
    while isinstance(env, gym.Wrapper):
        found.append((env, env.env))
        env = env.env
    return found


def _callable_with(function: Any, arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except (TypeError, ValueError):
        return False
    return True
