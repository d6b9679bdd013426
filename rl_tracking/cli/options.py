"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl_tracking import plugins, schema
from rl_tracking.runs.keys import RunSettings
from rl_tracking.runs.shipped import check_policy, checkpoint_path

if TYPE_CHECKING:
    from rl_tracking.agents.saving.checkpoint import LoadedPolicy
    from rl_tracking.runs.tasks import Task


def known(kind: str) -> Any:
    """A check of an option's value, if it is given, that imports nothing: :func:`rl_tracking.plugins.check`."""

    def check(value: str | None) -> str | None:
        if value is not None:
            plugins.check(kind, value)
        return value

    return check


def help_of(setting: str) -> str:
    """The help of a setting of a run, as :mod:`rl_tracking.runs.keys` declares it."""
    text = schema.fields(RunSettings)[setting].description
    return text[0].upper() + text[1:] + "."


def _known_env(value: str | None) -> str | None:
    if value is not None:
        from rl_tracking.adapters.registry import check_id

        check_id(value)
    return value


def _known_policies(value: list[str] | str) -> list[str] | str:
    for spec in [value] if isinstance(value, str) else value:
        check_policy(spec)
    return value


Policy = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT|CONTROLLER",
        callback=_known_policies,
        help="A checkpoint's file, or a name of `rltrack list checkpoints` or `rltrack list controllers`.",
    ),
]
Policies = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT|CONTROLLER",
        callback=_known_policies,
        help="Checkpoints' files, or names of `rltrack list checkpoints` or `rltrack list controllers`.",
    ),
]
Scenario_ = Annotated[
    str | None,
    typer.Option("--scenario", callback=known("scenario"), help=help_of("scenario")),
]
Preset = Annotated[str | None, typer.Option("--preset", help="Preset of the scenario, such as drone.")]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        callback=known("reward"),
        help="A reward's name, path/to/file.py:function or package.module:function.",
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="ENV_ID",
        callback=_known_env,
        help=help_of("env"),
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter of the task; repeatable."),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that a file names, and open a plain SB3 zip, which can run code.")
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
    from rl_tracking.runs.keys import declared_parameters, parse_pair

    parameters = dict(parse_pair(pair) for pair in pairs or [])
    parameters |= {name: value for name, value in (("preset", preset), ("reward", reward)) if value is not None}
    if not env and (scenario is not None or all(checkpoint_path(spec) is None for spec in specs)):
        declared_parameters(scenario, parameters)

    from rl_tracking.runs.tasks import choose_task, open_policy

    policies = [open_policy(spec, trust=trust) for spec in specs]
    return policies, choose_task(policies, env=env, scenario=scenario, parameters=parameters)
