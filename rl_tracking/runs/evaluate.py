"""Measures policies and controllers over the same episodes of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_tracking import limits
from rl_tracking.envs.base import Scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.tasks import ScenarioTask, Task, choose_task, open_policy, pilot_of, task_of

EVALUATION_SEED = 1_000_000  # far from the seeds that training runs are given
DEFAULT_EPISODES = 200


def evaluate(
    policy: Any,
    episodes: int = DEFAULT_EPISODES,
    *,
    task: Task | None = None,
    scenario: Scenario | None = None,
    seed: int = EVALUATION_SEED,
    skip: int = 0,
    trust: bool = False,
) -> dict[str, Any]:
    """Measure a policy over episodes; the figures of ``rltrack eval --json``.

    Args:
        policy: a loaded policy, an SB3 model, a :class:`rl_tracking.runs.tasks.Pilot`, or the path or name of one.
        episodes: how many; the same seed gives every policy the same ones.
        task: where; that of the checkpoint or of the model's env if not given.
        scenario: a scenario instead of a task.
        seed: of the episodes.
        skip: steps left out at the start of each episode, for metrics that are a share or a mean of an episode's steps;
            for scenarios.
        trust: of a path; see :func:`rl_tracking.agents.saving.checkpoint.load_policy`.

    Returns:
        ``policy``; ``scenario`` and ``preset``, or ``env`` and ``parameters``; ``episodes``, ``seed``, and for each of
        the task's metrics its ``value`` and 95 % interval ``ci95``. Of ``pursuit``: ``capture_rate`` (episodes with a
        capture), ``time_in_radius`` (share of steps), ``time_to_capture`` [s] (of the episodes with one),
        ``mean_distance`` [m], ``return``. Of a Gymnasium environment: ``return``, ``episode_length`` [steps] and, where
        infos say ``is_success``, ``success_rate``. Intervals are Wilson's for rates and bootstrapped for others.

    Raises:
        UsageError: no such policy, one that does not fit the task, or numbers that make no sense.
    """
    if isinstance(policy, str | Path):
        policy = open_policy(policy, trust=trust)
    if task is None:
        task = _task_of(policy) if scenario is None else ScenarioTask(scenario)
    pilot = pilot_of(task, policy)
    episodes, seed = limits.check_count("episodes", episodes), limits.check_seed(seed)
    measured = task.measure(pilot, episodes, seed, skip)
    return {"policy": pilot.name, **task.identify(), "episodes": episodes, "seed": seed, **measured}


def bound(result: Mapping[str, Any], task: Task) -> dict[str, Any] | None:
    """Figures that no policy can beat in the episodes of an evaluation; None where nothing is known of them.

    Args:
        result: of :func:`evaluate`.
        task: where it was measured.

    Returns:
        Of each metric that there is a bound of, its ``value`` and ``ci95`` as in the evaluation.
    """
    return task.bound(result["episodes"], result["seed"], result.get("skip", 0))


def _task_of(policy: Any) -> Task:
    """Where a policy is at home; controllers are at home in the default scenario."""
    if isinstance(policy, str):
        return choose_task([policy])
    found = task_of(policy)
    if found is None:
        raise UsageError("evaluate() needs a task or a scenario: this policy does not say where it was trained")
    return found
