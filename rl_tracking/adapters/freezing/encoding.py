"""Frozen values as bytes, without pickled objects."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np

from rl_tracking.adapters.freezing.core import Node
from rl_tracking.errors import UsageError

_MAGIC = b"rl_tracking frozen 4\n"
_PLAIN = frozenset({type(None), bool, str, bytes, float})  # what MessagePack keeps as it is, bit for bit
_Nodes = list[tuple[str, str, Any]]  # kind, label and content of each


def to_bytes(frozen: Any) -> bytes:
    """A frozen value as MessagePack; equal values give equal bytes.

    Functions are written as their names, and stay those of the environment that is restored.

    Raises:
        UsageError: something in it has no form as bytes (dates, paths and the like).
    """
    numbers: dict[int, int] = {}
    nodes: list[Node] = []

    def encoded(part: Any) -> Any:
        cls = type(part)
        if cls in _PLAIN or (cls is int and -(2**63) <= part < 2**63):
            return part
        if cls is Node:
            if numbers.setdefault(id(part), len(nodes)) == len(nodes):
                nodes.append(part)
            return {"node": numbers[id(part)]}
        if cls is list:
            return [encoded(value) for value in part]
        if isinstance(part, tuple):
            return {"tuple": [encoded(value) for value in part]}
        if cls is dict:
            return {"dict": {name: encoded(part[name]) for name in sorted(part)}}
        if cls is int:
            return {"int": str(part)}
        return {"array" if cls is np.ndarray else "number" if cls is complex else "scalar": _npy(part)}

    root = encoded(frozen)
    rows = []
    for node in nodes:  # the list grows meanwhile
        _refuse_value(node)
        rows.append((node.kind, node.label, encoded(node.content)))
    return _MAGIC + msgspec.msgpack.encode((root, rows))


def _refuse_value(node: Node) -> None:
    if node.kind == "value":
        raise UsageError(f"a {node.label.replace(':', '.')} has no form as bytes: {node.ref}")


def _npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Any:
    """The value that :func:`to_bytes` wrote. No code is run, whatever the bytes are.

    Raises:
        ValueError: they are something else.
    """
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("no frozen value")
        root, rows = msgspec.msgpack.decode(data[len(_MAGIC) :], type=tuple[Any, _Nodes])
        nodes = [Node(kind, label) for kind, label, _ in rows]
        met: set[int] = set()

        def decoded(part: Any) -> Any:
            if isinstance(part, list):
                return [decoded(value) for value in part]
            if not isinstance(part, dict):
                return part
            ((tag, value),) = part.items()
            if tag == "node":
                nodes[value].shared = value in met
                met.add(value)
                return nodes[value]
            if tag == "tuple":
                return tuple(decoded(inner) for inner in value)
            if tag == "dict":
                return {name: decoded(inner) for name, inner in value.items()}
            return int(value) if tag == "int" else _from_npy(tag, value)

        for node, (_, _, content) in zip(nodes, rows, strict=True):
            node.content = decoded(content)
        return decoded(root)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError("these bytes hold no saved states of this version") from error


def _from_npy(tag: str, data: bytes) -> Any:
    array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    array.flags.writeable = False
    return array if tag == "array" else array.item() if tag == "number" else array[()]
