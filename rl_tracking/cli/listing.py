"""``rltrack list``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.errors import unknown

_KINDS = {
    "scenarios": "scenario",
    "algos": "algo",
    "rewards": "reward",
    "activations": "activation",
    "motions": "motion",
    "controllers": "controller",
}


def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(_KINDS), help="What to list.")],
) -> None:
    """List what can be named on the command line, with where it comes from."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rl_tracking import plugins

    if what not in _KINDS:
        raise unknown("list", what, _KINDS)
    kind = _KINDS[what]
    table = Table(box=None, pad_edge=False)
    for title in ("name", "what", "from"):
        table.add_column(title)
    for name, origin in sorted(plugins.names(kind).items()):
        table.add_row(f"[bold]{escape(name)}[/]", escape(plugins.summary(kind, name)), escape(origin))
    Console().print(table)
