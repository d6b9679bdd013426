"""Arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.freezing.core import Freezer, Node, NotCopyableError, Thawer


class Arrays:
    """NumPy arrays; views of one array stay views of one array."""

    kind = "array"

    def accepts(self, cls: type) -> bool:
        """Plain arrays, not their subclasses."""
        return cls is np.ndarray

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """A read-only copy with the same memory layout."""
        if value.dtype.hasobject:
            if value.dtype != object:
                raise NotCopyableError("a structured array of objects")
            node.label = "objects"
            parts = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value.flat)]
            node.content = (value.shape, parts)
        elif isinstance(_owner(value), torch.Tensor):
            storage = _owner(value).untyped_storage()
            node.label, offset = "of a tensor", _address(value) - storage.data_ptr()
            node.content = (_memory(storage, freezer), offset, value.shape, value.strides, value.dtype.str)
        elif type(value.base) is np.ndarray and value.base.flags.forc:
            base = freezer.freeze(value.base)
            offset = _address(value) - _address(value.base)
            node.label = "view"
            node.content = (base, offset, value.shape, value.strides, value.dtype.str, bool(value.flags.writeable))
        elif not value.flags.writeable and (value.base is None or isinstance(value.base, bytes)):
            node.label, node.content = "constant", value
        elif value.base is not None and type(value.base) is not np.ndarray:
            raise NotCopyableError(f"an array over the memory of a {type(value.base).__name__}")
        else:
            node.content = value.copy(order="K")
            node.content.flags.writeable = False

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new array: the living one may have been handed out."""
        content = node.content
        if not node.label:
            return content.copy(order="K")
        if node.label == "constant":
            return content
        if node.label == "objects":
            shape, parts = content
            objects = np.empty(len(parts), dtype=object)
            for index, part in enumerate(parts):
                objects[index] = thawer.thaw(part)
            return objects.reshape(shape)
        if node.label == "of a tensor":
            storage, offset, shape, strides, dtype = content
            whole = thawer.thaw(storage).numpy()
            return np.ndarray(shape, dtype, buffer=whole, offset=offset, strides=strides)
        base, offset, shape, strides, dtype, writeable = content
        memory = thawer.thaw(base).ravel(order="K").view(np.uint8)
        view: Any = np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
        view.flags.writeable = writeable and view.flags.writeable
        return view


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class Tensors:
    """PyTorch tensors without gradient; those that share memory share it afterwards."""

    kind = "tensor"

    def accepts(self, cls: type) -> bool:
        """Plain tensors, not parameters."""
        return cls is torch.Tensor

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Their place in their memory, and that."""
        if value.requires_grad:
            raise NotCopyableError("a tensor with a gradient")
        if value.layout is not torch.strided or value.is_conj() or value.is_neg():
            raise NotCopyableError("a tensor of an unusual layout")
        memory = _memory(value.untyped_storage(), freezer)
        dtype = str(value.dtype).removeprefix("torch.")
        node.content = (dtype, tuple(value.shape), tuple(value.stride()), value.storage_offset(), memory)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new tensor on the same device."""
        dtype, shape, stride, offset, memory = node.content
        made = torch.empty(0, dtype=getattr(torch, dtype), device=memory.label)
        return made.set_(thawer.thaw(memory).untyped_storage(), offset, shape, stride)


def _owner(array: np.ndarray[Any, Any]) -> Any:
    """What the memory of an array belongs to, through views of views."""
    base: Any = array.base
    while type(base) is np.ndarray and base.base is not None:
        base = base.base
    return base


def _memory(storage: torch.UntypedStorage, freezer: Freezer) -> Node:
    """The node of a tensor's memory, one for all tensors and arrays that share it."""
    memory = freezer.memory.get(storage.data_ptr())
    if memory is None:
        memory = freezer.memory[storage.data_ptr()] = Node("memory", str(storage.device), _raw(storage))
    else:
        memory.shared = True
    return memory


def _raw(storage: torch.UntypedStorage) -> np.ndarray[Any, Any]:
    """The bytes of a tensor's memory, as a read-only copy."""
    raw = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).cpu().numpy().copy()
    raw.flags.writeable = False
    return raw


class Memory:
    """What tensors are views of."""

    kind = "memory"

    def accepts(self, cls: type) -> bool:
        """None: tensors make such nodes."""
        return False

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Never called."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """New memory, as a tensor of bytes."""
        return torch.from_numpy(node.content.copy()).to(node.label)


def copier(node: Node) -> Callable[[], Any] | None:
    """The quick way to thaw an array of its own memory; None if there is none."""
    plain = node.kind in ("array", "mujoco-array") and not node.label and node.content.flags.c_contiguous
    return node.content.copy if plain else None


ARRAY_CODECS = (Arrays(), Tensors(), Memory())
