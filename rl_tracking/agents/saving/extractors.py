"""Features extractors for observations that are a history of steps."""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rl_tracking.errors import UsageError


class MHA(BaseFeaturesExtractor):
    """Multi-head attention over the steps of a history, as in the paper author's sandbox.

    Each of L steps is projected to the width, sinusoidal positions are added, a transformer encoder follows, and its
    output is flattened: ``[B, L F] -> [B, L width]``. Goes into ``policy_kwargs`` as ``features_extractor_class``.

    Args:
        observation_space: a flat Box of L F numbers, oldest step first, as the sensor ``History`` makes them.
        steps: L.
        width: numbers a step inside, even and a multiple of ``heads``.
        heads: of each attention layer.
        feed_forward: width of the hidden layer after each attention.
        layers: of the encoder.

    Raises:
        UsageError: the observation is no history of L steps, a size is none, or the width does not fit the heads.
    """

    positions: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[object],
        steps: int = 6,
        width: int = 64,
        heads: int = 8,
        feed_forward: int = 256,
        layers: int = 4,
    ) -> None:
        sizes = {"steps": steps, "width": width, "heads": heads, "feed_forward": feed_forward, "layers": layers}
        for name, size in sizes.items():
            if type(size) is not int or size < 1:
                raise UsageError(f"{name} of MHA must be a whole number of 1 or more, not {size!r}")
        shape = observation_space.shape
        if shape is None or len(shape) != 1 or shape[0] % steps:
            raise UsageError(f"a history of {steps} steps is a flat observation of a multiple of {steps}, not {shape}")
        if width % 2 or width % heads:
            raise UsageError(f"the width of MHA must be even and a multiple of its {heads} heads, not {width}")
        super().__init__(observation_space, steps * width)
        self.steps = steps
        # The same projection for every step of the history: what a step means does not depend on its age.
        self.project = nn.Linear(shape[0] // steps, width)
        # No dropout: the update compares probabilities with those at sampling, from the same network.
        layer = nn.TransformerEncoderLayer(width, heads, feed_forward, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        # Not saved: they follow from the sizes.
        self.register_buffer("positions", sinusoidal_positions(steps, width), persistent=False)

    def forward(self, observation: Tensor) -> Tensor:
        """``[B, L F] -> [B, L width]``."""
        steps: Tensor = self.project(observation.unflatten(1, (self.steps, -1)))
        encoded: Tensor = self.encoder(steps + self.positions)
        return encoded.flatten(1)


EXTRACTORS: dict[str, type[BaseFeaturesExtractor]] = {"mha": MHA}  # by the names that settings have for them


def sinusoidal_positions(steps: int, width: int) -> Tensor:
    """Sine and cosine of the step number at width / 2 wavelengths, ``[steps, width]`` (Vaswani et al. 2017, 3.5)."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(steps).unsqueeze(1) * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
