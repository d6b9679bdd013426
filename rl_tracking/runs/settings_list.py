"""Every setting of a training run: what it is, what it is if nothing is said, and a page of all of them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from rl_tracking import plugins, schema
from rl_tracking.agents.arguments import ALGORITHMS, PolicyArguments, settable
from rl_tracking.agents.constructor import FromRecipe
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.config_file import RunSettings
from rl_tracking.runs.settings import resolve
from rl_tracking.schema import REQUIRED, Field


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        group: ``run``, ``scenario``, ``algorithm`` or ``policy``.
        name: as ``--set`` takes it.
        kind: what a value must be, in words with the bounds.
        bounds: of a number; empty without any.
        unit: such as ``m/s``; may be empty.
        default: what a run has if nothing is said; None where the setting is left to Stable-Baselines3.
        description: what it does.
    """

    group: str
    name: str
    kind: str
    bounds: str
    unit: str
    default: Any
    description: str


def rows(
    algo: str | None = None, scenario: str | None = None, preset: str | None = None, env: str | None = None
) -> list[Row]:
    """The settings of a run with this algorithm on this task, and their defaults.

    Args:
        algo: name of the algorithm; the default one if None.
        scenario: of the task; the default one if None and without ``env``.
        preset: of the scenario.
        env: id of a Gymnasium environment in place of a scenario, whose own parameters are not known beforehand.

    Raises:
        UsageError: an unknown name.
    """
    settings = resolve(given={"algo": algo, "scenario": scenario, "preset": preset, "env": env})
    of_run = {name: getattr(settings, name) for name in schema.fields(RunSettings)}
    of_scenario = parameters_of(settings.scenario) if settings.scenario else {}
    arguments = settable(settings.algo)
    of_policy = schema.fields(PolicyArguments)
    own = {name: field for name, field in arguments.items() if name not in of_policy}
    defaults = {**_otherwise(settings.algo), **settings.arguments}
    return [
        *_rows("run", schema.fields(RunSettings), of_run),
        *_rows("scenario", of_scenario, settings.parameters),
        *_rows("algorithm", own, defaults),
        *_rows("policy", of_policy, defaults),
    ]


def _rows(group: str, fields: Mapping[str, Field], values: Mapping[str, Any]) -> Iterator[Row]:
    for name, field in fields.items():
        default = None if field.default is REQUIRED else field.default
        value = values.get(name, default)
        yield Row(group, name, field.kind, field.bounds, field.unit, value, field.description)


def parameters_of(scenario: str) -> dict[str, Field]:
    """The parameters of a scenario; of one that declares none, names, kinds and values alone."""
    made = make_scenario(scenario)
    declared = getattr(made, "declared", None)
    if declared is not None:
        return dict(schema.fields(declared))
    return {name: Field(name, (type(value),), value) for name, value in made.parameters.items()}


def _otherwise(algo: str) -> dict[str, Any]:
    """The values of an algorithm's arguments of which neither the recipe nor the declaration says anything."""
    parameters = inspect.signature(plugins.resolve("algo", algo)).parameters
    defaults = {name: item.default for name, item in parameters.items() if item.default is not item.empty}
    return {name: value.otherwise if isinstance(value, FromRecipe) else value for name, value in defaults.items()}


# -- the page -----------------------------------------------------------------------------------------------------

_INTRODUCTION = """\
# Settings

Made by `rltrack list settings --page`; a test compares it with the code. `rltrack list settings --algo A --scenario S`
shows the same for one algorithm on one task, with the defaults that hold there.

A setting is given by `--set name=value` on the command line (`--set horizon=8 --set net_arch=[32,32]`), in the tables
`[parameters]` and `[arguments]` of a TOML file for `--config`, or, an algorithm's argument, by name to its constructor.
What is not given comes from the recipe of the task, a TOML file by scenario, preset and algorithm (the columns `drone`,
`sandbox`, `discrete` and `box` below), then from the column `else`. `--recipe paper`, or `recipe="paper"` for a
constructor, takes the paper's literal form in place of the task's recipe. `n_steps=episode` is the time limit.
"""


def page() -> str:
    """``docs/settings.md``."""
    parts = [
        _INTRODUCTION,
        "## The run",
        _table(_rows("run", schema.fields(RunSettings), {}), ("name", "kind", "what")),
    ]
    fields = parameters_of("pursuit")
    presets = {preset: resolve(given={"preset": preset}).parameters for preset in fields["preset"].choices}
    parts += ["## Scenario pursuit", _parameters(fields, presets)]
    for algo in ALGORITHMS:
        own = {name: field for name, field in settable(algo).items() if name not in schema.fields(PolicyArguments)}
        parts += [f"## Algorithm {algo}", _recipes(algo, own)]
    parts += [
        "## The policy network",
        _table(_rows("policy", schema.fields(PolicyArguments), {}), ("name", "kind", "what")),
    ]
    return "\n\n".join(parts) + "\n"


def _recipes(algo: str, fields: Mapping[str, Field]) -> str:
    """The arguments of an algorithm, with the values of every recipe that has any."""
    tasks: dict[str, dict[str, Any]] = {
        "drone": {"preset": "drone"},
        "sandbox": {"preset": "sandbox", "reward": "tracking"},
        "discrete": {"env": "CartPole-v1"},
        "box": {"env": "Pendulum-v1"},
    }
    found = {name: resolve(given={"algo": algo, **given}).arguments for name, given in tasks.items()}
    otherwise = _otherwise(algo)
    lines = _header(["argument", *found, "else", "what it does"])
    for name, field in fields.items():
        values = [text_of(arguments[name]) if name in arguments else "" for arguments in found.values()]
        default = otherwise.get(name) if field.default is REQUIRED else field.default
        lines.append(_line([f"`{name}`", *values, text_of(default), f"{field.description} ({field.kind})"]))
    return "\n".join(lines)


def _parameters(fields: Mapping[str, Field], presets: Mapping[str, Mapping[str, Any]]) -> str:
    lines = _header(["parameter", *presets, "what it does"])
    for name, field in fields.items():
        values = [text_of(parameters[name]) for parameters in presets.values()]
        lines.append(_line([f"`{name}`", *values, f"{field.description} ({field.kind})"]))
    return "\n".join(lines)


def _table(found: Iterator[Row], titles: tuple[str, ...]) -> str:
    return "\n".join([*_header(list(titles)), *(_line([f"`{row.name}`", row.kind, row.description]) for row in found)])


def _header(titles: list[str]) -> list[str]:
    return [_line(titles), _line(["---"] * len(titles))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def text_of(value: Any) -> str:
    """A value as people read it: ``true``, ``none``."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
