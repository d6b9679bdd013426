"""What steps, branches and training cost on one task, a scenario or a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking.restoring.protocol import NotRestorableError
from rl_tracking.runs.benchmark.measuring import FULL, Sizes, seconds, threads
from rl_tracking.runs.benchmark.simulation import restoring_cost
from rl_tracking.runs.benchmark.training import SAMPLES, arguments_of, model_of, rows_of
from rl_tracking.runs.build import check_device, policy_for
from rl_tracking.runs.tasks import Task

_LONGEST_STEP = 0.01  # a step of all worlds that takes longer is not tried with more of them [s]


def run(task: Task, device: str = "cpu", sizes: Sizes = FULL) -> dict[str, Any]:
    """All measurements on a task, on one thread.

    Args:
        task: a scenario or a Gymnasium environment.
        device: where networks and, if that can be chosen, worlds are.
        sizes: how much is measured.

    Raises:
        UsageError: the device cannot be used here, or the task's worlds cannot be made.
    """
    check_device(device)
    with threads(1):
        return {
            "task": task.summary,
            "device": device,
            "threads": 1,
            "steps": _steps(task, device, sizes),
            "branches": _branches(task, device, sizes),
            "training": _training(task, device, sizes),
        }


def _steps(task: Task, device: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Steps of the ``VecEnv`` at more and more worlds, until one takes long."""
    rows: list[dict[str, Any]] = []
    for worlds in sizes.worlds_on(device):
        env = task.worlds(worlds, 0, device, must_restore=False)
        env.reset()
        actions = _actions(env)
        taken = seconds(lambda: env.step(actions), device, sizes.rounds, sizes.budget)  # noqa: B023
        env.close()
        rows.append({"worlds": worlds, "seconds": taken, "steps_per_second": worlds / taken})
        if taken > _LONGEST_STEP:
            break
    return rows


def _actions(env: VecEnv) -> np.ndarray[Any, Any]:
    env.action_space.seed(0)
    return np.stack([env.action_space.sample() for _ in range(env.num_envs)])


def _branches(task: Task, device: str, sizes: Sizes) -> dict[str, Any]:
    """Saving, restoring and branching against the steps alone; says why where the worlds cannot be restored."""
    worlds = sizes.training_worlds
    try:
        env: Any = task.worlds(worlds, 0, device, must_restore=True)
    except NotRestorableError as error:
        return {"worlds": worlds, "skipped": str(error)}
    env.reset()
    return {"worlds": worlds, **restoring_cost(env, SAMPLES, sizes)}


def _training(task: Task, device: str, sizes: Sizes) -> dict[str, Any]:
    """Hybrid GRPO with one-step branches beside PPO: the same worlds, epochs and batch of states."""
    worlds = sizes.training_worlds
    arguments = arguments_of(worlds, sizes.training_steps)
    models = {}
    try:
        for name in ("PPO", "HybridGRPO"):
            env = task.worlds(worlds, 0, device, must_restore=name == "HybridGRPO")
            models[name, worlds] = model_of(name, policy_for(env.observation_space), env, device=device, **arguments)
    except NotRestorableError as error:
        return {"worlds": worlds, "skipped": str(error)}
    rows = rows_of(models, device, sizes.rounds)
    for model in models.values():
        model.env.close()
    return {**arguments, "rows": rows, "macro_steps_ratio_to_ppo": rows[1]["macro_steps_ratio_to_ppo"]}
