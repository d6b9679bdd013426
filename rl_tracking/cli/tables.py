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
    "success_rate": ("\nsuccess", "{:.1%}"),
    "episode_length": ("episode\n[steps]", "{:.1f}"),
}


def evaluations(results: list[dict[str, Any]]) -> Table:
    """One row a policy; each figure with its 95 % interval."""
    first = results[0]
    columns = {name: column for name, column in _COLUMNS.items() if name in first}
    skipped = f", first {first['skip']} steps left out" if first.get("skip") else ""
    episodes = f"the same {first['episodes']} episodes, 95 % intervals" if first["episodes"] > 1 else "one episode"
    title = f"{_place(first)}: {episodes}{skipped}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, min_width=min(len(title), 80))
    table.add_column("\npolicy", no_wrap=True)
    for title, _ in columns.values():
        table.add_column(escape(title), justify="right")
    for result in results:
        table.add_row(escape(result["policy"]), *(_cell(result.get(name), form) for name, (_, form) in columns.items()))
    return table


def _place(result: dict[str, Any]) -> str:
    return escape(result["env"]) if "env" in result else f"{result['scenario']} {result['preset'] or ''}"


def _cell(figure: dict[str, Any] | None, form: str) -> str:
    if figure is None:
        return "unknown"
    if figure.get("not_finite"):
        return "not finite"
    if figure["value"] is None:
        return "never"
    value = form.format(figure["value"])
    if None in figure["ci95"]:  # of a single episode
        return value
    low, high = (form.format(bound) for bound in figure["ci95"])
    return f"{value}\n[dim]{low} to {high}[/]"
