"""Builds siblings of an environment: the same layers a second time."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import types
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.ezpickle import EzPickle

from rl_tracking.adapters import mujoco, registry
from rl_tracking.adapters.freezing import CODECS, Freezer, NotCopyableError, content_of, places_of, remembered, same
from rl_tracking.adapters.own_spaces import forget_generators, separate, untouched
from rl_tracking.adapters.space_draws import may_draw_from_spaces
from rl_tracking.adapters.stacks import CHECKING_WRAPPERS, Env, constant_fields, displays_of, layers_of, prepared
from rl_tracking.restoring.protocol import NotRestorableError, name_of


class UnbuildableError(NotRestorableError):
    """An environment cannot be built a second time."""


class Blueprint:
    """Builds siblings of an environment.

    Args:
        env: prepared; it is not changed.
        make: a function that makes another one, if there is one.
    """

    def __init__(self, env: Env, make: Callable[[], Env] | None = None) -> None:
        self.env, self._make = env, make
        self.name = name_of(env)

    @functools.cached_property
    def draws_from_spaces(self) -> bool:
        """Whether its steps may draw from a space, so that the generators of spaces are state."""
        return may_draw_from_spaces(layers_of(self.env))

    def build(self, *, may_display: bool = False) -> Env:
        """A sibling: the same layers, in some state.

        Args:
            may_display: whether it may display every step, if the environment does; branches must not.

        Raises:
            UnbuildableError: it cannot be built a second time.
        """
        with warnings.catch_warnings(), registry.quiet_mujoco(), untouched(layers_of(self.env)):
            warnings.simplefilter("ignore")  # given when the first one was made
            made = self._rebuilt(may_display) if self._make is None else prepared(self._make())[0]
            sibling = _without_checks(made)
        if not may_display:
            _silence(sibling)
        # The same layers?
        originals, layers = layers_of(self.env), layers_of(sibling)
        if [type(layer) for layer in layers] != [type(layer) for layer in originals]:
            raise UnbuildableError(
                f"{self.name} is not restorable: built a second time it is {sibling}, not {self.env}"
            )
        # Give it what is not saved, and nothing that the original itself uses.
        for original, layer in zip(originals, layers, strict=True):
            if self._make is None:
                self._refuse_bound_functions(original, layer)
            _share_constants(original, layer)
        separate(layers, originals)
        mujoco.copy_model(originals[0], layers[0])
        return sibling

    def _rebuilt(self, may_display: bool) -> Env:
        base, *wrappers = layers_of(self.env)
        silent = {} if may_display or base.render_mode != "human" else {"render_mode": None}
        sibling = self._base(base, silent)
        for wrapper in wrappers:
            sibling = self._wrapped(wrapper, sibling)
        return sibling

    def _base(self, env: Env, silent: dict[str, Any]) -> Env:
        """Another of the innermost environment: by its id, by its arguments, or a copy."""
        if env.spec is not None:
            with contextlib.suppress(Exception):  # the spec may be no more than a name
                made: Env = gym.make(env.spec, **silent).unwrapped
                if type(made) is type(env):
                    return made
        try:
            if isinstance(env, EzPickle):
                changes = silent if "render_mode" in env._ezpickle_kwargs else {}
                return type(env)(*env._ezpickle_args, **{**env._ezpickle_kwargs, **changes})
            copied = copy.deepcopy(env, displays_of(env))
            vars(copied).pop("render", None)
            forget_generators(copied)
            return copied
        except Exception as error:
            if not inspect.signature(type(env)).parameters:
                return type(env)()
            raise self._unbuildable(type(env).__name__, error) from error

    def _wrapped(self, wrapper: Any, inner: Env) -> Env:
        try:
            made: Env
            if isinstance(wrapper, RecordConstructorArgs) and hasattr(wrapper, "_saved_kwargs"):
                arguments = {name: value for name, value in wrapper._saved_kwargs.items() if name != "env"}
                cls: Any = type(wrapper)
                made = cls(inner, **arguments)
            else:
                made = copy.deepcopy(wrapper, {id(wrapper.env): inner})
            return made
        except Exception as error:
            raise self._unbuildable(type(wrapper).__name__, error) from error

    def _unbuildable(self, layer: str, error: Exception) -> UnbuildableError:
        return UnbuildableError(
            f"{self.name} is not restorable: no second {layer} can be built ({type(error).__name__}: {error}); "
            "give a registered id or a function that makes the environment"
        )

    def _refuse_bound_functions(self, original: Env, layer: Env) -> None:
        """Refuse a function over the original's own layers, unless the wrapper has made ``layer`` one of its own."""
        mine = {id(part) for part in layers_of(self.env)}
        for name, value in vars(original).items():
            if _is_made_again(value, vars(layer).get(name)):
                continue
            function = isinstance(value, types.FunctionType) and name != "render"
            cells = getattr(value, "__closure__", None) if function else None
            if any(id(content_of(cell)) in mine for cell in cells or ()):
                raise UnbuildableError(
                    f"{self.name} is not restorable: {type(original).__name__}.{name} is a function that uses the "
                    "environment it was made in; give a function that makes the environment"
                )


def _is_made_again(function: Any, other: Any) -> bool:
    """Whether ``other`` is the same function made a second time, over variables of its own."""
    return other is not function and getattr(other, "__code__", None) is getattr(function, "__code__", function)


def _silence(sibling: Env) -> None:
    """Keep an environment that displays every step from displaying any: branches run in it."""
    for layer in (sibling.unwrapped, *layers_of(sibling)):
        if vars(layer).get("render_mode") == "human" or getattr(type(layer), "render_mode", None) == "human":
            layer.render_mode = None
            layer.render = _nothing  # type: ignore[method-assign]


def _nothing(*arguments: Any, **more: Any) -> None:
    """The ``render`` of an environment in which branches run."""


def _share_constants(original: Env, layer: Env) -> None:
    """Give a sibling what is not saved and may have been set by hand: tables, and functions of other code than its own.

    A function that remembers something gets variables of its own.
    """
    cells: dict[int, types.CellType] = {}
    for name, value in vars(original).items():
        mine = vars(layer).get(name)
        if name in constant_fields(layer):
            vars(layer)[name] = value
            continue
        if isinstance(value, types.FunctionType) and name != "render" and not _is_made_again(value, mine):
            vars(layer)[name] = _with_own_variables(value, cells)


def _with_own_variables(function: types.FunctionType, cells: dict[int, types.CellType]) -> types.FunctionType:
    if not remembered(function):
        return function
    own = tuple(cells.setdefault(id(cell), _copied_cell(cell)) for cell in function.__closure__ or ())
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, own or None
    )
    made.__kwdefaults__, made.__qualname__ = function.__kwdefaults__, function.__qualname__
    vars(made).update(vars(function))
    return made


def _copied_cell(cell: types.CellType) -> types.CellType:
    content = content_of(cell)
    with contextlib.suppress(Exception):  # what cannot be copied stays shared
        content = copy.deepcopy(content)
    return types.CellType(content)


def difference(env: Env, other: Env) -> str | None:
    """The first thing that is not saved and differs in two prepared environments; None if their states fit both."""
    layers, others = layers_of(env), layers_of(other)
    if [type(layer) for layer in layers] != [type(layer) for layer in others]:
        return "their wrappers"
    freezers = Freezer(CODECS, places_of(layers)), Freezer(CODECS, places_of(others))
    for layer, twin in zip(layers, others, strict=True):
        for name, value in vars(layer).items():
            theirs = vars(twin).get(name)
            if name in constant_fields(layer):
                alike = same(freezers[0].freeze(value), freezers[1].freeze(theirs))
            elif isinstance(value, types.FunctionType) and name != "render":
                alike = _same_function(value, theirs, freezers)
            else:
                alike = not isinstance(value, gym.Space) or value == theirs
            if not alike:
                return f"{type(layer).__name__}.{name}"
    return None if mujoco.same_model(layers[0], others[0]) else f"{type(layers[0]).__name__}.model"


def _same_function(value: Any, other: Any, freezers: tuple[Freezer, Freezer]) -> bool:
    if value is other:
        return True
    if getattr(other, "__code__", None) is not value.__code__:
        return False
    mine, theirs = ([content_of(cell) for cell in function.__closure__ or ()] for function in (value, other))
    try:
        return same(freezers[0].freeze(mine), freezers[1].freeze(theirs))
    except NotCopyableError:
        return False


def _without_checks(env: Env) -> Env:
    outer: Any = env  # an EpisodeMonitor, or what is around it
    while isinstance(outer, gym.Wrapper):
        inner: Any = outer.env
        while type(inner).__name__ in CHECKING_WRAPPERS:
            inner = inner.env
        outer.env = inner
        outer = inner
    return env
