"""The section of a report on policy gradients: paragraphs of Markdown and a picture a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rl_tracking.studies.config.study import UNITS, Study
from rl_tracking.studies.gradients.results import PER, EstimatorFigures, Point
from rl_tracking.studies.report.numbers import short, with_bounds
from rl_tracking.studies.report.plotting import INK, grid, legend_above, log_axis, looks, named_lines
from rl_tracking.studies.report.tables import table
from rl_tracking.studies.statistics import Interval, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROOM = 0.6  # of the way from one line to the next, that the checkpoints of an estimator take
_COSINES = (-0.35, 1.15)
_MARKERS = "osD^v<>"
_MEANING = """
* **noise**: how much gradients scatter about their mean, tr Cov(g) / |E g|^2, for equal steps: it falls as 1 / steps.
  It is infinite where the mean cannot be distinguished from zero.
* **cosine**: between the mean gradient and the reference's. 1 is unbiased up to a factor; estimates can exceed 1.
* **alignment**: the mean cosine between the gradient of one rollout and the reference, at the rollout's own length.

Noise is relative to the estimator's own mean, so multiplying an estimator by a number changes nothing; it says nothing
about bias, which the cosine shows. The reference takes rewards as they are, and the training run's gamma.
Brackets are 95 % intervals of a bootstrap over rollouts. A ratio holds where its whole interval lies at or above
what is claimed, does not hold where all of it lies below, and is undecided in between.
""".strip()


def paragraphs(study: Study, points: Sequence[Point]) -> Iterator[str]:
    """The section; nothing in a study that measures no gradients."""
    measured = [point for point in points if point.rows]
    if any(point.verdicts for point in measured):
        yield "## Noise ratios"
        yield verdicts(study, measured)
    if measured:
        yield "## Policy gradients"
        yield _MEANING
    for run, own in _by_run(measured):
        yield f"### {title(study, run)}"
        yield f"![Noise and direction of every estimator on {title(study, run)}]({picture(study, run)})"
        for point in own:
            yield _about(point)
            yield estimators(point)
    missing = [
        f"* {title(study, point.run)}, at {point.share:g}: {', '.join(point.missing)}"
        for point in points
        if point.missing
    ]
    if missing:
        yield "Not measured:"
        yield "\n".join(missing)


def pictures(study: Study, points: Sequence[Point]) -> Iterator[tuple[str, Figure]]:
    """File names and figures, one after the other."""
    names = [estimator.name for estimator in study.gradients.estimators] if study.gradients else []
    for run, own in _by_run([point for point in points if point.rows]):
        yield picture(study, run), _drawn(title(study, run), own, names)


def title(study: Study, run: Run) -> str:
    """The task of a run; its variant and its seed where the study has more than one."""
    parts = [run.task]
    parts += [run.variant] if len(study.variants) > 1 else []
    parts += [f"seed {run.seed}"] if study.seeds > 1 else []
    return ", ".join(parts)


def picture(study: Study, run: Run) -> str:
    """The file of the picture of a run."""
    return f"gradients-{title(study, run).replace(', ', '-').replace(' ', '-')}.png"


def verdicts(study: Study, points: Sequence[Point]) -> str:
    """One line a ratio, run and checkpoint."""
    return table(
        ("claim", "task", "run", "verdict", "measured [95 %]", "claimed"),
        (
            (
                ratio.text,
                title(study, point.run),
                _at(point),
                f"**{verdict.answer}**",
                _bounded(verdict.measured),
                f"at least {short(ratio.at_least)}",
            )
            for ratio in (study.gradients.ratios if study.gradients else [])
            for point in points
            for verdict in point.verdicts
            if verdict.ratio == ratio
        ),
        left=4,
    )


def estimators(point: Point) -> str:
    """One line an estimator at a checkpoint."""
    noise = (f"noise of {PER[unit]:,} {UNITS[unit]} [95 %]" for unit in PER)
    steps = (f"{UNITS[unit]} of a rollout" for unit in PER)
    return table(
        ("estimator", "rollouts", *steps, *noise, "cosine [95 %]", "alignment [95 %]"),
        (
            (
                row.estimator,
                str(row.rollouts),
                *(f"{row.steps[unit]:,}" for unit in PER),
                *(_bounded(row.noise[unit]) for unit in PER),
                _bounded(row.cosine),
                _bounded(row.alignment),
            )
            for row in point.rows
        ),
    )


def _about(point: Point) -> str:
    known = {name: value for name, value in point.metrics.items() if value is not None}
    metrics = ", ".join(f"{name.replace('_', ' ')} {short(value)}" for name, value in known.items())
    return (
        f"**{_at(point)}** ({metrics}). Noise of the reference's own mean, of "
        f"{point.reference_roots:,} roots: {short(point.reference_noise)}."
    )


def _at(point: Point) -> str:
    return f"at {point.share:.3g}, after {point.macro_steps:,} macro-steps"


def _bounded(interval: Interval) -> str:
    return "not known" if math.isnan(interval.value) else with_bounds(interval, 2)


def _by_run(points: Sequence[Point]) -> Iterator[tuple[Run, list[Point]]]:
    for _, own in groupby(points, key=lambda point: point.run.name):
        group = list(own)
        yield group[0].run, group


def _drawn(title: str, points: Sequence[Point], estimators: Sequence[str]) -> Figure:
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


def _shown(row: EstimatorFigures) -> tuple[Interval, ...]:
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
        named_lines(axes, names)
        for between in range(1, len(names)):
            axes.axhline(between - 0.5, color="#f0f0f0", linewidth=0.8, zorder=0)
