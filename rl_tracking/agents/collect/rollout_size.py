"""How large a rollout is: its samples, and the memory that they take."""

from __future__ import annotations

import math
from typing import Any

from gymnasium.spaces import Space
from gymnasium.spaces.utils import flatdim

from rl_tracking import limits

_FACTORS = ("n_steps", "n_samples", "horizon")
_NUMBERS = 8  # of a sample beside observation and action: log-probability, reward, values, ends
_BYTES = 4
_COPIES = 2  # as collected, and as one tensor


def samples(arguments: dict[str, Any], num_envs: int) -> int:
    """Samples of a rollout: every step of every branch of every world."""
    counts = [arguments.get(name, 1) for name in _FACTORS]
    # What is no count is refused by the algorithm, in its own words.
    return num_envs * math.prod(count for count in counts if type(count) is int)


def check_memory(arguments: dict[str, Any], num_envs: int, numbers: int) -> None:
    """Refuse a rollout that would not fit into memory.

    Args:
        arguments: of the algorithm, ``n_steps``, ``n_samples`` and ``horizon`` among them.
        num_envs: worlds.
        numbers: of one observation and one action together.

    Raises:
        UsageError: it would not.
    """
    count = samples(arguments, num_envs)
    factors = {"num_envs": num_envs, **{name: arguments[name] for name in _FACTORS if type(arguments.get(name)) is int}}
    limits.require(
        count * (numbers + _NUMBERS) * _BYTES * _COPIES,
        f"the {count:,} samples of a rollout ({' x '.join(factors)})",
        f"ask for less than {max(factors, key=lambda name: factors[name])}={max(factors.values())}",
    )


def numbers_of(observation: Space[Any], action: Space[Any]) -> int:
    """Numbers of one observation and one action together; 0 for spaces without a fixed size."""
    try:
        return flatdim(observation) + flatdim(action)
    except (NotImplementedError, ValueError):
        return 0
