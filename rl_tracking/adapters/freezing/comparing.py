"""Where two frozen values differ."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rl_tracking.adapters.freezing.core import Node

# Fields that hold the time of day: saved and restored, but never the same in two runs.
_CLOCKS = ("episode_start_time", "time_queue", "episode.t")


def same(a: Any, b: Any) -> bool:
    """Whether two frozen values are equal bit for bit."""
    return next(differences(a, b), None) is None


def without_clocks(fields: Iterable[str]) -> list[str]:
    """The names of differing fields, sorted, without those that hold the time of day."""
    return sorted(field for field in fields if not any(clock in field for clock in _CLOCKS))


def differences(a: Any, b: Any, ignore: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where two frozen values differ, as paths such as ``TimeLimit._elapsed_steps``; some kinds may be ignored."""
    return _differences(a, b, "", (set(), ignore))


_Walk = tuple[set[tuple[int, int]], frozenset[str]]  # pairs that were compared, and the kinds that are ignored


def _differences(a: Any, b: Any, path: str, walk: _Walk) -> Iterator[str]:
    seen, _ = walk
    if a is b or (id(a), id(b)) in seen:
        return
    if type(a) is not type(b):
        yield path
    elif type(a) is Node:
        seen.add((id(a), id(b)))
        yield from _node_differences(a, b, path, walk)
    elif isinstance(a, dict):
        for name in sorted(a.keys() | b.keys()):
            place = f"{path}{name}" if str(name).startswith("[") else f"{path}.{name}".lstrip(".")
            if name not in a or name not in b:
                yield place
            else:
                yield from _differences(a[name], b[name], place, walk)
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield path
        else:
            for index, (x, y) in enumerate(zip(a, b, strict=True)):
                yield from _differences(x, y, f"{path}[{index}]", walk)
    elif _bits(a) != _bits(b):
        yield path


def _node_differences(a: Node, b: Node, path: str, walk: _Walk) -> Iterator[str]:
    if a.kind == b.kind and a.kind in walk[1]:
        return
    if (a.kind, a.label) != (b.kind, b.label) or (a.kind == "value" and a.ref != b.ref):
        yield path
    elif a.kind == "constant":
        return
    elif a.kind == "dict":
        yield from _differences(_by_key(a), _by_key(b), path, walk)
    elif a.kind == "layer-state":
        yield from _differences(_fields(a, b), _fields(b, a), a.label, walk)
    elif a.kind == "world":
        for mine, theirs in zip(a.content, b.content, strict=False):
            yield from _differences(mine, theirs, "", walk)
    elif a.kind in ("list", "tuple", "object", "module", "function"):
        yield from _differences(a.content, b.content, path, walk)
    elif next(_differences(a.content, b.content, path, walk), None) is not None:
        yield path


def _fields(node: Node, other: Node) -> dict[str, Any]:
    """The fields of a layer, without those that are no state in the other one, such as displays that it has made."""
    atoms, frozen, _ = node.content
    no_state = other.content[-1]
    return {name: part for name, part in {**atoms, **frozen}.items() if name not in no_state}


def _by_key(node: Node) -> dict[str, Any]:
    pairs, factory = node.content
    # The order of a dictionary's keys is part of its state.
    named = {f"[{key.content if type(key) is Node else key!r}]": part for key, part in pairs}
    return {**named, "[order]": [key for key, _ in pairs], "[default_factory]": factory}


def _bits(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return value.dtype, value.tobytes()
    if type(value) is float:
        return struct.pack("<d", value)
    if type(value) is complex:
        return struct.pack("<dd", value.real, value.imag)
    return value
