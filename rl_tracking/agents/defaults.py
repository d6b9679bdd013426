"""What ``rltrack train`` does when it is not told otherwise, for each algorithm and preset."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Defaults:
    """Budget [macro-steps], worlds and arguments of the algorithm's constructor."""

    steps: int
    num_envs: int
    arguments: dict[str, Any]


_DRONE = Defaults(
    steps=400_000,
    num_envs=64,
    arguments={
        "learning_rate": "linear:2e-3:1e-4",
        "n_steps": 64,
        "batch_size": 1024,
        "n_epochs": 10,
        "gamma": 0.98,
        "gae_lambda": 0.5,
    },
)
_SANDBOX = Defaults(
    steps=45_000,
    num_envs=8,
    arguments={
        "learning_rate": "linear:2e-3:1e-4",
        "n_steps": 128,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.9,
        "gae_lambda": 0.8,
    },
)
_BY_PRESET = {"drone": _DRONE, "sandbox": _SANDBOX}
# Arguments that only Hybrid GRPO knows. The author's `complex` reward reaches 2000, far into the flat part of tanh.
_HYBRID = {"drone": {"n_samples": 8}, "sandbox": {"n_samples": 8}}
_REWARD_SCALE = {"complex": 2e-4}


def defaults(algo: str, preset: str, reward: str) -> Defaults:
    """The defaults of an algorithm on a preset, given the reward it is to maximise."""
    base = _BY_PRESET.get(preset, _DRONE)
    if algo != "hybrid-grpo":
        return base
    extra: dict[str, Any] = dict(_HYBRID.get(preset, _HYBRID["drone"]))
    if reward in _REWARD_SCALE:
        extra["reward_scale"] = _REWARD_SCALE[reward]
    return dataclasses.replace(base, arguments={**base.arguments, **extra})
