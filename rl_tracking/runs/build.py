"""The algorithm of a run on its worlds, untrained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import plugins
from rl_tracking.agents.collect.checks import check_action_space, space_as_text
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.errors import UsageError, brief
from rl_tracking.runs.settings import Settings
from rl_tracking.runs.tasks import Task


def build(
    settings: Settings, task: Task | None = None, *, remaining: Callable[[], float] | None = None
) -> BaseAlgorithm:
    """The algorithm on its worlds, untrained.

    Args:
        settings: of the run.
        task: of the settings, if it was made already.
        remaining: see :meth:`Settings.constructor_arguments`.

    Raises:
        UsageError: the algorithm or the task refuses its settings.
        NotRestorableError: the algorithm branches, and the worlds cannot be saved and put back.
    """
    check_device(settings.device)
    algorithm = plugins.resolve("algo", settings.algo)
    task = task or settings.task()
    restorable = issubclass(algorithm, GroupPolicyAlgorithm)
    env = task.worlds(settings.num_envs, settings.seed, settings.device, must_restore=restorable)
    if settings.normalize:
        env = VecNormalize(env, gamma=settings.arguments.get("gamma", 0.99))
    check_action_space(env.action_space)
    policy = policy_for(env.observation_space)
    _check_takes(settings.algo, algorithm, policy, task)
    try:
        with warnings.catch_warnings():
            # SB3 warns of a last minibatch that is smaller than the others, which does no harm.
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
            model: BaseAlgorithm = algorithm(
                policy, env, seed=settings.seed, device=settings.device, **settings.constructor_arguments(remaining)
            )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{settings.algo} refuses its arguments: {brief(error)}") from error
    return model


def _check_takes(algo: str, algorithm: Any, policy: str, task: Task) -> None:
    """Refuse actions or observations that an off-policy algorithm has no policy for.

    Raises:
        UsageError: which they are, and which algorithms take them.
    """
    if not issubclass(algorithm, OffPolicyAlgorithm):
        return
    if not isinstance(task.action_space, spaces.Box):
        raise UsageError(
            f"{algo} takes Box actions alone, and those of {task.label} are {space_as_text(task.action_space)}; "
            "use --algo hybrid-grpo or ppo"
        )
    if policy not in algorithm.policy_aliases:
        raise UsageError(
            f"{algo} has no policy for the observations of {task.label}, {space_as_text(task.observation_space)}; "
            "use --algo sac or tqc"
        )


def policy_for(space: spaces.Space[Any]) -> str:
    """SB3's name of the policy that reads such observations."""
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"


def check_device(device: str) -> None:
    """Refuse a device that cannot be used here, before anything is built on it.

    Raises:
        UsageError: torch does not know it, has no support for it or cannot reach it.
    """
    try:
        torch.zeros(1, device=device).item()  # `meta` is a device, too, but holds no numbers
    except (RuntimeError, AssertionError) as error:
        text = str(error).split("\n")[0]
        raise UsageError(f"device '{device}' cannot be used here, try 'cpu': {text}") from error
