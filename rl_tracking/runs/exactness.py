"""Warnings of a resumed run that may not be, bit for bit, the run that was not stopped."""

from __future__ import annotations

import warnings
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking.agents.saving import checkpoint, description, resumed_replay, resuming
from rl_tracking.errors import RunWarning
from rl_tracking.runs.folder import Boundary


def warn_of_other_versions(path: Path) -> None:
    """Warn where a checkpoint was written under other versions of this package or of the libraries."""
    before, here = checkpoint.read_description(path).get("versions", {}), description.versions()
    other = [f"{name} {before.get(name)}, now {here[name]}" for name in here if before.get(name) != here[name]]
    if other:
        warnings.warn(
            f"this run continues under other versions, so perhaps not bit for bit: {'; '.join(other)}",
            RunWarning,
            stacklevel=3,
        )


def warn_unless_exact(model: BaseAlgorithm, boundary: Boundary) -> None:
    """Warn where the checkpoint does not hold the state of the worlds."""
    if boundary.taken["worlds"] is None:
        reason = resuming.why_not_exact(model) or "the states of its worlds have no form as bytes"
        warnings.warn(
            f"this run continues in new episodes, and not bit for bit as if it had never stopped: {reason}",
            RunWarning,
            stacklevel=3,
        )


def warn_unless_resumable(model: BaseAlgorithm) -> None:
    """Warn where the run could not be continued if it were stopped."""
    reason = resumed_replay.why_not_kept(model)
    if reason is not None:
        warnings.warn(f"this run cannot be resumed: {reason}", RunWarning, stacklevel=4)
