"""What all worlds share and their steps can reach: it must not change, as nobody could put it back for one world alone.

Attributes of classes, variables of the functions around them, variables of modules, default arguments, attributes of
functions, what a cached function looks at, and objects that two siblings both hold. They are compared when a way of
saving is chosen, and again whenever states are saved, so that what first changes late stops a training by its name.
"""

from __future__ import annotations

import array
import contextlib
import contextvars
import ctypes
import dataclasses
import functools
import mmap
import os
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.freezing import CODECS, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.core import ATOMS, label_of, module_of, places_of
from rl_tracking.adapters.freezing.form import differences
from rl_tracking.adapters.freezing.randomness import RANDOM_KINDS
from rl_tracking.adapters.freezing.spaces import Pending, parts_of
from rl_tracking.adapters.reached_code import Cached, ReachedCode, is_library, variables
from rl_tracking.adapters.stacks import Blueprint, constant_fields, layers_of

_HEAVY = 5_000  # numbers and objects, beyond which a value is compared rarely
_SOMETIMES, _RARELY = 16, 256  # saves between two comparisons
_LARGE, _MANY = 2**14, 256  # bytes of an array and elements of a container that are compared at every save
# What is changed or restored in place, so that every world that shares it sees the change.
_MUTABLE = frozenset("list dict set deque array tensor memory object module parameter generator bits surface".split())
_KINDS = _MUTABLE | frozenset(RANDOM_KINDS)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, property)
_DESCRIPTORS = (*_CODE, staticmethod, classmethod, types.MemberDescriptorType, types.GetSetDescriptorType, Cached)
_BOUNDS = ("low", "high", "n", "start", "nvec", "_shape", "dtype")
_MISSING = object()
_NO_BOUNDS = "a space is not saved: keep numbers that change in fields of their own"


@dataclasses.dataclass
class _Part:
    """Something shared: how to read it, what it was, and how it is called."""

    name: str
    read: Callable[[], Any]
    advice: str = "keep it in self"
    of_world: bool = False  # read from the environment itself, which has to have begun
    before: Any = _MISSING
    pause: int = 1  # saves between comparisons: those that take long are made now and then

    def differs(self) -> bool:
        """Whether it is another than at the first time."""
        value = self.read()
        now = _fingerprint(value)
        if now is None:
            try:
                now = Freezer(_COMPARED).freeze(value)
            except NotCopyableError:
                return False
        if self.before is _MISSING:
            self.before = now
            self.pause = 1 if type(now) is not Node else _SOMETIMES if _weight(now) < _HEAVY else _RARELY
            return False
        if type(now) is Node or type(self.before) is Node:
            return next(differences(self.before, now), None) is not None
        return bool(now != self.before)


class _Contents:
    """What cannot be put back can be compared: memory, and what kinds of containers of one's own hold."""

    kind = "contents"

    def accepts(self, cls: type) -> bool:
        """What shows its memory (an array of a kind of its own, a C number, a map), containers, and variables."""
        return cls in _LOCKS or issubclass(cls, (*_CONTAINERS, *_VARIABLES, np.ndarray, *_MEMORY))

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Not as its class has it, but as the plain one."""
        cls = type(value)
        node.label = label_of(cls)
        if cls in _LOCKS:
            return
        if isinstance(value, _MEMORY):
            try:
                buffer: Any = value
                memory = memoryview(buffer)
                if memory.nbytes > _MOST_MEMORY:
                    raise NotCopyableError("too much memory to compare")
                node.content = memory.tobytes()
            except (TypeError, ValueError, BufferError) as error:  # closed, say
                raise NotCopyableError(f"memory that cannot be read: {error}") from error
            return
        if isinstance(value, contextvars.ContextVar):
            node.content = freezer.freeze(value.get(None))
            return
        parts: list[Any] = [getattr(value, "__dict__", None)]
        if isinstance(value, np.ndarray):
            if value.nbytes > _MOST_MEMORY:  # a map of a file of data, say
                raise NotCopyableError("too much memory to compare")
            parts.append(np.array(value, copy=True, subok=False))
        elif isinstance(value, dict):
            parts.append(dict(dict.items(value)))
        elif isinstance(value, _CONTAINERS):
            parts.append(list(value))
        node.content = [freezer.freeze(part) for part in parts]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """Never called."""


_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_VARIABLES = (threading.local, contextvars.ContextVar)
_C_DATA = ctypes.c_int.__mro__[2]  # of all that ctypes makes
_MOST_MEMORY = 2**26  # bytes
_MEMORY = (memoryview, mmap.mmap, array.array, _C_DATA)
_COMPARED = CODECS.with_last(_Contents())


def _fingerprint(value: Any) -> Any:
    """Something to compare a value by in a microsecond; None if there is no such thing."""
    cls = type(value)
    if cls in ATOMS:
        return (value,)
    if cls is np.ndarray and not value.dtype.hasobject and value.nbytes < _LARGE:
        return value.tobytes(), value.shape
    if cls is dict and ATOMS.issuperset(map(type, value.values())) and len(value) < _MANY:
        return dict(value)
    if cls in (list, tuple) and ATOMS.issuperset(map(type, value)) and len(value) < _MANY:
        return list(value)
    if isinstance(value, gym.Space):
        return [number for part in parts_of(value) for number in map(_fingerprint, _bounds(part))]
    return None


def _bounds(space: Any) -> list[Any]:
    """What a space's elements may be."""
    fields = vars(space)
    return [fields[name] for name in _BOUNDS if name in fields]


class SharedState:
    """What the worlds of an environment share.

    Args:
        blueprint: of the environment; a sibling is built and makes some steps.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._layers = layers_of(blueprint.env)
        self._parts: list[_Part] = []
        self._found: str | None = None
        self._checks = 0
        if all(is_library(module_of(type(layer))) for layer in self._layers):
            return
        sibling = blueprint.build()
        try:
            # What is loaded at the first reset and kept from then on is no state.
            _run(sibling, 2)
            code = ReachedCode(layers_of(sibling))
            self._found = _iterator_in(code) or _kept_outside(code)
            self._parts = [*_reached(code), *_held_twice(self._layers, layers_of(sibling))]
            self.changed()  # what is there now is what it has to be
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
        """A cache gives what its function gave before, though what that looks at may have changed."""
        used = set(cache.__wrapped__.__code__.co_names)
        moved = sorted(used & (varying | {"np_random"}))
        if moved:
            self._found = f"{name} is cached (lru_cache) and uses self.{moved[0]}, which changes; do not cache it"
        for layer in self._layers:
            for field in used & vars(layer).keys():
                advice = f"{name}, which is cached (lru_cache), uses it: do not cache it"
                self._parts.append(_Part(f"{type(layer).__name__}.{field}", _reader(vars(layer), field), advice, True))

    def changed(self, *, begun: bool = False, thorough: bool = True) -> str | None:
        """What has changed, with what to do; None if nothing has.

        Args:
            begun: whether the environment itself was reset, so that its own fields are there.
            thorough: compare all; else what takes long has its turn now and then.
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
    """A reset and some steps; an environment's own errors are reported elsewhere."""
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
            content = repr(_fingerprint(value)) if isinstance(value, gym.Space) else value
            found[name] = Freezer(CODECS, places_of(layers)).freeze(content)
        except NotCopyableError:
            found[name] = id(value)
    return found


def _reached(code: ReachedCode) -> Iterator[_Part]:
    """Variables and attributes that the code can reach without an object of its own."""
    met: set[tuple[int, str]] = set()
    held = {id(value) for each in code.objects for value in vars(each).values()}

    def part(name: str, place: Any, key: str, read: Callable[[], Any]) -> Iterator[_Part]:
        if (id(place), key) in met:
            return
        met.add((id(place), key))
        value = read()
        if _may_change(value, key in code.stored or "setattr" in code.names):
            random = hasattr(value, "bit_generator") or module_of(type(value)) in ("random", "numpy.random.mtrand")
            yield _Part(name, read, "draw from self.np_random instead" if random else "keep it in self")

    for function in code.functions.values():
        if id(function) in held:
            continue  # what it remembers is the state of the world that holds it
        where = f"{function.__qualname__}"
        for index, (name, _) in enumerate(variables(function)):
            cell: Any = (function.__closure__ or ())[index]
            if name != "__class__":
                yield from part(f"variable '{name}' around {where}", cell, name, _cell_reader(function, index))
        for name in set(function.__code__.co_names) & function.__globals__.keys():
            module = function.__globals__
            yield from part(f"variable '{name}' of module {function.__module__}", module, name, _reader(module, name))
        for name in vars(function).keys() - {"__wrapped__"}:
            yield from part(f"{where}.{name}", vars(function), name, _reader(vars(function), name))
        for arguments in (function.__defaults__, function.__kwdefaults__):
            if arguments and not _is_constant(_values(arguments)):
                yield _Part(f"a default argument of {where}", functools.partial(_itself, arguments))
    for module_name, mentioned in code.modules.items():
        for name in code.names & vars(mentioned).keys():
            place = vars(mentioned)
            yield from part(f"variable '{name}' of module {module_name}", place, name, _reader(place, name))
    yield from _in_caches(code)
    if code.names & {"environ", "getenv", "putenv"}:
        yield _Part("os.environ", lambda: dict(os.environ))
    for cls in code.classes:
        for name in code.names & vars(cls).keys():
            if not isinstance(vars(cls)[name], _DESCRIPTORS):
                yield from part(f"{cls.__name__}.{name}", cls, name, _reader(vars(cls), name))


def _in_caches(code: ReachedCode) -> Iterator[_Part]:
    """What cached functions without arguments have made for all worlds."""
    for name, cache in code.caches.values():
        arguments = cache.__wrapped__.__code__
        if arguments.co_argcount + arguments.co_kwonlyargcount == 0 and cache.cache_info().currsize == 1:
            yield _Part(f"what the cached {name}() gives", functools.partial(_of_cache, cache))


def _of_cache(cache: Any) -> Any:
    return cache() if cache.cache_info().currsize == 1 else None


def _reader(place: Any, name: str) -> Callable[[], Any]:
    return lambda: place.get(name)


def _cell_reader(function: types.FunctionType, index: int) -> Callable[[], Any]:
    return lambda: variables(function)[index][1]


def _values(arguments: Any) -> tuple[Any, ...]:
    return tuple(arguments.values()) if isinstance(arguments, dict) else tuple(arguments)


def _is_constant(value: Any) -> bool:
    return type(value) in ATOMS or (type(value) is tuple and all(map(_is_constant, value)))


def _may_change(value: Any, stored: bool) -> bool:
    """Whether a shared value has to be compared: what can be changed in place, and what is assigned to."""
    if isinstance(value, (gym.Env, gym.Space, *_CODE)):
        return stored and not isinstance(value, gym.Env)
    return stored or not _is_constant(value)


def _shared_values(code: ReachedCode) -> Iterator[tuple[str, Any]]:
    """Variables and attributes that the code mentions and all worlds share, with what to call them."""
    for function in code.functions.values():
        yield from ((f"variable '{name}' around {function.__qualname__}", value) for name, value in variables(function))
        for name in set(function.__code__.co_names) & function.__globals__.keys():
            yield f"variable '{name}' of module {function.__module__}", function.__globals__[name]
    for cls in code.classes:
        for name in code.names & vars(cls).keys():
            yield f"{cls.__name__}.{name}", vars(cls)[name]


def _iterator_in(code: ReachedCode) -> str | None:
    """An iterator that all worlds share: it moves as it is used and cannot be put back."""
    found = (name for name, value in _shared_values(code) if _is_iterator(value))
    return next((f"{name} is an iterator, which all worlds share; keep a number in self" for name in found), None)


def _kept_outside(code: ReachedCode) -> str | None:
    """A dictionary that all worlds share and that has an entry for this one, as weak references often make."""
    own = {id(value) for value in code.objects}
    for name, value in _shared_values(code):
        if isinstance(value, Mapping) and any(id(key) in own or (type(key) is int and key in own) for key in value):
            return f"{name} holds something for each world, outside of it; keep it in self"
    return None


def _is_iterator(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(type(value), "__next__") and hasattr(type(value), "__iter__")


def _held_twice(layers: list[Any], others: list[Any]) -> Iterator[_Part]:
    """Objects that can change and that two siblings both hold."""
    mine, theirs = _objects(layers), _objects(others)
    for key in mine.keys() & theirs.keys():
        name, value = mine[key]
        read = _drawn_from if isinstance(value, gym.Space) else _itself
        yield _Part(name, functools.partial(read, value), "give each world its own")


def _itself(value: Any) -> Any:
    return value


def _drawn_from(space: gym.Space[Any]) -> Any:
    """The generators of a space that somebody has drawn from."""
    generators = [getattr(part, "_np_random", None) for part in parts_of(space)]
    return [None if type(generator) is Pending else generator for generator in generators]


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
                mutable = type(node) is Node and node.kind in _KINDS and not _is_read_only(met)
                if mutable or isinstance(met, gym.Space):
                    found.setdefault(id(met), (f"{type(layer).__name__}.{name}", met))
    return found


def _is_read_only(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable


def _space_fields(layer: Any, code: ReachedCode) -> set[str]:
    """Spaces of a layer that the code mentions; one that it does not cannot matter."""
    if is_library(module_of(type(layer))):
        return set()
    names = {name.lstrip("_") for name in code.names}
    return {n for n, value in vars(layer).items() if isinstance(value, gym.Space) and n.lstrip("_") in names}


def _spaces(layer: Any, names: set[str]) -> Iterator[_Part]:
    """Bounds of spaces, which are not saved: a restored world keeps its own."""
    for name in names:
        yield _Part(f"the bounds of {type(layer).__name__}.{name}", _reader(vars(layer), name), _NO_BOUNDS, True)


def _constants(layer: Any, code: ReachedCode) -> Iterator[_Part]:
    """Tables of a library's environment that are not saved, where code of the user's own mentions them."""
    if is_library(module_of(type(layer))):
        for name in code.names.intersection(constant_fields(layer)):
            yield _Part(f"{type(layer).__name__}.{name}", _reader(vars(layer), name), "it is not saved", True)


def _weight(frozen: Any) -> int:
    """About how many numbers and objects a frozen value has."""
    seen: set[int] = set()
    waiting, weight = [frozen], 0
    while waiting and weight <= _HEAVY:
        part = waiting.pop()
        weight += 1
        if isinstance(part, np.ndarray):
            weight += part.size // 16
        elif type(part) is Node and id(part) not in seen:
            seen.add(id(part))
            waiting.append(part.content)
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return weight
