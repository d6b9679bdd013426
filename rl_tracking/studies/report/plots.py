"""Figures: the score along the runs, the score and the time to the threshold of each, and the performance profile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rl_tracking.studies.config.study import UNITS, StudyTask
from rl_tracking.studies.report.plotting import (
    INK,
    UNIT_AXES,
    count_axis,
    grid,
    legend_above,
    log_axis,
    looks,
    named_lines,
)
from rl_tracking.studies.statistics import LEVELS, Aggregate, Array, Curve, Interval, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOG_FROM = 4.0  # how much longer the longest run of a panel is than the shortest, for a logarithmic axis
_BAND = 0.16  # opacity
_SCATTER = 0.2  # how far dots are from the middle of their line


def learning_curves(task: StudyTask, curves: Mapping[str, Mapping[str, Curve]], variants: Sequence[str]) -> Figure:
    """The score of a task against each unit of a run's length, side by side.

    Args:
        task: what was learned.
        curves: by variant and unit.
        variants: of the study, in the order of their colours.
    """
    figure, (panels,) = grid(1, len(UNITS), (10.5, 3.5), sharey=True)
    for axes, unit in zip(panels, UNITS, strict=True):
        drawn = {name: curves[name][unit] for name in variants if name in curves}
        _curve_panel(axes, drawn, looks(variants), unit)
        if task.threshold is not None:
            axes.axhline(task.threshold, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1, label="threshold")
    panels[0].set_ylabel(task.label)
    panels[0].set_title(task.name)
    legend_above(figure, *panels[0].get_legend_handles_labels())
    return figure


def _curve_panel(axes: Axes, curves: Mapping[str, Curve], look: Mapping[str, Any], unit: str) -> None:
    ends = [float(curve.along[-1]) for curve in curves.values()]
    logarithmic = max(ends) > _LOG_FROM * min(ends) > 0
    for name, curve in curves.items():
        shown = curve.along > 0 if logarithmic else slice(None)
        along, band = curve.along[shown], curve.score
        axes.fill_between(along, band.low[shown], band.high[shown], color=look[name]["color"], alpha=_BAND, lw=0)
        axes.plot(along, band.value[shown], label=name, **look[name])
    if logarithmic:
        log_axis(axes)
    else:
        count_axis(axes)
        axes.set_xlim(left=0)
    axes.set_xlabel(UNIT_AXES[unit] + (", log scale" if logarithmic else ""))


def profiles(aggregates: Sequence[Aggregate], variants: Sequence[str]) -> Figure:
    """The share of runs, over all tasks, whose last score lies above each level."""
    figure, ((axes,),) = grid(1, 1, (6.2, 3.7))
    look = looks(variants)
    for each in aggregates:
        axes.fill_between(
            LEVELS,
            each.profile.low,
            each.profile.high,
            step="post",
            color=look[each.variant]["color"],
            alpha=_BAND,
            lw=0,
        )
        axes.step(LEVELS, each.profile.value, where="post", label=each.variant, **look[each.variant])
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="normalised score at the end", ylabel="share of runs above it")
    legend_above(figure, *axes.get_legend_handles_labels())
    return figure


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
            named_lines(axes, variants)
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
