"""Whether torch can compute on a device."""

from __future__ import annotations

import torch

from rl_tracking.errors import UsageError


def check_device(device: str) -> None:
    """Refuse a device that cannot be used here, before anything is built on it.

    Raises:
        UsageError: torch does not know it, has no support for it or cannot reach it.
    """
    try:
        torch.zeros(1, device=device).item()  # `meta` is a device, too, but holds no numbers
    except (RuntimeError, AssertionError) as error:
        text = str(error).split("\n")[0]
        raise UsageError(f"device '{device}' cannot be used here, try 'cpu': {text}") from error
