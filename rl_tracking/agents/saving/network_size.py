"""How large a described network is, before it is built: about as many weights as it will have, and no more."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from gymnasium import spaces
from msgspec import Struct
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space

from rl_tracking.agents.saving import checkpoint_schema
from rl_tracking.agents.saving.checkpoint_schema import (
    EXTRACTOR_ARGUMENTS,
    AttentionArguments,
    CombinedArguments,
    PictureArguments,
    Policy,
)


def extractor_arguments(policy: Policy) -> Struct:
    """The arguments of its features extractor, checked.

    Raises:
        DescriptionError: they are not what the extractor takes.
    """
    kind = EXTRACTOR_ARGUMENTS[policy.features_extractor]
    found: Struct = checkpoint_schema.convert(policy.features_extractor_kwargs, kind)
    return found


def count(policy: Policy, space: spaces.Space[Any]) -> int:
    """The elements of its weight matrices; biases and what is small beside them are left out."""
    features, within = _extractor(extractor_arguments(policy), space)
    layers = policy.net_arch
    heads = [layers, layers] if isinstance(layers, list) else [layers.pi, layers.vf]
    return within + sum(a * b for head in heads for a, b in pairwise([features, *head]))


def _extractor(arguments: Struct, space: spaces.Space[Any]) -> tuple[int, int]:
    """Numbers that come out of a features extractor, and elements of its weights."""
    if isinstance(arguments, PictureArguments):
        return arguments.features_dim, _convolutions(space, arguments.features_dim)
    if isinstance(arguments, CombinedArguments) and isinstance(space, spaces.Dict):
        width, features, weights = arguments.cnn_output_dim, 0, 0
        for part in space.spaces.values():
            picture = is_image_space(part, normalized_image=arguments.normalized_image)
            features += width if picture else get_flattened_obs_dim(part)
            weights += _convolutions(part, width) if picture else 0
        return features, weights
    if isinstance(arguments, AttentionArguments):
        width = arguments.width
        return arguments.steps * width, arguments.layers * (4 * width * width + 2 * width * arguments.feed_forward)
    return get_flattened_obs_dim(space), 0


def _convolutions(space: spaces.Space[Any], width: int) -> int:
    """Weights of SB3's ``NatureCNN`` on pictures of a space, with ``width`` numbers coming out."""
    channels, *sides = space.shape or (0, 0, 0)
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [max(0, (side - kernel) // stride + 1) for side in sides]
    return channels * 32 * 8 * 8 + 64 * math.prod(sides) * width
