"""Observations that are one tensor or a dict of tensors: the loop's operations on them, leaf by leaf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

Observation = Tensor | dict[str, Tensor]


def each(change: Callable[[Tensor], Tensor], observation: Observation) -> Observation:
    """``change`` applied to every leaf."""
    if isinstance(observation, dict):
        return {key: change(leaf) for key, leaf in observation.items()}
    return change(observation)


def leaf(observation: Observation) -> Tensor:
    """One of the leaves, which all have the same leading axes and device."""
    return next(iter(observation.values())) if isinstance(observation, dict) else observation


def stack(observations: Sequence[Observation]) -> Observation:
    """K observations ``[...]`` as one ``[K, ...]``."""
    return _together(torch.stack, observations)


def cat(observations: Sequence[Observation]) -> Observation:
    """Observations one after the other along their first axis."""
    return _together(torch.cat, observations)


def repeat(observation: Observation, n: int) -> Observation:
    """``n`` copies, branch-major: ``[E, ...] -> [n E, ...]``."""
    # cat of references: for few worlds a fifth of the time of Tensor.repeat.
    return each(lambda part: torch.cat([part] * n), observation)


def flatten(observation: Observation, axes: int) -> Observation:
    """The first ``axes`` axes as one."""
    return each(lambda part: part.flatten(0, axes - 1), observation)


def split(observation: Observation, most_rows: int, most_numbers: int) -> list[Observation]:
    """Pieces along the first axis of at most ``most_rows`` rows and, if more than one, ``most_numbers`` numbers."""
    # Bounded by numbers too: thousands of images at once would not fit into memory.
    parts = list(observation.values()) if isinstance(observation, dict) else [observation]
    count = parts[0].shape[0]
    width = sum(part[:1].numel() for part in parts)
    size = max(1, min(most_rows, most_numbers // max(width, 1)))
    return [_slice(observation, start, start + size) for start in range(0, count, size)]


def _slice(observation: Observation, start: int, stop: int) -> Observation:
    return each(lambda part: part[start:stop], observation)


def _together(join: Callable[[list[Tensor]], Tensor], observations: Sequence[Observation]) -> Observation:
    first = observations[0]
    if isinstance(first, dict):
        dicts = cast(Sequence[dict[str, Tensor]], observations)
        return {key: join([parts[key] for parts in dicts]) for key in first}
    return join(list(cast(Sequence[Tensor], observations)))
