"""What all worlds share and their steps can reach: it must not change, because it cannot be restored for one world.

These are attributes of classes, variables of the functions around them, variables of modules, default arguments,
attributes of functions, what a cached function reads, and objects that two siblings both hold. They are compared when
a snapshot strategy is selected, and again whenever states are saved, so that what first changes late stops a training
by its name.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.blueprint import Blueprint
from rl_tracking.adapters.freezing import (
    ATOMS,
    CODECS,
    RANDOM_KINDS,
    Freezer,
    Node,
    NotCopyableError,
    differences,
    module_of,
    parts_of,
    places_of,
    variables,
)
from rl_tracking.adapters.reached_code import Cached, ReachedCode, of_library
from rl_tracking.adapters.shared_parts import SharedPart, fingerprint
from rl_tracking.adapters.stacks import constant_fields, layers_of

# Kinds of nodes of what is changed or restored in place, so that every world that shares it sees the change.
_MUTABLE = RANDOM_KINDS.union("list dict set bytes array tensor memory object module parameter surface".split())
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, property)
_DESCRIPTORS = (*_CODE, staticmethod, classmethod, types.MemberDescriptorType, types.GetSetDescriptorType, Cached)
_NO_BOUNDS = "a space is not saved: keep numbers that change in fields of their own"
_Place = tuple[str, Any, str, Callable[[], Any]]  # what to call a variable, what it is in, its name, and a reader


class SharedState:
    """What the worlds of an environment share.

    Args:
        blueprint: of the environment; a sibling is built and makes some steps.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._layers = layers_of(blueprint.env)
        self._parts: list[SharedPart] = []
        self._found: str | None = None
        self._checks = 0
        if all(map(of_library, self._layers)):
            return
        sibling = blueprint.build()
        try:
            # Some steps first: what is loaded at the first reset and kept from then on is no state.
            _run(sibling, 2)
            code = ReachedCode(layers_of(sibling))
            self._found = _iterator_in(code) or _entry_for_a_world(code)
            self._parts = [*_reached(code), *_held_twice(self._layers, layers_of(sibling))]
            # Their first values are those that they must keep.
            self.changed()
            varying = _varying(sibling)
        finally:
            sibling.close()
        for name, cache in code.caches.values():
            self._add_cache(name, cache, varying)
        for layer, twin in zip(self._layers, layers_of(sibling), strict=True):
            fields = _space_fields(twin, code)
            self._parts += [*_spaces(layer, fields), *_constants(layer, code)]
            for field in varying & fields:
                self._found = f"the bounds of {type(layer).__name__}.{field} change; {_NO_BOUNDS}"

    def _add_cache(self, name: str, cache: Any, varying: set[str]) -> None:
        """Add what a cached function reads: the cache would return what the function gave before that changed."""
        used = set(cache.__wrapped__.__code__.co_names)
        moved = sorted(used & (varying | {"np_random"}))
        if moved:
            self._found = f"{name} is cached (lru_cache) and uses self.{moved[0]}, which changes; do not cache it"
        advice = f"{name}, which is cached (lru_cache), uses it: do not cache it"
        for layer in self._layers:
            for field in used & vars(layer).keys():
                self._parts.append(SharedPart(f"{type(layer).__name__}.{field}", _in(vars(layer), field), advice, True))

    def changed(self, *, begun: bool = False, thorough: bool = True) -> str | None:
        """What has changed, with what to do; None if nothing has.

        Args:
            begun: whether the environment itself was reset, so that its own fields are there.
            thorough: compare everything; else what takes long is compared from time to time.
        """
        if self._found is not None or not self._parts:
            return self._found
        self._checks += 1
        for part in self._parts:
            waits = not thorough and self._checks % part.pause
            if (part.of_world and not begun) or waits or not part.differs():
                continue
            shared = "" if part.of_world else ", and all worlds share it"
            self._found = f"{part.name} changes{shared}; {part.advice}"
            return self._found
        return None


def _run(env: Any, steps: int) -> None:
    """A reset and some steps; the environment's own errors are reported elsewhere."""
    with contextlib.suppress(Exception):
        env.reset(seed=0)
        for _ in range(steps):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()


def _varying(env: Any) -> set[str]:
    """Names of the fields that some steps and resets change."""
    layers = layers_of(env)
    found: set[str] = set()
    before = [_frozen_fields(layer, layers) for layer in layers]
    for steps in (8, 3, 1):
        _run(env, steps)
        after = [_frozen_fields(layer, layers) for layer in layers]
        for one, other in zip(before, after, strict=True):
            names = one.keys() | other.keys()
            found |= {n for n in names if next(differences(one.get(n), other.get(n)), None) is not None}
    return found


def _frozen_fields(layer: Any, layers: list[Any]) -> dict[str, Any]:
    found = {}
    for name, value in vars(layer).items():
        try:
            content = repr(fingerprint(value)) if isinstance(value, gym.Space) else value
            found[name] = Freezer(CODECS, places_of(layers)).freeze(content)
        except NotCopyableError:
            found[name] = id(value)
    return found


# -- variables and attributes that the code reaches --------------------------------------------------------------------


def _places(code: ReachedCode, without: frozenset[int] = frozenset()) -> Iterator[_Place]:
    """Variables around functions and of modules, attributes of functions and of classes; not of some functions."""
    for function in (function for key, function in code.functions.items() if key not in without):
        where = function.__qualname__
        for index, (name, _) in enumerate(variables(function)):
            cell: Any = (function.__closure__ or ())[index]
            if name != "__class__":
                yield f"variable '{name}' around {where}", cell, name, _in_cell(function, index)
        module = function.__globals__
        for name in set(function.__code__.co_names) & module.keys():
            yield f"variable '{name}' of module {function.__module__}", module, name, _in(module, name)
        for name in vars(function).keys() - {"__wrapped__"}:
            yield f"{where}.{name}", vars(function), name, _in(vars(function), name)
    for module_name, mentioned in code.modules.items():
        for name in code.names & vars(mentioned).keys():
            yield f"variable '{name}' of module {module_name}", vars(mentioned), name, _in(vars(mentioned), name)
    for cls in code.classes:
        for name in code.names & vars(cls).keys():
            if not isinstance(vars(cls)[name], _DESCRIPTORS):
                yield f"{cls.__name__}.{name}", cls, name, _in(vars(cls), name)


def _reached(code: ReachedCode) -> Iterator[SharedPart]:
    """What of the places may change, default arguments, results of cached functions, and the process's variables."""
    met: set[tuple[int, str]] = set()
    # What a function remembers is state of the world that holds the function.
    held = frozenset(id(value) for each in code.objects for value in vars(each).values())
    for name, place, key, read in _places(code, held):
        if (id(place), key) in met:
            continue
        met.add((id(place), key))
        value = read()
        if _may_change(value, key in code.stored or "setattr" in code.names):
            random = hasattr(value, "bit_generator") or module_of(type(value)) in ("random", "numpy.random.mtrand")
            yield SharedPart(name, read, "draw from self.np_random instead" if random else "keep it in self")
    for function in (function for key, function in code.functions.items() if key not in held):
        for arguments in (function.__defaults__, function.__kwdefaults__):
            values = arguments.values() if isinstance(arguments, dict) else arguments or ()
            if not all(map(_is_constant, values)):
                yield SharedPart(
                    f"a default argument of {function.__qualname__}", functools.partial(_itself, arguments)
                )
    for name, cache in code.caches.values():
        arguments = cache.__wrapped__.__code__
        if arguments.co_argcount + arguments.co_kwonlyargcount == 0 and cache.cache_info().currsize == 1:
            yield SharedPart(f"what the cached {name}() gives", functools.partial(_of_cache, cache))
    if code.names & {"environ", "getenv", "putenv"}:
        yield SharedPart("os.environ", lambda: dict(os.environ))


def _of_cache(cache: Any) -> Any:
    return cache() if cache.cache_info().currsize == 1 else None


def _itself(value: Any) -> Any:
    return value


def _in(place: Any, name: str) -> Callable[[], Any]:
    return lambda: place.get(name)


def _in_cell(function: types.FunctionType, index: int) -> Callable[[], Any]:
    return lambda: variables(function)[index][1]


def _is_constant(value: Any) -> bool:
    return type(value) in ATOMS or (type(value) is tuple and all(map(_is_constant, value)))


def _may_change(value: Any, stored: bool) -> bool:
    """Whether a shared value has to be compared: it can be changed in place, or is assigned to."""
    # A C library gets an attribute for each function that is called for the first time.
    if isinstance(value, (gym.Env, gym.Space, ctypes.CDLL, *_CODE)):
        return stored and not isinstance(value, gym.Env)
    return stored or not _is_constant(value)


def _iterator_in(code: ReachedCode) -> str | None:
    """An iterator that all worlds share: it moves as it is used and cannot be restored."""
    for name, _, _, read in _places(code):
        cls = type(read())
        if cls is not type and hasattr(cls, "__next__") and hasattr(cls, "__iter__"):
            return f"{name} is an iterator, which all worlds share; keep a number in self"
    return None


def _entry_for_a_world(code: ReachedCode) -> str | None:
    """A dictionary that all worlds share and that has an entry for this one, as weak references often make."""
    own = {id(value) for value in code.objects}
    for name, _, _, read in _places(code):
        value = read()
        if isinstance(value, Mapping) and any(id(key) in own or (type(key) is int and key in own) for key in value):
            return f"{name} holds something for each world, outside of it; keep it in self"
    return None


# -- what the layers hold ----------------------------------------------------------------------------------------------


def _held_twice(layers: list[Any], others: list[Any]) -> Iterator[SharedPart]:
    """Objects that can change and that two siblings both hold."""
    mine, theirs = _objects(layers), _objects(others)
    for key in mine.keys() & theirs.keys():
        name, value = mine[key]
        read = _generators_of if isinstance(value, gym.Space) else _itself
        yield SharedPart(name, functools.partial(read, value), "give each world its own")


def _generators_of(space: gym.Space[Any]) -> Any:
    """The generators of a space; one that is not there yet is made now, so that its first draw changes it."""
    return [getattr(part, "np_random", None) for part in parts_of(space)]


def _objects(layers: list[Any]) -> dict[int, tuple[str, Any]]:
    """What some layers hold and can change, by identity; with the field that leads there."""
    found: dict[int, tuple[str, Any]] = {}
    for layer in layers:
        own = [(name, value) for name, value in vars(layer).items() if not isinstance(value, gym.Space)]
        for name, value in own:
            freezer = Freezer(CODECS, places_of(layers))
            try:
                freezer.freeze(value)
            except NotCopyableError:
                continue
            for met, node in freezer.met():
                mutable = type(node) is Node and node.kind in _MUTABLE and not _is_read_only(met)
                if mutable or isinstance(met, gym.Space):
                    found.setdefault(id(met), (f"{type(layer).__name__}.{name}", met))
    return found


def _is_read_only(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable


def _space_fields(layer: Any, code: ReachedCode) -> set[str]:
    """The fields of a layer that are spaces and that the code mentions; others cannot matter."""
    if of_library(layer):
        return set()
    names = {name.lstrip("_") for name in code.names}
    return {n for n, value in vars(layer).items() if isinstance(value, gym.Space) and n.lstrip("_") in names}


def _spaces(layer: Any, names: set[str]) -> Iterator[SharedPart]:
    """Bounds of spaces, which are not saved: a restored world keeps its own."""
    for name in names:
        yield SharedPart(f"the bounds of {type(layer).__name__}.{name}", _in(vars(layer), name), _NO_BOUNDS, True)


def _constants(layer: Any, code: ReachedCode) -> Iterator[SharedPart]:
    """Tables of a library's environment that are not saved, where the user's own code mentions them."""
    if of_library(layer):
        for name in code.names.intersection(constant_fields(layer)):
            yield SharedPart(f"{type(layer).__name__}.{name}", _in(vars(layer), name), "it is not saved", True)
