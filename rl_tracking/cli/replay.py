"""``rltrack replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl_tracking.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from rl_tracking.runs.crash import Replayed


def replay(
    crash: Annotated[Path, typer.Argument(metavar="CRASH", help="A crash file that a failed training left.")],
    trust: Annotated[bool, typer.Option("--trust", help="Run code that the file names, such as a reward.")] = False,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="With --trust: run that code even if it has changed."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Repeat the step at which a training failed, from the saved state of its worlds."""
    import json as json_

    from rich.console import Console
    from rich.markup import escape

    from rl_tracking.runs.crash import replay as make_again

    made = make_again(crash, trust=trust, changed=changed)
    if json:
        typer.echo(json_.dumps(made.to_dict(), indent=1, allow_nan=False))
        return
    console = Console(soft_wrap=True)
    console.print(f"[bold]{escape(made.place)}[/], {escape(_where(made))}", highlight=False)
    console.print(f"then: {escape(made.error)}", highlight=False)
    console.print(f"now:  {escape(_now(made))}", highlight=False)
    for name, (then, now) in made.versions.items():
        console.print(f"{escape(name)} was {escape(then)} then and is {escape(now)} now", highlight=False)
    Console().print(_table(made))


def _where(made: Replayed) -> str:
    named = [f"{name.replace('_', '-')} {number}" for name, number in made.where.items()]
    return ", ".join([*named, f"{made.steps} steps from the saved state" if made.steps > 1 else "one step"])


def _now(made: Replayed) -> str:
    if made.again is None:
        return "the step went well; the error does not occur again"
    return f"the same error: {made.again}" if made.same else f"another error: {made.again}"


def _table(made: Replayed) -> Table:
    """The world in question: its state before and after, its action, and the reward's terms."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("", "before", "after"):
        table.add_column(title, overflow="fold")
    table.add_row("action of the step", escape(_text(made.action)), "")
    for name in {**made.before, **made.after}:
        table.add_row(escape(name), *(escape(_text(part.get(name))) for part in (made.before, made.after)))
    for name, value in made.terms.items():
        table.add_row(escape(name if name == "reward" else f"term {name}"), "", escape(_text(value)))
    return table


def _text(value: Any) -> str:
    """A value in few characters."""
    import numpy as np

    if value is None:
        return ""
    if isinstance(value, np.ndarray | np.generic | float | list):
        return np.array2string(np.asarray(value), precision=5, threshold=12, separator=" ").replace("\n", "")
    return str(value)
