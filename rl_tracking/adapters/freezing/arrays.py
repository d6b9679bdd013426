"""Arrays and tensors; those that share memory share it after a restore."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, NotCopyableError, Thawer


class Arrays(Codec):
    """NumPy arrays, without subclasses: read-only copies with the same memory layout."""

    kind = "array"
    types = (np.ndarray,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """As an array of objects, a view of a tensor or of another array, a constant, or an array of its own."""
        if value.dtype.hasobject:
            if value.dtype != object:
                raise NotCopyableError("a structured array of objects")
            node.label = "objects"
            parts = [freezer.freeze_at(f"[{index}]", part) for index, part in enumerate(value.flat)]
            node.content = (value.shape, parts)
        elif value.base is None and value.flags.writeable:
            self._freeze_own(value, node)
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
            self._freeze_own(value, node)

    def _freeze_own(self, value: Any, node: Node) -> None:
        node.content = value.copy(order="K")
        node.content.flags.writeable = False
        if node.content.flags.c_contiguous:
            node.copy = node.content.copy

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new array, because the live one may have been handed out."""
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


class _Tensors(Codec):
    """PyTorch tensors without gradient, by their place in their memory; not parameters."""

    kind = "tensor"
    types = (torch.Tensor,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        if value.requires_grad:
            raise NotCopyableError("a tensor with a gradient")
        if value.layout is not torch.strided or value.is_conj() or value.is_neg():
            raise NotCopyableError("a tensor of an unusual layout")
        memory = _memory(value.untyped_storage(), freezer)
        dtype = str(value.dtype).removeprefix("torch.")
        node.content = (dtype, tuple(value.shape), tuple(value.stride()), value.storage_offset(), memory)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        dtype, shape, stride, offset, memory = node.content
        made = torch.empty(0, dtype=getattr(torch, dtype), device=memory.label)
        return made.set_(thawer.thaw(memory).untyped_storage(), offset, shape, stride)


class _Memory(Codec):
    """The memory that tensors and arrays are views of; they make its nodes."""

    kind = "memory"

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return torch.from_numpy(node.content.copy()).to(node.label)


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _owner(array: np.ndarray[Any, Any]) -> Any:
    """The object that owns the memory of an array, through views of views."""
    base: Any = array.base
    while type(base) is np.ndarray and base.base is not None:
        base = base.base
    return base


def _memory(storage: torch.UntypedStorage, freezer: Freezer) -> Node:
    """The node of a tensor's memory, one for all tensors and arrays that share it."""
    memory = freezer.memory.get(storage.data_ptr())
    if memory is None:
        raw = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).cpu().numpy().copy()
        raw.flags.writeable = False
        memory = freezer.memory[storage.data_ptr()] = Node("memory", str(storage.device), raw)
    else:
        memory.shared = True
    return memory


ARRAY_CODECS = (Arrays(), _Tensors(), _Memory())
