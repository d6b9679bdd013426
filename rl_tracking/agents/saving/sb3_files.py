"""Models that Stable-Baselines3 wrote without this project: read only where the user trusts them."""

from __future__ import annotations

from pathlib import Path

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from rl_tracking.errors import UsageError, brief


def load(path: Path, device: torch.device | str) -> ActorCriticPolicy:
    """The policy of a zip that plain SB3 wrote, **which runs whatever code its author put into it**.

    Its class is not known, so PPO's loader is tried.

    Raises:
        UsageError: it is no such model, or the moments of its normaliser are in a pickle beside it.
    """
    from stable_baselines3 import PPO

    # Without its moments a policy trained on normalised observations acts, but badly, and nothing says so.
    pickled = _pickled_normalizer(path)
    if pickled is not None:
        raise UsageError(
            f"'{path}' lies beside '{pickled}', the pickled VecNormalize without whose moments its policy acts amiss; "
            "that is not opened here: in Python, give the model VecNormalize.load(...) as its env and save both as one "
            "file by rl_tracking.agents.saving.checkpoint.save"
        )
    # Policies of all on-policy algorithms are built alike, so PPO's loader reads them.
    try:
        model = PPO.load(path, device=device)
    except Exception as error:
        raise UsageError(f"'{path}' is not a Stable-Baselines3 PPO model: {brief(error)}") from error
    policy: ActorCriticPolicy = model.policy
    return policy


def _pickled_normalizer(path: Path) -> Path | None:
    """A pickle beside a zip, or in the folder of its name, that is called as SB3 and its zoo call a VecNormalize."""
    for folder in (path.parent, path.with_suffix("")):
        if folder.is_dir():
            found = [file for file in folder.glob("*.pkl") if "vecnormalize" in file.name.lower().replace("_", "")]
            if found:
                return min(found)
    return None
