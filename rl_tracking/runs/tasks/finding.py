"""Which task is meant: by names, by a checkpoint, by the worlds of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_tracking.adapters.describing import describe
from rl_tracking.agents.saving.checkpoint import LoadedPolicy, load_policy
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.keys import DEFAULT_SCENARIO
from rl_tracking.runs.shipped import check_policy, checkpoint_path
from rl_tracking.runs.tasks.base import Task
from rl_tracking.runs.tasks.environment import GymnasiumTask
from rl_tracking.runs.tasks.scenario import ScenarioTask

_OF_SCENARIOS = ("preset", "reward")  # parameters that a Gymnasium environment is not given by options


def make_task(scenario: str, env: str, parameters: dict[str, Any]) -> Task:
    """The task of a name.

    Args:
        scenario: of a scenario; empty where ``env`` is given.
        env: id of a Gymnasium environment; empty where a scenario is.
        parameters: of either.

    Raises:
        UsageError: an unknown scenario, or parameters that it refuses.
    """
    return GymnasiumTask(env, parameters) if env else ScenarioTask(make_scenario(scenario, **parameters))


def open_policy(spec: str | Path, *, trust: bool = False) -> LoadedPolicy | str:
    """The policy of a checkpoint, or the name of a controller as it is.

    Args:
        spec: a path, a name of ``rltrack list controllers`` or of ``rltrack list checkpoints``.
        trust: see :func:`rl_tracking.agents.saving.checkpoint.load_policy`.

    Raises:
        UsageError: no such file or name, or a bad file.
    """
    path = checkpoint_path(str(spec))
    if path is not None:
        return load_policy(path, trust=trust)
    check_policy(str(spec))
    return str(spec)


def choose_task(
    policies: Sequence[LoadedPolicy | str],
    *,
    env: str | None = None,
    scenario: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> Task:
    """Where policies are run: the task that is named, else that of the first checkpoint, else the default scenario.

    Args:
        policies: as :func:`open_policy` returns them.
        env: id of a Gymnasium environment.
        scenario: name of a scenario.
        parameters: of the task; those of a checkpoint's own task are replaced by them, unless a preset is among them.

    Raises:
        UsageError: names that exclude each other, or a checkpoint whose task is not known or not trusted.
    """
    given = parameters or {}
    checkpoint = next((policy for policy in policies if isinstance(policy, LoadedPolicy)), None)
    if env or scenario or checkpoint is None:
        return named_task(scenario, env, given)
    trained = checkpoint.description.get("scenario")
    if trained is not None and "preset" in given:
        return make_task(trained["name"], "", given)
    return task_of_policy(checkpoint, **given)


def named_task(scenario: str | None, env: str | None, parameters: dict[str, Any]) -> Task:
    """The task of a name, of a scenario or of an environment; without both the default scenario.

    Raises:
        UsageError: both are given, or a parameter of scenarios for an environment; as :func:`make_task`.
    """
    if not env:
        return make_task(scenario or DEFAULT_SCENARIO, "", parameters)
    for name, value in {"scenario": scenario, **{name: parameters.get(name) for name in _OF_SCENARIOS}}.items():
        if value:
            raise UsageError(f"env '{env}' and {name} '{value}' exclude each other; {name} is for scenarios")
    return make_task("", env, parameters)


def task_of(policy: Any) -> Task | None:
    """Where a loaded policy or an SB3 model was trained; None if nothing says so."""
    if isinstance(policy, LoadedPolicy):
        return task_of_policy(policy)
    worlds = getattr(getattr(policy, "env", None), "unwrapped", None)
    return None if worlds is None else task_of_worlds(worlds)


def task_of_worlds(worlds: Any) -> Task | None:
    """The task of a ``VecEnv``; None where no name says all there is to it."""
    scenario: Scenario | None = getattr(worlds, "scenario", None)
    if scenario is not None:
        return ScenarioTask(scenario)
    return task_described(worlds.describe() if hasattr(worlds, "describe") else describe(worlds))


def task_described(description: Mapping[str, Any]) -> Task | None:
    """The task of a description, whose ``scenario`` or ``env`` says which; None if neither does."""
    scenario, env = description.get("scenario"), description.get("env")
    if scenario is not None:
        return make_task(scenario["name"], "", scenario["parameters"])
    return None if env is None else make_task("", env["id"], env["parameters"])


def task_of_policy(policy: LoadedPolicy, **replaced: Any) -> Task:
    """The task a checkpoint was trained in, with some parameters replaced.

    Raises:
        UsageError: it was trained in none, its task names code and is not trusted, or a parameter of scenarios is given
            to an environment.
    """
    scenario: dict[str, Any] | None = policy.description.get("scenario")
    env: dict[str, Any] | None = policy.description.get("env")
    if scenario is not None:
        kept = _without(scenario["parameters"], replaced)
        policy.refuse_code(kept, always=("reward",))
        return make_task(scenario["name"], "", {**kept, **replaced})
    if env is None:
        raise UsageError(f"checkpoint '{policy.path}' does not say where it was trained; name a --scenario")
    for name in _OF_SCENARIOS:
        if name in replaced:
            raise UsageError(
                f"checkpoint '{policy.path}' was trained in environment '{env['id']}', not in a scenario; "
                f"{name} is for scenarios"
            )
    kept = _without(env["parameters"], replaced)
    policy.refuse_code({"environment": env["id"], "parameters": kept}, always=("environment",))
    return make_task("", env["id"], {**kept, **replaced})


def _without(parameters: dict[str, Any], replaced: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in replaced}
