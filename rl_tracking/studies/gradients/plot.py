"""The picture of measured gradients: noise and direction of every estimator, checkpoint by checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl_tracking.studies.config.study import UNITS
from rl_tracking.studies.gradients.results import PER, Point, Row
from rl_tracking.studies.report.numbers import short
from rl_tracking.studies.report.plotting import INK, grid, legend_above, log_axis, looks
from rl_tracking.studies.statistics.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROOM = 0.6  # of the way from one line to the next, that the checkpoints of an estimator take
_COSINES = (-0.35, 1.15)
_MARKERS = "osD^v<>"


def strips(title: str, points: Sequence[Point], estimators: Sequence[str]) -> Figure:
    """One line an estimator; on it one interval a checkpoint.

    Args:
        title: of the picture.
        points: the checkpoints of one run.
        estimators: of the study, in the order of their lines.
    """
    from matplotlib.lines import Line2D

    names = [name for name in estimators if any(row.estimator == name for point in points for row in point.rows)]
    size = 0.9 + len(names) * (0.2 + 0.13 * len(points))
    figure, (panels,) = grid(1, 3, (11.0, size), sharey=True)
    labels = [f"at {point.share:.3g} of the run, {short(point.macro_steps)} macro-steps" for point in points]
    look = looks(labels)
    for at, (point, label) in enumerate(zip(points, labels, strict=True)):
        beside = _ROOM * ((at + 0.5) / len(points) - 0.5)
        colour, marker = look[label]["color"], _MARKERS[at % len(_MARKERS)]
        for row in point.rows:
            line = names.index(row.estimator) + beside
            for axes, interval in zip(panels, _shown(row), strict=True):
                _strip(axes, line, interval, colour, marker, label)
    for axes, unit in zip(panels, PER, strict=False):
        log_axis(axes)
        axes.set_xlabel(f"noise of {PER[unit]:,} {UNITS[unit]}, log scale")
    panels[2].set_xlabel("cosine of the mean gradient with the reference")
    panels[2].set_xlim(*_COSINES)  # what no cosine can be is left out, and wide intervals run out of the picture
    panels[2].axvline(1.0, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
    _lines(panels, names)
    panels[0].set_title(title)
    handles = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    open_end = Line2D([], [], color=INK, marker=">", lw=0, markersize=6, fillstyle="none")
    legend_above(figure, [*handles.values(), open_end], [*handles, "without an upper bound"])
    return figure


def _shown(row: Row) -> tuple[Interval, ...]:
    return (*row.noise.values(), row.cosine)


def _strip(axes: Axes, line: float, interval: Interval, colour: str, marker: str, label: str) -> None:
    """A bar for the interval, open to the right where it has no end, and a mark for the value if it is finite."""
    if math.isfinite(interval.low):
        known = max(bound for bound in (interval.low, interval.value, interval.high) if math.isfinite(bound))
        axes.plot([interval.low, known], [line, line], color=colour, lw=2.0, solid_capstyle="butt")
        if not math.isfinite(interval.high):
            axes.plot([known], [line], ">", color=colour, ms=6, fillstyle="none", lw=0)
    if math.isfinite(interval.value):
        axes.plot([interval.value], [line], marker, color=colour, ms=5, mec="white", mew=0.7, lw=0, label=label)


def _lines(panels: Sequence[Axes], names: Sequence[str]) -> None:
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_yticks(range(len(names)), list(names))
        axes.set_ylim(len(names) - 0.45, -0.55)
        for between in range(1, len(names)):
            axes.axhline(between - 0.5, color="#f0f0f0", linewidth=0.8, zorder=0)
