"""Figures of single numbers: every run as a dot, and what all of them say with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rl_tracking.studies.config.study import UNITS, StudyTask
from rl_tracking.studies.report.plotting import INK, UNIT_AXES, count_axis, grid, legend_above, looks
from rl_tracking.studies.statistics.bootstrap import Interval
from rl_tracking.studies.statistics.metrics import Array
from rl_tracking.studies.statistics.summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCATTER = 0.2  # how far dots are from the middle of their line


def scores(tasks: Sequence[StudyTask], rows: Sequence[Row], variants: Sequence[str]) -> Figure:
    """Last and mean score of every run, with interquartile mean and interval; a line of panels for each task."""
    figure, panels = _panels(tasks, variants, columns=2)
    for task, line in zip(tasks, panels, strict=True):
        metric = task.label
        for axes, name in zip(line, (f"{metric}, last evaluation", f"{metric}, mean over the budget"), strict=True):
            axes.set_xlabel(name)
        for row in (row for row in rows if row.task == task.name):
            for axes, spread in zip(line, (row.final, row.area), strict=True):
                everyone = np.ones(row.runs, dtype=bool)
                _strip(axes, variants, row.variant, spread.values, everyone, spread.interval)
    _legend(figure, "interquartile mean, 95 % interval")
    return figure


def arrivals(tasks: Sequence[StudyTask], rows: Sequence[Row], variants: Sequence[str]) -> Figure:
    """Time to the threshold of every run, with median and interval; a line of panels for each task."""
    figure, panels = _panels(tasks, variants, columns=len(UNITS))
    for task, line in zip(tasks, panels, strict=True):
        for axes, unit in zip(line, UNITS, strict=True):
            for row in (row for row in rows if row.task == task.name):
                found = row.arrivals[unit]
                _strip(axes, variants, row.variant, found.times.values, found.times.reached, found.median)
            axes.set_xlabel(UNIT_AXES[unit])
            axes.set_xlim(0, 1.1 * max(axes.dataLim.x1, 1e-9))
        line[0].set_title(f"{task.name}: to {task.label} {task.threshold:g}")
    _legend(figure, "median, 95 % interval", censored=True)
    return figure


def _panels(tasks: Sequence[StudyTask], variants: Sequence[str], columns: int) -> tuple[Figure, list[list[Axes]]]:
    height = 0.75 + len(tasks) * (0.75 + 0.34 * len(variants))
    figure, panels = grid(len(tasks), columns, (3.2 + 3.0 * (columns - 1) + 1.0, height), sharey=True)
    for task, line in zip(tasks, panels, strict=True):
        line[0].set_title(task.name)
        for axes in line:
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.set_yticks(range(len(variants)), list(variants))
            axes.set_ylim(len(variants) - 0.45, -0.55)
            count_axis(axes)
    return figure, panels


def _strip(
    axes: Axes, variants: Sequence[str], variant: str, values: Array, reached: NDArray[np.bool_], interval: Interval
) -> None:
    """One line: dots for runs, open triangles for those that only say 'longer than this', a bar for the interval."""
    at, colour = variants.index(variant), looks(variants)[variant]["color"]
    beside = at + _SCATTER * np.where(np.arange(len(values)) % 2, 1, -1) * (1 + np.arange(len(values)) % 3) / 3
    axes.scatter(values[reached], beside[reached], s=12, color=colour, alpha=0.4, lw=0)
    axes.scatter(
        values[~reached], beside[~reached], s=18, marker=">", facecolor="none", edgecolor=colour, alpha=0.7, lw=0.8
    )
    if not math.isfinite(interval.low):
        return
    known, end = math.isfinite(interval.high), float(values.max())
    axes.plot([interval.low, interval.high if known else end], [at, at], color=colour, lw=2.6, solid_capstyle="butt")
    if not known:
        arrow = {"arrowstyle": "<|-", "color": colour, "lw": 2.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (end, at), (18, 0), textcoords="offset points", arrowprops=arrow)
    if math.isfinite(interval.value):
        axes.plot([interval.value], [at], "D", color=colour, ms=6, mec="white", mew=0.9, clip_on=False)


def _legend(figure: Figure, bar: str, *, censored: bool = False) -> None:
    from matplotlib.lines import Line2D

    entries = [
        (Line2D([], [], color=INK, marker="D", lw=2.6, markersize=6, markeredgecolor="white"), bar),
        (Line2D([], [], color=INK, marker="o", lw=0, markersize=3.5, alpha=0.5), "one run"),
    ]
    if censored:
        entries.append(
            (Line2D([], [], color=INK, marker=">", lw=0, markersize=4.5, fillstyle="none"), "run that did not reach it")
        )
    legend_above(figure, [handle for handle, _ in entries], [label for _, label in entries])
