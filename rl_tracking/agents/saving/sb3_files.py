"""Models that Stable-Baselines3 wrote without this project: read only where the user trusts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from rl_tracking.agents.saving.archive import ATTRIBUTES, MEBIBYTE, open_archive
from rl_tracking.errors import UsageError, brief

_MOST_MEMBERS = 64


def load(path: Path, device: torch.device | str) -> BasePolicy:
    """The policy of a zip that plain SB3 wrote, **which runs whatever code its author put into it**.

    Its algorithm is not known, so the loader is that of the module of its policy class, or else PPO's.

    Raises:
        UsageError: it is no such model, or the moments of its normaliser are in a pickle beside it.
    """
    # Without its moments a policy trained on normalised observations acts, but badly, and nothing says so.
    pickled = _pickled_normalizer(path)
    if pickled is not None:
        raise UsageError(
            f"'{path}' lies beside '{pickled}', the pickled VecNormalize without whose moments its policy acts amiss; "
            "that is not opened here: in Python, give the model VecNormalize.load(...) as its env and save both as one "
            "file by rl_tracking.agents.saving.checkpoint.save"
        )
    algorithm = _algorithm(path)
    # No replay buffer is allocated for a policy that only acts.
    smallest: dict[str, Any] = {"buffer_size": 1} if issubclass(algorithm, OffPolicyAlgorithm) else {}
    try:
        model = algorithm.load(path, device=device, **smallest)
    except Exception as error:
        raise UsageError(f"'{path}' is not a Stable-Baselines3 {algorithm.__name__} model: {brief(error)}") from error
    return model.policy


def _algorithm(path: Path) -> type[BaseAlgorithm]:
    """The class whose loader reads a model; policies of all on-policy algorithms are built alike."""
    import sb3_contrib
    import stable_baselines3

    known: dict[str, type[BaseAlgorithm]] = {
        "sac": stable_baselines3.SAC,
        "tqc": sb3_contrib.TQC,
        "crossq": sb3_contrib.CrossQ,
    }
    with open_archive(path, f"'{path}'", most=_MOST_MEMBERS) as archive:
        try:
            said = json.loads(archive.read(ATTRIBUTES, 16 * MEBIBYTE))["policy_class"]["__module__"]
        except (KeyError, TypeError, ValueError, RecursionError):  # a model of an older version, or none
            said = ""
    name = str(said).removesuffix(".policies").rpartition(".")[-1]
    return known.get(name, stable_baselines3.PPO)


def _pickled_normalizer(path: Path) -> Path | None:
    """A pickle beside a zip, or in the folder of its name, that is called as SB3 and its zoo call a VecNormalize."""
    for folder in (path.parent, path.with_suffix("")):
        if folder.is_dir():
            found = [file for file in folder.glob("*.pkl") if "vecnormalize" in file.name.lower().replace("_", "")]
            if found:
                return min(found)
    return None
