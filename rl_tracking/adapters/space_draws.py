"""Whether a step or a reset may draw from a space, judged by the code that it can reach.

If none can, the generators of spaces are no state of the environment. Where this is uncertain the answer is yes, which
costs time at every save and restore but is exact.
"""

from __future__ import annotations

import dis
import functools
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import ATOMS, module_of, parts_of, slots_in, variables
from rl_tracking.adapters.reached_code import Cached, codes_of
from rl_tracking.adapters.reached_code import is_library as is_known_library

# Attributes of a space, and functions of libraries, by which code draws from it or changes its generator.
_DRAWS = frozenset("sample seed np_random _np_random batch_space check_env".split())
# What calls or reads something whose name the code does not spell.
_INDIRECT = frozenset(
    "getattr vars __dict__ __getattribute__ eval exec globals attrgetter methodcaller import_module __import__ "
    "get_wrapper_attr".split()
)
# Libraries that know nothing of Gymnasium.
_OTHERS = frozenset("scipy pandas numba jax PIL cv2 networkx sklearn shapely sympy matplotlib".split())
_DRAWING_LIBRARIES = ("stable_baselines3", "sb3_contrib", "gym")
# Libraries whose objects hold nothing of the user's.
_CLOSED = _OTHERS | frozenset("numpy torch mujoco pygame Box2D logging threading _thread ctypes re".split())
_NO_CODE = frozenset({"spec", "_cached_spec", "__annotations__", "__doc__"})
_MOST_OBJECTS = 5000  # that are searched; where there are more, the answer is yes
_C_METHODS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)


def may_draw_from_spaces(layers: Iterable[Any]) -> bool:
    """Whether code that some layers hold, or that this code mentions, may draw from a space."""
    return _Search(layers).finds()


class _Search:
    def __init__(self, layers: Iterable[Any]) -> None:
        self._waiting: list[Any] = list(layers)
        self._met: dict[int, Any] = {}  # an id is valid only while its object lives
        self._names: set[str] = set()
        self._modules: dict[str, types.ModuleType] = {}
        spaces = [value for layer in self._waiting for value in vars(layer).values() if isinstance(value, gym.Space)]
        held = [getattr(part, "_np_random", None) for space in spaces for part in parts_of(space)]
        made = [one for one in held if one is not None]
        self._generators = {id(one) for one in made} | {id(getattr(one, "bit_generator", one)) for one in made}

    def finds(self) -> bool:
        """Search what is held and mentioned until nothing new is found."""
        while self._waiting:
            while self._waiting:
                value = self._waiting.pop()
                if type(value) in ATOMS or id(value) in self._met:
                    continue
                self._met[id(value)] = value
                if len(self._met) > _MOST_OBJECTS or self._draws(value):
                    return True
                self._waiting += _parts_of(value)
            for module in self._modules.values():
                new = [vars(module)[name] for name in self._names & vars(module).keys()]
                self._waiting += [value for value in new if id(value) not in self._met]
        return False

    def _draws(self, value: Any) -> bool:
        """Whether one value draws from a space by itself; the names in its code are noted."""
        if isinstance(value, types.FunctionType):
            return self._function_draws(value)
        if isinstance(value, types.ModuleType):
            if not _is_library(value.__name__):
                self._modules[value.__name__] = value
            return _root(value.__name__) in _DRAWING_LIBRARIES
        if isinstance(value, type):
            return _class_draws(value)
        if isinstance(value, gym.Space):
            return any(_root(module_of(type(part))) != "gymnasium" for part in parts_of(value))
        owner = getattr(value, "__self__", None) if isinstance(value, _METHODS) else None
        if isinstance(owner, gym.Space):
            return True
        if isinstance(value, types.BuiltinFunctionType):
            return value.__module__ is not None and not _is_library(value.__module__)
        # An iterator may call any code, and does not show which.
        return id(value) in self._generators or hasattr(type(value), "__next__")

    def _function_draws(self, function: types.FunctionType) -> bool:
        module = str(function.__module__)
        if _is_library(module):
            return _root(module) in _DRAWING_LIBRARIES
        for code in codes_of(function.__code__):
            if _code_draws(code):
                return True
            self._names |= set(code.co_names)
            mentioned = function.__globals__
            self._waiting += [mentioned[name] for name in code.co_names if name in mentioned]
        return False


_METHODS = (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)


def _class_draws(cls: type) -> bool:
    module = module_of(cls)  # some C libraries of Gymnasium's environments name none
    if not module or _is_library(module):
        return _root(module) in _DRAWING_LIBRARIES
    in_c = any(isinstance(value, _C_METHODS) and value.__objclass__ is cls for value in vars(cls).values())
    return in_c or issubclass(cls, gym.Space)


def _code_draws(code: types.CodeType) -> bool:
    """Whether some code uses such an attribute of anything but ``self`` and its environment."""
    names = _INDIRECT.intersection(code.co_names)
    # What __getattr__ looks up is an attribute that other code names.
    if names and not (code.co_name == "__getattr__" and names == {"getattr"}):
        return True
    before: Any = None
    for each in dis.get_instructions(code):
        if each.opname == "IMPORT_NAME" and not _is_harmless(str(each.argval)):
            return True
        attribute = "ATTR" in each.opname or "METHOD" in each.opname
        if attribute and each.argval in _DRAWS and not _is_environment(before):
            return True
        before = each
    return False


def _is_harmless(module: str) -> bool:
    return _is_library(module) and _root(module) not in _DRAWING_LIBRARIES


def _is_environment(loaded: dis.Instruction) -> bool:
    if "ATTR" in loaded.opname:
        return loaded.argval in ("env", "unwrapped")
    return loaded.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) and loaded.argval == "self"


def _parts_of(value: Any) -> Iterator[Any]:
    """What may hold or be code, of a value that draws from nothing by itself."""
    if isinstance(value, types.FunctionType):
        yield from (content for _, content in variables(value))
        yield from (value.__defaults__, value.__kwdefaults__, vars(value))
    elif isinstance(value, type):
        for base in value.__mro__ if not _is_library(module_of(value)) else ():
            yield base
            yield type(base)
            fields = vars(base).items() if not _is_library(module_of(base)) else ()
            yield from (part for name, part in fields if name not in _NO_CODE)
    elif isinstance(value, types.ModuleType | gym.Space):
        return
    elif isinstance(value, dict):
        yield from (*value.keys(), *value.values())
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield from value
    elif isinstance(value, np.ndarray):
        yield from value.flat if value.dtype.hasobject else ()
    elif isinstance(value, weakref.ref):
        yield value()
    else:
        yield from _parts_of_object(value)


def _parts_of_object(value: Any) -> Iterator[Any]:
    if isinstance(value, _METHODS):
        yield value.__self__
    for name in _INNER:
        yield getattr(value, name, None) if isinstance(value, _HOLDERS) else None
    yield type(value)
    if _root(module_of(type(value))) not in _CLOSED:
        fields = getattr(value, "__dict__", {}) | slots_in(value)
        yield from (part for name, part in fields.items() if name not in _NO_CODE)


_HOLDERS: Any = (types.MethodType, property, staticmethod, classmethod, functools.partial, Cached)
_INNER = ("__func__", "fget", "fset", "fdel", "func", "args", "keywords", "__wrapped__")


def _is_library(module: str) -> bool:
    return is_known_library(module) or _root(module) in _OTHERS


def _root(module: str) -> str:
    return module.partition(".")[0]
