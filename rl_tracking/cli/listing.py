"""``rltrack list``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.errors import UsageError, unknown

_KINDS = {
    "scenarios": "scenario",
    "algos": "algo",
    "rewards": "reward",
    "activations": "activation",
    "motions": "motion",
    "controllers": "controller",
}
_ALL = (*_KINDS, "checkpoints")


def list_(
    what: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(_ALL)}.")] = None,
) -> None:
    """List what can be named on the command line, with where it comes from."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rl_tracking import plugins

    if what is None:
        raise UsageError(f"name what to list: {', '.join(_ALL)}")
    if what not in _ALL:
        raise unknown("list", what, _ALL)
    table = Table(box=None, pad_edge=False)
    for title in ("name", "what", "from"):
        table.add_column(title)
    if what == "checkpoints":
        rows = _checkpoints()
    else:
        kind = _KINDS[what]
        rows = [(name, plugins.summary(kind, name), origin) for name, origin in sorted(plugins.names(kind).items())]
    for name, text, origin in rows:
        table.add_row(f"[bold]{escape(name)}[/]", escape(text), escape(origin))
    Console().print(table)


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
