"""Which functions and classes a step or a reset can reach, judged by names; libraries are not searched."""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym

from rl_tracking.adapters.freezing import module_of, variables

# Libraries whose environments and wrappers share no state that changes.
_LIBRARIES = frozenset(
    "gymnasium gym numpy torch stable_baselines3 sb3_contrib rl_tracking mujoco pygame Box2D".split()
) | frozenset(sys.stdlib_module_names)

_MOST_OBJECTS = 2000  # that are searched
Cached: Any = type(functools.lru_cache(lambda: None))


def is_library(module: str) -> bool:
    """Whether code of a module is taken to be that of a library."""
    root = module.partition(".")[0]
    return root != "__main__" and root in _LIBRARIES


def of_library(value: Any) -> bool:
    """Whether an object is of a library's class."""
    return is_library(module_of(type(value)))


class ReachedCode:
    """Functions, classes, caches and names that ``step`` and ``reset`` of some layers can reach.

    Attributes:
        functions: by identity.
        classes: of the layers, of what they hold, and those that functions mention.
        caches: functions behind ``functools.lru_cache``, with a name.
        modules: of the user's own, that functions mention.
        names: of all attributes and global variables in that code.
        stored: those that the code assigns to.
        objects: what the layers hold, of the user's own classes.
    """

    def __init__(self, layers: Iterable[Any]) -> None:
        self.functions: dict[int, types.FunctionType] = {}
        self.classes: dict[type, None] = {}
        self.caches: dict[int, tuple[str, Any]] = {}
        self.modules: dict[str, types.ModuleType] = {}
        self.names: set[str] = {"step", "reset"}
        self.stored: set[str] = set()
        self.objects = list(_held_by(layer for layer in layers if not of_library(layer)))
        for held in self.objects:
            self._add_class(type(held))
        self._follow()

    def _follow(self) -> None:
        """Look up names in classes and modules until nothing new is found."""
        before = -1
        while before != len(self.functions) + len(self.classes) + len(self.names) + len(self.modules):
            before = len(self.functions) + len(self.classes) + len(self.names) + len(self.modules)
            for module in list(self.modules.values()):
                for name in self.names & vars(module).keys():
                    self._add(vars(module)[name], name)
            for cls in list(self.classes):
                shows = {"render", "close"} if issubclass(cls, gym.Env) else set()
                for name, value in list(vars(cls).items()):
                    if name in shows:
                        continue  # what a step displays by it is no state
                    if name in self.names or (name.startswith("__") and name.endswith("__")):
                        self._add(value, f"{cls.__name__}.{name}")

    def _add_class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not is_library(module_of(base)):
                self.classes.setdefault(base)
            if not is_library(module_of(type(base))):  # a metaclass
                self.classes.setdefault(type(base))

    def _add(self, value: Any, name: str) -> None:
        """Follow a value if it is code."""
        if isinstance(value, staticmethod | classmethod | types.MethodType):
            value = value.__func__
        if isinstance(value, property):
            for part in (value.fget, value.fset):
                self._add(part, name)
        elif isinstance(value, (functools.cached_property, functools.partial, functools.partialmethod)):
            self._add(value.func, name)
        elif isinstance(value, Cached):
            self.caches[id(value)] = name, value
            self._add(value.__wrapped__, name)
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, type) and not is_library(module_of(value)):
            self._add_class(value)
        elif isinstance(value, types.ModuleType) and not is_library(value.__name__):
            self.modules[value.__name__] = value  # followed by name: modules may hold each other

    def _add_function(self, function: types.FunctionType) -> None:
        if id(function) in self.functions or is_library(str(function.__module__)):
            return
        self.functions[id(function)] = function
        names = set()
        for code in codes_of(function.__code__):
            names |= set(code.co_names)
            self.stored |= {str(each.argval) for each in dis.get_instructions(code) if each.opname in _STORES}
        self.names |= names
        for name in names & function.__globals__.keys():
            self._add(function.__globals__[name], name)
        for name, value in variables(function):
            self._add(value, name)
        self._add(getattr(function, "__wrapped__", None), function.__name__)


_STORES = {"STORE_GLOBAL", "STORE_ATTR", "STORE_DEREF", "DELETE_GLOBAL", "DELETE_ATTR", "DELETE_DEREF"}


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """Some code, and that of the functions made in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def _held_by(layers: Iterable[Any]) -> Iterator[Any]:
    """The layers and the objects of the user's own classes that they hold, at any depth."""
    seen: set[int] = set()
    waiting = list(layers)
    while waiting and len(seen) < _MOST_OBJECTS:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif hasattr(value, "__dict__") and not isinstance(value, _NO_HOLDERS) and not of_library(value):
            yield value
            waiting += vars(value).values()


_NO_HOLDERS = (type, types.ModuleType, types.FunctionType)
