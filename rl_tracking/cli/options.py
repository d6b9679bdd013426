"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rl_tracking.agents.saving.checkpoint import LoadedPolicy
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


def policies_and_task(
    specs: list[str],
    *,
    env: str | None,
    scenario: str | None,
    preset: str | None,
    reward: str | None,
    pairs: list[str] | None,
    trust: bool,
) -> tuple[list[LoadedPolicy | str], Task]:
    """Every policy of a command, its checkpoint opened once, and where they are run."""
    from rl_tracking.runs.config_file import parse_pair
    from rl_tracking.runs.tasks import choose_task, open_policy

    parameters = dict(parse_pair(pair) for pair in pairs or [])
    parameters |= {name: value for name, value in (("preset", preset), ("reward", reward)) if value is not None}
    policies = [open_policy(spec, trust=trust) for spec in specs]
    return policies, choose_task(policies, env=env, scenario=scenario, parameters=parameters)
