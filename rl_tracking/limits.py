"""Bounds of what can be asked for: counts, seeds, and memory before much of it is taken."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from rl_tracking.errors import UsageError

_GIB = 2**30
_CONTROL_GROUP = Path("/sys/fs/cgroup")


MAX_SEED = 2**32 - 1  # what NumPy's global generator takes


def check_count(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """``value`` as a whole number within bounds.

    Raises:
        UsageError: it is none, or lies outside.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number, not {value!r}")
    if number < low or (high is not None and number > high):
        bounds = f"{low} or more" if number < low else f"{high} or less"
        raise UsageError(f"{name} must be {bounds}, not {value}")
    return number


def check_seed(value: Any) -> int:
    """``value`` as a seed: a whole number from 0 to :data:`MAX_SEED`.

    Raises:
        UsageError: it is none.
    """
    return check_count("seed", value, 0, MAX_SEED)


def available(device: str = "cpu") -> int:
    """Bytes that can still be taken on a device; on the CPU within the limit that a container sets."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free = _free()
    try:
        limit = (_CONTROL_GROUP / "memory.max").read_text(encoding="utf-8").strip()
        used = (_CONTROL_GROUP / "memory.current").read_text(encoding="utf-8")
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):
        return free


def _free() -> int:
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def require(size: int, what: str, remedy: str, device: str = "cpu") -> None:
    """Refuse what would not fit.

    Args:
        size: bytes that it takes, about.
        what: takes it, as the subject of a sentence in the plural.
        remedy: what to do instead.
        device: where.

    Raises:
        UsageError: less is there.
    """
    free = available(device)
    if size > free:
        raise UsageError(
            f"{what} take about {size / _GIB:,.1f} GiB of memory, and {free / _GIB:,.1f} GiB are free; {remedy}"
        )
