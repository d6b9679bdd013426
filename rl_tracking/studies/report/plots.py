"""Figures of curves: the score along the runs, and the performance profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl_tracking.studies.config.study import UNITS, StudyTask
from rl_tracking.studies.report.plotting import INK, UNIT_AXES, count_axis, grid, legend_above, log_axis, looks
from rl_tracking.studies.statistics.curves import Curve
from rl_tracking.studies.statistics.summary import LEVELS, Aggregate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOG_FROM = 4.0  # how much longer the longest run of a panel is than the shortest, for a logarithmic axis
_BAND = 0.16  # opacity


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
