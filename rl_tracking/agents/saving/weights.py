"""The tensors of a checkpoint: their size is known before they are unpacked, and they must fit the policy."""

from __future__ import annotations

import io
import pickletools
from typing import Any

import torch
from torch import Tensor

from rl_tracking.agents.saving.archive import MEBIBYTE, open_archive
from rl_tracking.errors import UsageError

_MOST_TENSORS = 8192
# All that a file of tensors names; torch's own reader knows more, some of which makes tensors of any size.
_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",  # of kinds that have no class of storages
    "torch.storage UntypedStorage",
    *(f"torch {kind}" for kind in ("uint16", "uint32", "uint64")),
    *(f"torch {kind}Storage" for kind in "Bool Byte Char Short Int Long Half BFloat16 Float Double".split()),
}
_OTHER_NAMES = ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")


def read(content: bytes, name: str, device: torch.device | str = "cpu") -> Any:
    """What ``torch.save`` wrote: tensors, numbers and texts in dicts, lists and tuples.

    Args:
        content: the file.
        name: what errors call it.
        device: where tensors go.

    Raises:
        UsageError: it is damaged, holds something else, or unpacks to more than it is.
    """
    with open_archive(content, name, most=_MOST_TENSORS) as archive:
        # torch stores tensors uncompressed, so more than the file's own size can only be a bomb.
        if sum(archive.sizes.values()) > len(content):
            raise UsageError(f"{name} is damaged: it says that it unpacks to more than it is")
        listing = next((member for member in archive.sizes if member.endswith("/data.pkl")), "data.pkl")
        _check_names(archive.read(listing, MEBIBYTE), name)
    # weights_only still builds what the list of tensors names; that was checked above.
    try:
        return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged data
        raise UsageError(f"{name} is damaged: its tensors cannot be read") from error


def _check_names(listing: bytes, name: str) -> None:
    """Look through the list of tensors, which is a pickle, without running it."""
    try:
        for operation, argument, _ in pickletools.genops(listing):
            # Every way of a pickle to name something: by GLOBAL only names of tensors, by another opcode none.
            if operation.name in _OTHER_NAMES or (operation.name == "GLOBAL" and argument not in _NAMES):
                raise UsageError(f"{name} holds something else than tensors: {str(argument)[:100]!r}")
    except UsageError:
        raise
    except Exception as error:  # pickletools raises many kinds for damaged data
        raise UsageError(f"{name} is damaged: its tensors cannot be read") from error


def put(policy: torch.nn.Module, weights: Any, name: str) -> None:
    """Give a policy its weights.

    Raises:
        UsageError: they are not the policy's in name, shape and kind, or not finite.
    """
    # load_state_dict(strict=True) checks names and shapes, but neither kinds nor that numbers are finite.
    own = policy.state_dict()
    if not isinstance(weights, dict) or weights.keys() != own.keys():
        raise UsageError(f"{name} do not fit its own description: they have other names")
    for key, expected in own.items():
        tensor = weights[key]
        if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
            said = f"{list(tensor.shape)} {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise UsageError(
                f"{name} do not fit its own description: {key} is {said}, not {list(expected.shape)} {expected.dtype}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"{name} are not finite: {key}")
    policy.load_state_dict(weights)
