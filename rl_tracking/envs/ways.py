"""The ways to save and restore one environment under its wrappers, in the order they are tried.

Each is a class with a name; its constructor raises :class:`WayNotOpenError` where it has nothing to work with, and
:func:`rl_tracking.envs.proof.find_way` uses none that was not seen to be faithful. The wrappers' own fields, and every
generator in them, are saved by all of them.
"""

from __future__ import annotations

import inspect
from typing import Any

from rl_tracking.envs import mujoco_state
from rl_tracking.envs.faithful import CODECS, Codecs, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.envs.faithful.core import places_of
from rl_tracking.envs.faithful.spaces import Spaces
from rl_tracking.envs.layers import Layer, SpacesAlone
from rl_tracking.envs.restorable import NotRestorableError
from rl_tracking.envs.stacks import Env, layers_of, name_of
from rl_tracking.errors import UsageError


class WayNotOpenError(Exception):
    """A way of saving that an environment does not have; the text says what it lacks."""


class Fields:
    """A copy of the environment's own fields, and of its wrappers'."""

    title = "a copy of its fields"
    slow = False

    def __init__(self, env: Env) -> None:
        self.env, self._layers = env, layers_of(env)
        self._places = places_of(self._layers)
        self.spaces = Spaces(self._layers[0])
        self._codecs = self._open().with_first(self.spaces)
        self._parts = [Layer(layer) for layer in self._layers]
        self._thawer = Thawer(self._codecs, self._layers)

    def _open(self) -> Codecs:
        try:
            freezer = Freezer(CODECS, self._places)
            for layer in self._layers:
                Layer(layer).freeze(freezer)
        except (NotCopyableError, RecursionError) as error:
            raise WayNotOpenError(str(error)) from error
        return CODECS

    def save(self) -> Node:
        """The present state.

        Raises:
            NotRestorableError: a field has come to hold what cannot be copied.
        """
        freezer = Freezer(self._codecs, self._places)
        try:
            content = [self._core(freezer), *[part.freeze(freezer) for part in self._parts]]
        except NotCopyableError as error:
            raise NotRestorableError(f"{name_of(self.env)} cannot be saved: {error}") from error
        return Node("world", self.title, content)

    def _core(self, freezer: Freezer) -> Any:
        """What is saved beside the fields."""

    def restore(self, state: Node) -> None:
        """Put a state back, of this environment or of a sibling.

        Raises:
            UsageError: it is of another environment.
        """
        core, *saved = state.content
        if state.label != self.title or len(saved) != len(self._parts):
            raise self._foreign()
        thawer = self._thawer
        thawer.begin()
        if core is not None:
            self._restore_core(core, thawer)
        for part, node in zip(self._parts, saved, strict=False):
            if node.label != part.name:
                raise self._foreign()
            part.thaw(node, thawer)

    def _foreign(self) -> UsageError:
        return UsageError(f"these states are of another environment than {name_of(self.env)}")

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        """Put back what :meth:`_core` saved."""


class MujocoFields(Fields):
    """MuJoCo's integration state with all that was derived from it, and the fields."""

    title = "MuJoCo's full state and a copy of its fields"

    def _open(self) -> Codecs:
        data = mujoco_state.DataCodec()
        found = [value for value in vars(self._layers[0]).values() if data.accepts(type(value))]
        if not found:
            raise WayNotOpenError("it does not simulate with MuJoCo")
        for value in found:
            data.layout(value)
        return CODECS.with_first(data, mujoco_state.ViewCodec(data), mujoco_state.ModelCodec())


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


def _callable_with(function: Any, arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except (TypeError, ValueError):
        return False
    return True
