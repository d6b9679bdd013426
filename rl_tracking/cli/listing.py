"""``rltrack list``."""

from __future__ import annotations

import dataclasses
import json as json_
from collections.abc import Sequence
from typing import Annotated

import typer

from rl_tracking.cli import options
from rl_tracking.errors import UsageError, unknown

_KINDS = {
    "scenarios": "scenario",
    "algos": "algo",
    "rewards": "reward",
    "activations": "activation",
    "motions": "motion",
    "controllers": "controller",
    "recipes": "recipe",
}
_ALL = (*_KINDS, "checkpoints", "settings")


def list_(
    what: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(_ALL)}.")] = None,
    algo: Annotated[
        str | None, typer.Option(callback=options.known("algo"), help="Algorithm whose settings are listed.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(callback=options.known("scenario"), help="Scenario whose settings are listed.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the scenario whose settings are listed.")] = None,
    env: Annotated[
        str | None, typer.Option(metavar="ENV_ID", help="Gymnasium environment in place of the scenario.")
    ] = None,
    json: options.Json = False,
    study: Annotated[bool, typer.Option("--study", help="Keys of study files in place of the settings.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Print all settings, as in docs/settings.md.")] = False,
) -> None:
    """List what can be named on the command line, or every setting of a run."""
    if what is None:
        raise UsageError(f"name what to list: {', '.join(_ALL)}")
    if what not in _ALL:
        raise unknown("list", what, _ALL)
    if what == "settings":
        _settings({"algo": algo, "scenario": scenario, "preset": preset, "env": env}, study, page, as_json=json)
        return
    given = {"algo": algo, "scenario": scenario, "preset": preset, "env": env, "study": study, "page": page}
    for name, value in given.items():
        if value:
            raise UsageError(f"--{name} is for `rltrack list settings`; leave it out for {what}")
    rows = _checkpoints() if what == "checkpoints" else _named(_KINDS[what])
    if json:
        typer.echo(json_.dumps([dict(zip(("name", "what", "from"), row, strict=True)) for row in rows], indent=1))
    else:
        _print("", ("name", "what", "from"), rows)


def _named(kind: str) -> list[tuple[str, str, str]]:
    """Every name of a kind, what it is in a line, and where it comes from."""
    from rl_tracking import plugins

    if kind == "recipe":
        from rl_tracking.agents.recipes import algos_in as line_of
    elif kind == "controller":
        from rl_tracking.agents.controllers.options import summary as line_of
    elif kind == "motion":
        from rl_tracking.envs.parts.motion_options import summary as line_of
    else:

        def line_of(name: str) -> str:
            return plugins.summary(kind, name)

    return [(name, line_of(name), origin) for name, origin in sorted(plugins.names(kind).items())]


def _print(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=escape(title) or None, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for name, *others in rows:
        table.add_row(f"[bold]{escape(name)}[/]", *map(escape, others))
    Console().print(table)


def _settings(of_run: dict[str, str | None], of_studies: bool, as_page: bool, *, as_json: bool) -> None:
    """The settings of a run, or the keys of a study file, a table a group."""
    from rl_tracking.runs import settings_list
    from rl_tracking.studies.config.study import StudyFile

    for name, value in of_run.items():
        if value and of_studies:
            raise UsageError(f"--{name} is for the settings of a run; leave it out with --study")
    if as_page:
        typer.echo(settings_list.page({"Study files": StudyFile}), nl=False)
        return
    found = settings_list.file_rows(StudyFile) if of_studies else settings_list.rows(**of_run)
    if as_json:
        typer.echo(json_.dumps([dataclasses.asdict(row) for row in found], indent=1))
        return
    for group in dict.fromkeys(row.group for row in found):
        rows = [
            (row.name, settings_list.default_of(row), f"{row.description} ({row.kind})")
            for row in found
            if row.group == group
        ]
        _print(_TITLES.get(group, group), ("name", "default", "what it does (what it must be)"), rows)
        typer.echo()


_TITLES = {
    "": "A study file",
    "run": "The run",
    "scenario": "Parameters of the scenario",
    "algorithm": "Arguments of the algorithm",
    "policy": "The policy network",
}


def _checkpoints() -> list[tuple[str, str, str]]:
    """The shipped checkpoints: trained where, by what, for how long."""
    from rl_tracking.agents.saving.checkpoint import read_description
    from rl_tracking.runs.shipped import shipped_checkpoints

    rows = []
    for name, path in shipped_checkpoints().items():
        about = read_description(path)
        parameters = about["scenario"]["parameters"]
        where = f"{about['scenario']['name']} {parameters['preset']}, reward {parameters['reward']}"
        rows.append((name, f"{about['algorithm']} on {where}, {about['macro_steps']:,} macro-steps", "shipped"))
    return rows
