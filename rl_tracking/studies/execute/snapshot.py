"""The networks of a training run at one moment, kept in a file of tensors and numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from rl_tracking import files
from rl_tracking.agents.saving import weights
from rl_tracking.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What estimators of gradients start from.

    Attributes:
        policy: state dict of the policy, the critic within.
        trust: how far the critic is trusted, in [0, 1]; None if that is not learned.
    """

    policy: dict[str, Any]
    trust: float | None

    @classmethod
    def of(cls, model: Any) -> Snapshot:
        """Of a model as it is now."""
        weight = getattr(model, "critic_weight", None)
        return cls(_copy(model.policy), weight.share if weight is not None and weight.is_learned else None)

    def save(self, path: Path) -> None:
        """Write it; the file is complete or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_tensors(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read it; nothing but tensors and numbers is opened.

        Raises:
            UsageError: it is damaged.
        """
        found = weights.read(path.read_bytes(), f"snapshot '{path}'")
        if not isinstance(found, dict) or set(found) != {field.name for field in dataclasses.fields(cls)}:
            raise UsageError(f"snapshot '{path}' is damaged: it holds something else")
        return cls(**found)


def _copy(module: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
