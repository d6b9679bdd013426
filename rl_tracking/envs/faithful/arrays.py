"""Arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rl_tracking.envs.faithful.core import Freezer, Node, NotCopyableError, Thawer


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
        elif type(value.base) is np.ndarray and value.base.flags.forc:
            base = freezer.freeze(value.base)
            offset = _address(value) - _address(value.base)
            node.label = "view"
            node.content = (base, offset, value.shape, value.strides, value.dtype.str, bool(value.flags.writeable))
        elif not value.flags.writeable and (value.base is None or isinstance(value.base, bytes)):
            node.label, node.content = "constant", value
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
        base, offset, shape, strides, dtype, writeable = content
        memory = thawer.thaw(base).ravel(order="K").view(np.uint8)
        view: Any = np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
        view.flags.writeable = writeable and view.flags.writeable
        return view


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class Tensors:
    """PyTorch tensors without gradient."""

    kind = "tensor"

    def accepts(self, cls: type) -> bool:
        """Plain tensors, not parameters."""
        return cls is torch.Tensor

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Their bytes."""
        if value.requires_grad:
            raise NotCopyableError("a tensor with a gradient")
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().copy()
        raw.flags.writeable = False
        node.content = (str(value.dtype).removeprefix("torch."), tuple(value.shape), str(value.device), raw)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new tensor on the same device."""
        dtype, shape, device, raw = node.content
        if not raw.size:
            return torch.empty(shape, dtype=getattr(torch, dtype), device=device)
        return torch.from_numpy(raw.copy()).view(getattr(torch, dtype)).reshape(shape).to(device)


def copier(node: Node) -> Callable[[], Any] | None:
    """The quick way to thaw an array of its own memory; None if there is none."""
    plain = node.kind in ("array", "mujoco-array") and not node.label and node.content.flags.c_contiguous
    return node.content.copy if plain else None


ARRAY_CODECS = (Arrays(), Tensors())
