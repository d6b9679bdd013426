"""What can be done with frozen values: comparing them, writing them as bytes, drawing other random numbers."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from rl_tracking.adapters.freezing.core import Node
from rl_tracking.adapters.freezing.randomness import RANDOM_KINDS, reseeded, started
from rl_tracking.errors import UsageError

_MAGIC = b"rl_tracking frozen 3\n"


def same(a: Any, b: Any) -> bool:
    """Whether two frozen values are equal bit for bit."""
    return next(differences(a, b), None) is None


def differences(a: Any, b: Any, ignore: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where two frozen values differ, as paths such as ``TimeLimit._elapsed_steps``, but for nodes of some kinds."""
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
            place = f"{path}.{name}".lstrip(".") if not str(name).startswith("[") else f"{path}{name}"
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
        yield from _differences(_keyed(a), _keyed(b), path, walk)
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
    """The state of a layer, without what the other one takes for no state: what it shows itself with, if it does."""
    atoms, frozen, spaces, _ = node.content
    *_, their_spaces, no_state = other.content
    found = {**atoms, **frozen, **spaces}
    for name in no_state:
        if name not in their_spaces:
            found.pop(name, None)
    return found


def _keyed(node: Node) -> dict[str, Any]:
    pairs, factory = node.content
    # The order of a dictionary's keys is part of it.
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


def randomness(frozen: Any) -> int:
    """A number that follows from the states of all generators in a frozen value."""
    digest = hashlib.blake2b(digest_size=8)
    seen: set[int] = set()
    waiting = [frozen]
    while waiting:
        part = waiting.pop()
        if type(part) is Node and id(part) not in seen:
            seen.add(id(part))
            if part.kind in RANDOM_KINDS:
                # One that nobody has drawn from counts as what it will become: saving or showing it may make it that.
                content = started(part.content) if part.kind == "seed" else part.content
                digest.update(repr(_ordered(content)).encode())
            elif part.kind != "history":
                waiting.append(part.content)
            else:
                waiting.append(part.content[-1])
        elif isinstance(part, dict):
            waiting += [part[name] for name in sorted(part)]  # which a trip through bytes puts in this order
        elif isinstance(part, list | tuple):
            waiting += part
    return int.from_bytes(digest.digest())


def _ordered(part: Any) -> Any:
    """The same with its dictionaries in the order of their keys."""
    if isinstance(part, dict):
        return [(name, _ordered(part[name])) for name in sorted(part)]
    return tuple(map(_ordered, part)) if isinstance(part, tuple) else part


def with_new_randomness(frozen: Any, seed: tuple[int, ...]) -> Any:
    """The same value with every generator in it started afresh: the i-th from ``(*seed, i)``."""
    made: dict[int, Node] = {}
    generators = 0

    def drawn(part: Any) -> Any:
        """The generator of a space, which is made when it is drawn from."""
        nonlocal generators
        if type(part) is not Node or part.shared or part.kind not in ("generator", "seed"):
            return rebuilt(part)
        generators += 1
        return Node("seed", "", (*seed, generators - 1))

    def rebuilt(part: Any) -> Any:
        nonlocal generators
        if type(part) is Node:
            if id(part) in made:
                return made[id(part)]
            if part.kind == "history":  # what was played stays as it was; what follows is new
                content = [*part.content[:-1], rebuilt(part.content[-1])]
                made[id(part)] = Node(part.kind, "reseeded", content)
                return made[id(part)]
            if part.kind in RANDOM_KINDS:
                made[id(part)] = reseeded(part, (*seed, generators))
                made[id(part)].shared = part.shared
                generators += 1
                return made[id(part)]
            if part.kind == "space":
                copy = made[id(part)] = Node(part.kind, part.label, [drawn(inner) for inner in part.content], part.ref)
                copy.shared = part.shared
                return copy
            # What a layer's node keeps beside its content is read from the new content.
            copy = made[id(part)] = Node(part.kind, part.label, None, None if part.kind == "layer-state" else part.ref)
            copy.content, copy.shared = rebuilt(part.content), part.shared
            return copy
        if isinstance(part, dict):
            made_of = {name: rebuilt(part[name]) for name in sorted(part)}
            return {name: made_of[name] for name in part}
        if isinstance(part, list | tuple):
            parts = [rebuilt(value) for value in part]
            return parts if isinstance(part, list) else tuple(parts)
        return part

    return rebuilt(frozen)


def to_bytes(frozen: Any) -> bytes:
    """A self-describing form without pickled objects: a JSON tree, then the arrays as ``.npy`` files.

    Equal values give equal bytes. Functions are written as their names, and stay those of whoever is restored.

    Raises:
        UsageError: something in it has no form as bytes (dates, paths and their like).
    """
    writer = _Writer()
    root = writer.encode(frozen)
    rows = []
    while writer.waiting:  # grows as nodes are met
        node = writer.waiting.pop(0)
        if node.kind == "value":
            raise UsageError(f"a {node.label.replace(':', '.')} has no form as bytes: {node.ref}")
        rows.append([node.kind, node.label, writer.encode(node.content)])
    header = {"root": root, "nodes": rows, "arrays": [len(array) for array in writer.arrays]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([_MAGIC, struct.pack("<Q", len(text)), text, *writer.arrays])


def from_bytes(data: bytes) -> Any:
    """The value that :func:`to_bytes` wrote. No code is run, whatever the bytes are.

    Raises:
        ValueError: they are something else.
    """
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("no frozen value")
        start = len(_MAGIC) + 8
        (size,) = struct.unpack_from("<Q", data, len(_MAGIC))
        header = json.loads(data[start : start + size])
        reader = _Reader(header, data[start + size :])
        return reader.decode(header["root"])
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise ValueError("these bytes hold no saved states") from error


class _Writer:
    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.waiting: list[Node] = []
        self.arrays: list[bytes] = []

    def encode(self, part: Any) -> Any:
        kind = type(part)
        if part is None or kind in (bool, int, str):
            return part
        if kind is Node:
            if id(part) not in self._numbers:
                self._numbers[id(part)] = len(self._numbers)
                self.waiting.append(part)
            return {"node": self._numbers[id(part)]}
        if kind is list:
            return [self.encode(value) for value in part]
        if isinstance(part, tuple):
            return {"tuple": [self.encode(value) for value in part]}
        if kind is dict:
            return {"dict": {name: self.encode(part[name]) for name in sorted(part)}}
        if kind is float:
            return {"float": struct.pack("<d", part).hex()}
        if kind is complex:
            return {"complex": struct.pack("<dd", part.real, part.imag).hex()}
        if kind is bytes:
            return {"bytes": part.hex()}
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(part), allow_pickle=False)
        self.arrays.append(buffer.getvalue())
        return {"array" if kind is np.ndarray else "scalar": len(self.arrays) - 1}


class _Reader:
    def __init__(self, header: dict[str, Any], data: bytes) -> None:
        self._arrays = []
        start = 0
        for size in header["arrays"]:
            self._arrays.append(np.lib.format.read_array(io.BytesIO(data[start : start + size]), allow_pickle=False))
            start += size
        self._met: set[int] = set()
        self._nodes = [Node(kind, label) for kind, label, _ in header["nodes"]]
        for node, (_, _, content) in zip(self._nodes, header["nodes"], strict=True):
            node.content = self.decode(content)

    def decode(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self.decode(value) for value in part]
        if not isinstance(part, dict):
            return part
        ((tag, value),) = part.items()
        if tag == "node":
            node = self._nodes[value]
            node.shared = value in self._met
            self._met.add(value)
            return node
        if tag == "tuple":
            return tuple(self.decode(inner) for inner in value)
        if tag == "dict":
            return {name: self.decode(inner) for name, inner in value.items()}
        if tag == "float":
            return _unpacked("<d", value)[0]
        if tag == "complex":
            return complex(*_unpacked("<dd", value))
        if tag == "bytes":
            return bytes.fromhex(value)
        array = self._arrays[value]
        array.flags.writeable = False
        return array if tag == "array" else array[()]


def _unpacked(layout: str, text: str) -> tuple[Any, ...]:
    return struct.unpack(layout, bytes.fromhex(text))
