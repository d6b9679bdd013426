"""Tables of figures, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rl_tracking.envs.totals import Metric
    from rl_tracking.runs.tasks import Task


def evaluations(results: list[dict[str, Any]], task: Task, bound: dict[str, Any] | None = None) -> Table:
    """One row a policy; each of the task's figures with its 95 % interval.

    Args:
        results: as :func:`rl_tracking.runs.evaluate.evaluate` returns them, of the same episodes.
        task: where they were measured.
        bound: figures that no policy can beat, the last row.
    """
    first = results[0]
    skipped = f", first {first['skip']} steps left out" if first.get("skip") else ""
    episodes = f"the same {first['episodes']} episodes, 95 % intervals" if first["episodes"] > 1 else "one episode"
    title = f"{escape(task.title)}: {episodes}{skipped}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, min_width=min(len(title), 80))
    metrics = [metric for metric in task.metrics if metric.name in first]
    table.add_column("\npolicy", no_wrap=True)
    for metric in metrics:
        table.add_column(escape(_two_lines(metric.title)), justify="right")
    for result in results:
        table.add_row(escape(result["policy"]), *(_cell(result.get(metric.name), metric) for metric in metrics))
    if bound is not None:
        table.add_section()
        table.add_row("bound", *(_cell(bound.get(metric.name), metric) for metric in metrics))
        table.caption, table.caption_justify = "bound: no policy can do better in these episodes", "left"
    return table


def _two_lines(title: str) -> str:
    """A title broken at the space nearest to its middle; a single word goes to the second line."""
    breaks = [at for at, letter in enumerate(title) if letter == " "]
    at = min(breaks, key=lambda at: abs(at - len(title) / 2), default=0)
    return f"{title[:at]}\n{title[at:].strip()}"


def _cell(figure: dict[str, Any] | None, metric: Metric) -> str:
    if figure is None:
        return "unknown"
    if figure.get("not_finite"):
        return "not finite"
    if figure["value"] is None:
        return "never"
    value = metric.text(figure["value"])
    if None in figure["ci95"]:  # of a single episode
        return value
    low, high = (metric.text(bound) for bound in figure["ci95"])
    return f"{value}\n[dim]{low} to {high}[/]"
