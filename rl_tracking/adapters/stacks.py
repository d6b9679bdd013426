"""An environment under its wrappers: the layers that hold state, and how to build the same a second time."""

from __future__ import annotations

import contextlib
import copy
import inspect
import types
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.ezpickle import EzPickle
from stable_baselines3.common.monitor import Monitor

from rl_tracking.adapters import mujoco as mujoco_state
from rl_tracking.adapters import registry
from rl_tracking.adapters.freezing import CODECS, Freezer, NotCopyableError
from rl_tracking.adapters.freezing.core import module_of, places_of
from rl_tracking.adapters.freezing.form import same
from rl_tracking.adapters.freezing.functions import remembered
from rl_tracking.adapters.freezing.references import is_display
from rl_tracking.adapters.own_spaces import forget_generators, separate, untouched
from rl_tracking.restoring.protocol import NotRestorableError

Env = gym.Env[Any, Any]

_REFUSED = {
    "RecordVideo": "it films every step; put it around the environment that is evaluated",
    "RenderCollection": "it collects a picture of every step; use render_mode 'rgb_array'",
    "HumanRendering": "it shows every step; use render_mode 'rgb_array', or None",
}

# Wrappers that check calls and keep no state; siblings are built without them.
CHECKING_WRAPPERS = ("PassiveEnvChecker", "OrderEnforcing")

# Fields of Gymnasium's own that no step and no reset changes; a class of one's own may name such fields, too.
_CONSTANTS = {
    "gymnasium.envs.toy_text": ("P", "desc", "initial_state_distrib"),
    "gymnasium.envs.mujoco": ("init_qpos", "init_qvel", "observation_structure"),
}


class UnbuildableError(NotRestorableError):
    """No second one of an environment can be built."""


class EpisodeMonitor(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the return r and length l of a finished episode to its last info, as SB3's ``Monitor`` does.

    It writes nothing and keeps no list, so it may be saved, restored and branched.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.episode_return = 0.0
        self.episode_length = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode."""
        self.episode_return, self.episode_length = 0.0, 0
        return self.env.reset(seed=seed, **given(options))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; the last of an episode reports it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.episode_return += float(reward)
        self.episode_length += 1
        if terminated or truncated:
            info["episode"] = {"r": round(self.episode_return, 6), "l": self.episode_length}
        return observation, reward, terminated, truncated, info


def given(options: dict[str, Any] | None) -> dict[str, Any]:
    """Options of a reset as keyword arguments: none where there are none, as a reset need not know them."""
    return {} if options is None else {"options": options}


def layers_of(env: Env) -> list[Env]:
    """The environment itself, then the wrappers that hold state, from the inside out."""
    layers = [env]
    while isinstance(env, gym.Wrapper):
        env = env.env
        if type(env).__name__ not in CHECKING_WRAPPERS and not getattr(type(env), "takes_notes", False):
            layers.insert(0, env)
    return layers


def name_of(env: Env) -> str:
    """The id if there is one, else the class."""
    spec = env.unwrapped.spec
    return spec.id if spec is not None else type(env.unwrapped).__name__


def constant_fields(layer: Env) -> tuple[str, ...]:
    """Fields that no step changes, which are not saved; a class names its own in ``constant_fields``."""
    module = type(layer).__module__
    known = next((names for package, names in _CONSTANTS.items() if module.startswith(package)), ())
    return (*known, *getattr(type(layer), "constant_fields", ()))


def prepared(env: Env) -> tuple[Env, Monitor | None]:
    """The environment with an :class:`EpisodeMonitor` in the place of SB3's ``Monitor``, which is returned beside it.

    Raises:
        NotRestorableError: a wrapper does something to the outside world at every step.
    """
    monitor: Monitor | None = None
    outer: Any = None
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        why = _REFUSED.get(type(layer).__name__)
        if why is not None:
            raise NotRestorableError(f"the wrapper {type(layer).__name__} of {name_of(env)} cannot be forked: {why}")
        if isinstance(layer, Monitor):
            monitor, layer = layer, EpisodeMonitor(layer.env)
            if outer is None:
                env = layer
            else:
                outer.env = layer
        outer, layer = layer, layer.env
    if not any(isinstance(layer, EpisodeMonitor) for layer in layers_of(env)):
        env = EpisodeMonitor(env)
    return env, monitor


class Blueprint:
    """Builds siblings of an environment.

    Args:
        env: prepared; it is not changed.
        make: makes another one, if there is a function that does.
    """

    def __init__(self, env: Env, make: Callable[[], Env] | None = None) -> None:
        self.env, self._make = env, make
        self.name = name_of(env)

    def build(self, *, shows: bool = False) -> Env:
        """A sibling: the same layers, in some state.

        Args:
            shows: whether it may show every step by itself, if the environment does; branches must not.

        Raises:
            UnbuildableError: it cannot be built a second time.
        """
        with warnings.catch_warnings(), registry.quiet_mujoco(), untouched(layers_of(self.env)):
            warnings.simplefilter("ignore")  # said when the first one was made
            sibling = _without_checks(prepared(self._make())[0]) if self._make is not None else self._rebuilt(shows)
        if not shows:
            _silence(sibling)
        originals, layers = layers_of(self.env), layers_of(sibling)
        if [type(layer) for layer in layers] != [type(layer) for layer in originals]:
            raise UnbuildableError(
                f"{self.name} is not restorable: built a second time it is {sibling}, not {self.env}"
            )
        for original, layer in zip(originals, layers, strict=True):
            if self._make is None:
                self._refuse_bound_functions(original, layer)
            _share_constants(original, layer)
        separate(layers, originals)
        mujoco_state.copy_model(originals[0], layers[0])
        return sibling

    def _rebuilt(self, shows: bool) -> Env:
        base, *wrappers = layers_of(self.env)
        silent = {} if shows or base.render_mode != "human" else {"render_mode": None}
        sibling = self._base(base, silent)
        for wrapper in wrappers:
            sibling = self._wrapped(wrapper, sibling)
        return sibling

    def _base(self, env: Env, silent: dict[str, Any]) -> Env:
        """Another of the innermost environment: by its id, by its arguments, or a copy."""
        if env.spec is not None:
            with contextlib.suppress(Exception):  # an id that only says what it is called
                made: Env = gym.make(env.spec, **silent).unwrapped
                if type(made) is type(env):
                    return made
        try:
            if isinstance(env, EzPickle):
                changes = silent if "render_mode" in env._ezpickle_kwargs else {}
                return type(env)(*env._ezpickle_args, **{**env._ezpickle_kwargs, **changes})
            copied = copy.deepcopy(env, shown_by(env))
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
            if any(id(_content(cell)) in mine for cell in cells or ()):
                raise UnbuildableError(
                    f"{self.name} is not restorable: {type(original).__name__}.{name} is a function that uses the "
                    "environment it was made in; give a function that makes the environment"
                )


def _is_made_again(function: Any, other: Any) -> bool:
    """Whether ``other`` is the same function made a second time, over variables of its own."""
    return other is not function and getattr(other, "__code__", None) is getattr(function, "__code__", function)


def shown_by(env: Env) -> dict[int, Any]:
    """What a copy of an environment does without: windows and pictures, by identity, with what takes their place."""
    pictures = ("pygame.surface", "pygame.display")
    shown = [v for v in vars(env).values() if is_display(type(v)) or module_of(type(v)).startswith(pictures)]
    return dict.fromkeys(map(id, shown)) if env.render_mode is not None else {}


def _silence(sibling: Env) -> None:
    """Have an environment that shows every step by itself show none: branches run in it."""
    for layer in (sibling.unwrapped, *layers_of(sibling)):
        if vars(layer).get("render_mode") == "human" or getattr(type(layer), "render_mode", None) == "human":
            layer.render_mode = None
            layer.render = _nothing  # type: ignore[method-assign]


def _nothing(*arguments: Any, **more: Any) -> None:
    """What a silent environment shows."""


def _share_constants(original: Env, layer: Env) -> None:
    """Give a sibling what is not saved and may have been set by hand: tables, and other functions than its own.

    A function that remembers something is copied with variables of its own.
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
    content = _content(cell)
    with contextlib.suppress(Exception):  # what cannot be copied stays shared
        content = copy.deepcopy(content)
    return types.CellType(content)


def difference(env: Env, other: Env) -> str | None:
    """What two prepared environments differ in that is not saved, so that neither can go on from the other's state."""
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
    return None if mujoco_state.same_model(layers[0], others[0]) else f"{type(layers[0]).__name__}.model"


def _same_function(value: Any, other: Any, freezers: tuple[Freezer, Freezer]) -> bool:
    if value is other:
        return True
    if getattr(other, "__code__", None) is not value.__code__:
        return False
    mine, theirs = ([_content(cell) for cell in function.__closure__ or ()] for function in (value, other))
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


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return None
