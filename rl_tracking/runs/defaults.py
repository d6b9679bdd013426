"""What ``rltrack train`` does when it is not told otherwise, for each algorithm and preset."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from rl_tracking import plugins

# Arguments of a constructor that are no hyper-parameters, or are set elsewhere.
_NOT_SETTABLE = (
    "self args kwargs policy env seed device verbose tensorboard_log policy_kwargs _init_setup_model "
    "rollout_buffer_class rollout_buffer_kwargs stats_window_size"
).split()
POLICY_ARGUMENTS = (
    "net_arch",
    "log_std_init",
    "ortho_init",
    "activation_fn",
    "features_extractor",
    "features_extractor_kwargs",
)


@dataclasses.dataclass(frozen=True)
class Defaults:
    """Budget [macro-steps], worlds and arguments of the algorithm's constructor."""

    steps: int
    num_envs: int
    arguments: dict[str, Any]


_DRONE = Defaults(
    steps=200_000,
    num_envs=64,
    arguments={
        "learning_rate": "linear:3e-3:1e-4",
        "n_steps": 64,
        "batch_size": 1024,
        "n_epochs": 10,
        "gamma": 0.98,
        "gae_lambda": 0.9,
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
# What an algorithm does otherwise than the tables above; arguments it does not know are left out for it.
_OF_ALGORITHM: dict[str, dict[str, Any]] = {
    "grpo": {"n_samples": 8, "horizon": 16, "n_epochs": 4, "batch_size": 4096},
    "reinforce": {"n_steps": 400, "learning_rate": 3e-3},
    "trpo": {"learning_rate": 1e-3, "batch_size": 4096},
}
# Few worlds, short rollouts, quick updates: the branches of a root say enough for a step of learning, and the next
# decisions are a better policy's. What an action does to a drone shows in the rewards of the next second, so branches
# run on for 1.6 s; a pursuer without inertia needs less. Four branches get there in fewer simulator steps than eight
# (studies/claims/samples.toml); with two of them one after the other in a rollout, on sparse rewards as well.
_HYBRID = {
    "n_samples": 4,
    "n_steps": 16,
    "n_epochs": 5,
    "clip_range": 0.4,
    "baseline": "group-mean",
    "critic_trust": "explained",
}
_GRPO = {"n_samples": 8, "n_steps": 8, "batch_size": 512, "gamma": 0.98, "clip_range": 0.4}
# Those of PPO and GRPO were found by the search in studies/claims/tuning.toml, those of Hybrid GRPO are the steadiest
# of studies/claims/candidates.toml and candidates-sandbox.toml; studies/claims/claims.toml compares them.
_ON_PRESET: dict[tuple[str, str], Defaults] = {
    ("hybrid-grpo", "drone"): Defaults(
        steps=50_000,
        num_envs=16,
        arguments={
            **_HYBRID,
            "horizon": 16,
            "n_steps": 32,
            "batch_size": 1024,
            "learning_rate": "linear:4e-3:1e-4",
            "gamma": 0.95,
        },
    ),
    ("ppo", "drone"): dataclasses.replace(
        _DRONE,
        num_envs=16,
        arguments={
            "learning_rate": "linear:3e-3:1e-4",
            "n_steps": 64,
            "batch_size": 256,
            "n_epochs": 10,
            "gamma": 0.95,
            "gae_lambda": 0.8,
            "clip_range": 0.2,
        },
    ),
    ("ppo", "sandbox"): dataclasses.replace(
        _SANDBOX,
        num_envs=16,
        arguments={
            "learning_rate": "linear:6e-3:1e-4",
            "n_steps": 8,
            "batch_size": 128,
            "n_epochs": 10,
            "gamma": 0.95,
            "gae_lambda": 0.5,
            "clip_range": 0.1,
        },
    ),
    ("grpo", "drone"): dataclasses.replace(
        _DRONE,
        num_envs=16,
        arguments={**_GRPO, "learning_rate": "linear:4e-3:1e-4", "horizon": 16, "n_epochs": 10},
    ),
    ("grpo", "sandbox"): dataclasses.replace(
        _SANDBOX,
        num_envs=16,
        arguments={**_GRPO, "learning_rate": "linear:2e-3:1e-4", "horizon": 8, "n_epochs": 5},
    ),
    ("hybrid-grpo", "sandbox"): Defaults(
        steps=45_000,
        num_envs=8,
        arguments={**_HYBRID, "horizon": 4, "batch_size": 512, "learning_rate": "linear:4e-3:1e-4", "gamma": 0.9},
    ),
}
_GYMNASIUM = Defaults(
    steps=50_000,
    num_envs=8,
    arguments={
        "learning_rate": "linear:1e-3:1e-4",
        "n_steps": 64,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "reward_activation": "identity",  # foreign rewards have any size, and tanh would flatten them
    },
)
_IN_GYMNASIUM: dict[str, dict[str, Any]] = {
    "hybrid-grpo": {"n_samples": 4},
    "grpo": {"n_samples": 8, "horizon": 32, "n_epochs": 4, "batch_size": 1024},
    "reinforce": {"learning_rate": 1e-2},
    "trpo": {"n_steps": 128, "batch_size": 1024},
}
# Where actions are numbers, rewards mostly tell them apart within a second or two, as on the pursuit worlds; where they
# are choices, as on CartPole, every step often pays the same, and the critic has to say what a branch was worth.
# studies/claims/gymnasium.toml compares them.
_CONTINUOUS: dict[str, dict[str, Any]] = {
    "hybrid-grpo": {
        **_HYBRID,
        "n_samples": 8,
        "clip_range": 0.3,
        "horizon": 16,
        "batch_size": 512,
        "learning_rate": "linear:3e-3:1e-4",
    },
    "ppo": {"learning_rate": "linear:3e-3:1e-4"},
}
# Without a time limit, or with one that no rollout could reach.
_LONGEST_ROLLOUT = 2048
# The author's `complex` reward reaches 2000, far into the flat part of tanh.
_REWARD_SCALE = {"complex": 2e-4}


def arguments_of(algo: str) -> list[str]:
    """Names of the hyper-parameters an algorithm takes."""
    names: list[str] = []
    algorithm = plugins.resolve("algo", algo)
    without = (*_NOT_SETTABLE, *getattr(algorithm, "arguments_of_a_critic", ()))
    for cls in algorithm.__mro__:
        if cls.__name__ == "OnPolicyAlgorithm":
            break
        if "__init__" in vars(cls):
            names += inspect.signature(vars(cls)["__init__"]).parameters
    return [*dict.fromkeys(name for name in names if name not in without), *POLICY_ARGUMENTS]


def defaults(algo: str, preset: str, reward: str) -> Defaults:
    """The defaults of an algorithm on a preset, given the reward it is to maximise."""
    known = arguments_of(algo)
    preset = preset if preset in _BY_PRESET else "drone"
    base, own = _BY_PRESET[preset], _ON_PRESET.get((algo, preset))
    arguments = {**base.arguments, **_OF_ALGORITHM.get(algo, {})}
    if own is not None:
        base, arguments = own, arguments | own.arguments
    if reward in _REWARD_SCALE:
        arguments["reward_scale"] = _REWARD_SCALE[reward]
    return dataclasses.replace(base, arguments={name: value for name, value in arguments.items() if name in known})


def env_defaults(algo: str, max_steps: int | None, *, continuous: bool = False) -> Defaults:
    """The defaults of an algorithm in a Gymnasium environment with that time limit [steps].

    Args:
        algo: its name.
        max_steps: None if there is no limit.
        continuous: whether actions are numbers (``Box``).
    """
    known = arguments_of(algo)
    arguments = {**_GYMNASIUM.arguments, **_IN_GYMNASIUM.get(algo, {})}
    if continuous:
        arguments |= _CONTINUOUS.get(algo, {})
    longest = min(max_steps or _LONGEST_ROLLOUT, _LONGEST_ROLLOUT)
    if algo == "reinforce":  # which learns from whole episodes
        arguments["n_steps"] = longest
    if "horizon" in arguments:
        arguments["horizon"] = min(arguments["horizon"], longest)
    return dataclasses.replace(
        _GYMNASIUM, arguments={name: value for name, value in arguments.items() if name in known}
    )
