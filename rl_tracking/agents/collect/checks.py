"""Checks before training: spaces, policies, horizons and rollout sizes that cannot be trained with."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import limits
from rl_tracking.errors import SettingWarning, UsageError

if TYPE_CHECKING:
    from rl_tracking.restoring.protocol import StepGradient

_NUMBERS = 8  # of a sample beside observation and action: log-probability, reward, values, ends
_BYTES = 4
_COPIES = 2  # as collected, and as one tensor


def check_action_space(space: spaces.Space[Any]) -> None:
    """Refuse an action space whose actions SB3's policies would not give, or would give wrongly.

    Raises:
        UsageError: neither Box, Discrete, MultiDiscrete nor MultiBinary; a countable one that does not start at 0, as
            policies count from 0; MultiDiscrete or MultiBinary of more than one axis.
    """
    # Policies count from 0, and an environment that counts from elsewhere would be given other actions, unseen.
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start != 0):
        zero = f"Discrete({space.n})" if isinstance(space, spaces.Discrete) else f"MultiDiscrete({space.nvec.tolist()})"
        start = int(space.start) if isinstance(space, spaces.Discrete) else space.start.tolist()
        raise UsageError(
            f"actions of {type(space).__name__} start at {start} here, and policies count from 0; give the environment "
            f"a gymnasium.wrappers.TransformAction to {zero} that adds the start"
        )
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary) and len(space.shape) != 1:
        raise UsageError(
            f"actions of {type(space).__name__} with shape {space.shape} are not supported; flatten them to one axis "
            "with a gymnasium.wrappers.TransformAction"
        )
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UsageError(
            f"actions of {type(space).__name__} are not supported; Box, Discrete, MultiDiscrete and MultiBinary are"
        )


def space_as_text(space: spaces.Space[Any]) -> str:
    """A space in one line for an error; the bounds of a Box of several axes would be several lines."""
    return " ".join(str(space).split())


def check_observation_space(space: spaces.Space[Any] | None) -> None:
    """Refuse observations that SB3's policies do not read.

    Raises:
        UsageError: a Dict or a Tuple inside a Dict.
    """
    for name, part in space.items() if isinstance(space, spaces.Dict) else ():
        if isinstance(part, spaces.Dict | spaces.Tuple):
            raise UsageError(
                f"the observation '{name}' is a {type(part).__name__} inside a Dict, which policies do not read; "
                "flatten it with gymnasium.wrappers.FlattenObservation, or bring its parts to the top"
            )


def check_policy(policy: Any) -> None:
    """Refuse a policy that acts on more than one observation, or is no actor with a critic.

    Raises:
        UsageError: it does, or is none.
    """
    # A recurrent state would have to be saved and branched as the worlds are.
    inner = getattr(policy, "_orig_mod", policy)
    if not isinstance(inner, ActorCriticPolicy) or hasattr(inner, "lstm_actor"):
        raise UsageError(
            f"the policy class {type(inner).__name__} cannot be used with branches; use MlpPolicy, CnnPolicy, "
            "MultiInputPolicy or a subclass of SB3's ActorCriticPolicy without a recurrent state"
        )


def check_horizon(horizon: int | None, env: VecEnv | None) -> None:
    """Refuse branches that are longer than an episode of the env can be, where the env says how long that is."""
    inner = getattr(env, "unwrapped", None)
    longest = getattr(inner, "max_episode_steps", None)
    if longest is not None and horizon is not None and horizon > longest:
        raise UsageError(f"a horizon of {horizon} is longer than an episode, which has {longest} steps")


def rollout_samples(arguments: dict[str, Any], num_envs: int) -> int:
    """Samples of a rollout: every step of every branch of every world."""
    return math.prod(_factors(arguments, num_envs).values())


def _factors(arguments: dict[str, Any], num_envs: int) -> dict[str, int]:
    """What the samples of a rollout are the product of, by name."""
    # A factor that is missing counts as 1 here, and so does what is no count, which the algorithm refuses.
    found = {name: arguments.get(name, 1) for name in ("n_steps", "n_samples", "horizon")}
    n_steps, n_samples, horizon = (count if type(count) is int and count > 0 else 1 for count in found.values())
    # The executed branch is as long as the others, so roots are `horizon` steps apart and the last may run on.
    steps = {"horizon": horizon} if horizon > n_steps else {"n_steps": -(-n_steps // horizon) * horizon}
    return {"num_envs": num_envs, **steps, "n_samples": n_samples}


def check_memory(arguments: dict[str, Any], num_envs: int, numbers: int) -> None:
    """Refuse a rollout that would not fit into memory.

    Args:
        arguments: of the algorithm, ``n_steps``, ``n_samples`` and ``horizon`` among them.
        num_envs: worlds.
        numbers: of one observation and one action together.

    Raises:
        UsageError: it would not.
    """
    # Before the first rollout: the memory is only taken when the rollout is complete, minutes into a run.
    count = rollout_samples(arguments, num_envs)
    factors = _factors(arguments, num_envs)
    limits.require(
        count * (numbers + _NUMBERS) * _BYTES * _COPIES,
        f"the {count:,} samples of a rollout ({' x '.join(factors)})",
        f"ask for less than {max(factors, key=lambda name: factors[name])}={max(factors.values())}",
    )


def check_replay_memory(arguments: dict[str, Any], numbers: int) -> None:
    """Refuse a replay buffer that would not fit into memory once it is full.

    Args:
        arguments: of the algorithm, ``buffer_size`` among them.
        numbers: of one observation and one action together.

    Raises:
        UsageError: it would not.
    """
    size = int(arguments.get("buffer_size", 0))
    # Two observations, and reward, end and time limit.
    limits.require(
        size * (2 * numbers + 3) * _BYTES,
        f"the {size:,} transitions of the replay buffer",
        f"ask for less than buffer_size={size}",
    )


def check_terms(found: StepGradient, what: str) -> None:
    """Refuse a reward that no action changes smoothly, and warn of terms that none does.

    Args:
        found: what the environment says of a gradient through its steps.
        what: needs the gradient, as the subject of an error.

    Raises:
        UsageError: no term has a gradient.
    """
    without = [name for name, has_gradient in found.terms.items() if not has_gradient]
    if len(without) == len(found.terms):
        raise UsageError(
            f"{what} needs a reward with a gradient, and {found.reward} has none in its terms ({', '.join(without)}); "
            "use another reward, or gradient 'mixed' or 'score' of hybrid-grpo"
        )
    if without:
        warnings.warn(
            f"{what} does not see the terms of {found.reward} that have no gradient: {', '.join(without)}; mixed does",
            SettingWarning,
            stacklevel=2,
        )


def check_graph(found: StepGradient, policy: ActorCriticPolicy, steps: dict[str, int], what: str) -> None:
    """Refuse a rollout whose graph would not fit into memory.

    Args:
        found: as for :func:`check_terms`.
        policy: whose layers are kept too.
        steps: of branches in a rollout, as factors with their names.
        what: keeps the graph.

    Raises:
        UsageError: it would not.
    """
    # Of every layer its input and its output, for the actor at each step and the critic at the last.
    of_policy = sum(sum(weight.shape) * weight.itemsize for weight in policy.parameters() if weight.dim() == 2)
    factors = " x ".join(f"{name}={count}" for name, count in steps.items())
    limits.require(
        math.prod(steps.values()) * (found.bytes + of_policy),
        f"the steps that {what} keeps until the update ({factors})",
        "ask for fewer",
        str(policy.device),
    )


def numbers_of(observation: spaces.Space[Any], action: spaces.Space[Any]) -> int:
    """Numbers of one observation and one action together; 0 for spaces without a fixed size."""
    try:
        return flatdim(observation) + flatdim(action)
    except (NotImplementedError, ValueError):
        return 0
