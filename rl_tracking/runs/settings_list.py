"""Every setting of a training run and every key of a file: what it is, its default, and a page of all of them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from msgspec import Struct

from rl_tracking import plugins, schema
from rl_tracking.agents.arguments import ALGORITHMS, network_of, settable
from rl_tracking.agents.constructor import FromRecipe
from rl_tracking.agents.recipes import Recipe
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.keys import RunSettings
from rl_tracking.runs.settings import resolve
from rl_tracking.schema import REQUIRED, Field


@dataclasses.dataclass(frozen=True)
class ListedSetting:
    """One setting, or one key of a file.

    Attributes:
        group: ``run``, ``scenario``, ``algorithm`` or ``policy``; of a file, the heading of the table.
        name: as ``--set`` takes it.
        kind: what a value must be, in words with the bounds.
        bounds: of a number; empty without any.
        unit: such as ``m/s``; may be empty.
        default: what a run has if nothing is said; None where the setting is left to Stable-Baselines3.
        description: what it does.
        required: whether it has no default and must be given.
    """

    group: str
    name: str
    kind: str
    bounds: str
    unit: str
    default: Any
    description: str
    required: bool = False


def rows(
    algo: str | None = None, scenario: str | None = None, preset: str | None = None, env: str | None = None
) -> list[ListedSetting]:
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
    of_policy = schema.fields(network_of(settings.algo))
    own = {name: field for name, field in arguments.items() if name not in of_policy}
    defaults = {**_otherwise(settings.algo), **settings.arguments}
    return [
        *_rows("run", schema.fields(RunSettings), of_run),
        *_rows("scenario", of_scenario, settings.parameters),
        *_rows("algorithm", own, defaults),
        *_rows("policy", of_policy, defaults),
    ]


def _rows(
    group: str, fields: Mapping[str, Field], values: Mapping[str, Any] | None = None, *, in_file: bool = False
) -> Iterator[ListedSetting]:
    """Fields with their values, or with their defaults; the settings of a run that lack one have it from a recipe."""
    for name, field in fields.items():
        required = field.default is REQUIRED
        default = None if required or isinstance(field.default, Struct) else field.default  # a table has its own
        value = (values or {}).get(name, default)
        yield ListedSetting(
            group, name, field.kind, field.bounds, field.unit, value, field.description, required=required and in_file
        )


def file_rows(declared: type[Struct]) -> list[ListedSetting]:
    """The keys of a file, table by table: those at its top, then ``[budget]``, ``[[tasks]]``.

    Args:
        declared: what the file may say; other ``Struct`` in it are tables.
    """
    tables, waiting = dict[type[Struct], str](), [(declared, "")]
    while waiting:
        table, path = waiting.pop(0)
        if table not in tables:  # two keys may share a table; it is listed under the first of them
            tables[table] = path
            inside = [found for field in schema.fields(table).values() for found in _tables_in(field, path)]
            waiting = [*inside, *waiting]
    return [row for table, heading in tables.items() for row in _rows(heading, schema.fields(table), in_file=True)]


def _tables_in(field: Field, heading: str) -> Iterator[tuple[type[Struct], str]]:
    """The tables that may stand under a key, and their headings."""
    outer = heading.strip("[]")
    for member in field.members:
        path, kind, brackets = f"{outer}.{field.name}".strip("."), member, "[{}]"
        while get_origin(kind) in (Annotated, list, dict):
            brackets = "[[{}]]" if get_origin(kind) is list else brackets
            path += ".NAME" if get_origin(kind) is dict else ""
            kind = get_args(kind)[-1 if get_origin(kind) is dict else 0]
        if isinstance(kind, type) and issubclass(kind, Struct):
            yield kind, brackets.format(path)


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

A setting is given by `--set name=value` on the command line (`--set horizon=8 --set net_arch=[32,32]`), or in the
tables `[parameters]` and `[arguments]` of a TOML file for `--config`. Constructors take an algorithm's arguments by
name. The default is the value in the recipe of the task, a TOML file by scenario, preset and algorithm (the columns
`drone`, `sandbox`, `discrete` and `box` below), otherwise the value in the column `else`. `--recipe paper`, or
`recipe="paper"` for a constructor, selects the paper's literal form in place of the task's recipe. `n_steps=episode`
is the time limit.

The last sections list the keys of recipe files and of study files (`rltrack list settings --study`). A file for
`--config` has the settings of the run at its top, and the tables of a recipe file.
"""


def page(files: Mapping[str, type[Struct]]) -> str:
    """``docs/settings.md``.

    Args:
        files: kinds of files beside the recipes, by their titles, and what they may say.
    """
    parts = [
        _INTRODUCTION,
        "## The run",
        _table(_rows("run", schema.fields(RunSettings)), ("name", "kind", "what")),
    ]
    for scenario in plugins.names("parameters"):
        fields = parameters_of(scenario)
        given = [{"scenario": scenario, "preset": preset} for preset in fields["preset"].choices]
        presets = {one["preset"]: resolve(given=dict(one)).parameters for one in given}
        parts += [f"## Scenario {scenario}", _columns("parameter", fields, presets)]
    for algo in ALGORITHMS:
        own = {name: field for name, field in settable(algo).items() if name not in schema.fields(network_of(algo))}
        parts += [f"## Algorithm {algo}", _recipes(algo, own)]
    networks: dict[type, list[str]] = {}
    for algo in ALGORITHMS:
        networks.setdefault(network_of(algo), []).append(algo)
    for network, algos in networks.items():
        parts += [
            f"## The policy network of {', '.join(algos)}",
            _table(_rows("policy", schema.fields(network)), ("name", "kind", "what")),
        ]
    kinds: dict[str, type[Struct]] = {"Recipe files": Recipe, **files}
    for title, declared in kinds.items():
        parts += [f"## {title}", *_file(declared)]
    return "\n\n".join(parts) + "\n"


def _file(declared: type[Struct]) -> Iterator[str]:
    """A table of Markdown for each table of a file."""
    found = file_rows(declared)
    for heading in dict.fromkeys(row.group for row in found):
        if heading:
            yield f"### `{heading}`"
        lines = _header(["key", "kind", "default", "what"])
        for row in found:
            if row.group == heading:
                lines.append(_line([f"`{row.name}`", row.kind, default_of(row), row.description]))
        yield "\n".join(lines)


def default_of(row: ListedSetting) -> str:
    """The default as people read it."""
    return "required" if row.required else text_of(row.default)


def _recipes(algo: str, fields: Mapping[str, Field]) -> str:
    """The arguments of an algorithm, with the values of every recipe that has any."""
    tasks: dict[str, dict[str, Any]] = {
        "drone": {"preset": "drone"},
        "sandbox": {"preset": "sandbox", "reward": "tracking"},
        "discrete": {"env": "CartPole-v1"},
        "box": {"env": "Pendulum-v1"},
    }
    columns = {name: resolve(given={"algo": algo, **given}).arguments for name, given in tasks.items()}
    declared = {name: field.default for name, field in fields.items() if field.default is not REQUIRED}
    return _columns("argument", fields, {**columns, "else": {**dict.fromkeys(fields), **_otherwise(algo), **declared}})


def _columns(title: str, fields: Mapping[str, Field], columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a field, with its value in each of the columns that has one."""
    lines = _header([title, *columns, "what it does"])
    for name, field in fields.items():
        values = [text_of(column[name]) if name in column else "" for column in columns.values()]
        lines.append(_line([f"`{name}`", *values, f"{field.description} ({field.kind})"]))
    return "\n".join(lines)


def _table(found: Iterator[ListedSetting], titles: tuple[str, ...]) -> str:
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
