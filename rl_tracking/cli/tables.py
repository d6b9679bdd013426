"""Tables of figures, for people."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

_COLUMNS = {
    "capture_rate": ("\ncaptured", "{:.1%}"),
    "time_in_radius": ("time in\nradius", "{:.1%}"),
    "time_to_capture": ("capture\nafter [s]", "{:.2f}"),
    "mean_distance": ("distance\nmean [m]", "{:.2f}"),
    "return": ("\nreturn", "{:.1f}"),
}


def evaluations(results: list[dict[str, Any]]) -> Table:
    """One row a policy; each figure with its 95 % interval."""
    first = results[0]
    skipped = f", first {first['skip']} steps left out" if first["skip"] else ""
    table = Table(
        title=f"{first['scenario']} {first['preset'] or ''}: the same {first['episodes']} episodes, "
        f"95 % intervals{skipped}",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("\npolicy", no_wrap=True)
    for title, _ in _COLUMNS.values():
        table.add_column(escape(title), justify="right")
    for result in results:
        table.add_row(escape(result["policy"]), *(_cell(result[name], form) for name, (_, form) in _COLUMNS.items()))
    return table


def _cell(figure: dict[str, Any], form: str) -> str:
    if figure["value"] is None:
        return "never"
    low, high = (form.format(bound) for bound in figure["ci95"])
    return f"{form.format(figure['value'])}\n[dim]{low} to {high}[/]"
