"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rl_tracking.envs.base import Scenario
    from rl_tracking.runs.tasks import Task

Scenario_ = Annotated[str | None, typer.Option("--scenario", help="Scenario to fly in (`rltrack list scenarios`).")]
Preset = Annotated[str | None, typer.Option("--preset", help="Preset of the scenario: drone or sandbox.")]
Reward = Annotated[
    str | None,
    typer.Option("--reward", help="A reward's name, path/to/file.py:function or package.module:function."),
]
Env = Annotated[
    str | None, typer.Option("--env", metavar="ENV_ID", help="Any Gymnasium environment instead, such as CartPole-v1.")
]
Pairs = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter; repeatable.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that a file names, and open a foreign SB3 zip, which can run code.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def replaced(preset: str | None, reward: str | None, pairs: list[str] | None) -> dict[str, Any]:
    """The scenario parameters that were given."""
    from rl_tracking.runs.config_file import parse_pair

    parameters = dict(parse_pair(pair) for pair in pairs or [])
    if preset is not None:
        parameters["preset"] = preset
    if reward is not None:
        parameters["reward"] = reward
    return parameters


def scenario_for(spec: str, scenario: str | None, parameters: dict[str, Any], *, trust: bool = False) -> Scenario:
    """Where to fly ``spec``: the named scenario, or its checkpoint's own with some parameters replaced."""
    from rl_tracking.agents.saving.checkpoint import load_policy
    from rl_tracking.envs.vec_env import make_scenario
    from rl_tracking.runs.evaluate import scenario_of
    from rl_tracking.runs.shipped import checkpoint_path

    path = checkpoint_path(spec)
    if scenario is not None or "preset" in parameters or path is None:
        return make_scenario(scenario or "pursuit", **parameters)
    return scenario_of(load_policy(path, trust=trust), **parameters)


def task_for(
    specs: list[str], env: str | None, scenario: str | None, parameters: dict[str, Any], *, trust: bool = False
) -> Task | None:
    """The Gymnasium environment for ``specs``: the named one, or the first checkpoint's own with parameters replaced.

    None where a scenario is meant: it is named, or no checkpoint comes from an environment.
    """
    from rl_tracking.agents.saving.checkpoint import load_policy
    from rl_tracking.runs.evaluate_env import task_of
    from rl_tracking.runs.settings import refuse_both
    from rl_tracking.runs.shipped import checkpoint_path
    from rl_tracking.runs.tasks import Task

    of_scenario = {"scenario": scenario, **{name: parameters.get(name) for name in ("preset", "reward")}}
    if env is not None:
        refuse_both(env, of_scenario)
        return Task(env, parameters)
    if any(of_scenario.values()):
        return None
    paths = [path for path in map(checkpoint_path, specs) if path is not None]
    policy = load_policy(paths[0], trust=trust) if paths else None
    return None if policy is None else task_of(policy, **parameters)
