"""Writes the report of a gradient study: a page of Markdown and a picture a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.gradients.plot import strips
from rl_tracking.studies.gradients.results import PER, Point, Results, read
from rl_tracking.studies.gradients.spec import GradientStudy
from rl_tracking.studies.report.numbers import UNIT_NAMES, short, with_bounds
from rl_tracking.studies.report.plotting import DPI, require_matplotlib, style
from rl_tracking.studies.report.tables import table
from rl_tracking.studies.statistics.bootstrap import Interval

PAGE = "gradients.md"
_MEANING = """
* **noise**: how much gradients scatter about their mean, tr Cov(g) / |E g|^2, for equal steps: it falls as 1 / steps.
  It is infinite where no mean could be told from zero.
* **cosine**: between the mean gradient and the reference's. 1 is unbiased but for a factor; estimates can pass 1.
* **alignment**: the mean cosine between the gradient of one rollout and the reference, at the rollout's own length.

Noise is relative to the estimator's own mean, so multiplying an estimator by a number changes nothing; it says nothing
about bias, which the cosine shows. The reference takes rewards as they are, and the training run's gamma.
Brackets are 95 % intervals of a bootstrap over rollouts. A ratio holds where its whole interval lies at or above
what is claimed, does not hold where all of it lies below, and is undecided in between.
""".strip()


def write_report(folder: Path, study: GradientStudy, rng: np.random.Generator, *, command: str) -> Path:
    """Write ``gradients.md`` and its pictures into a study's folder, from the results that are there.

    Args:
        folder: of the results.
        study: what was asked.
        rng: draws the resamples; the same state gives the same figures.
        command: what made the results.

    Returns:
        The path of the page.

    Raises:
        UsageError: nothing is measured, or matplotlib is missing; nothing is written then.
    """
    require_matplotlib()
    results = read(folder, study, rng)
    if not results.points:
        raise UsageError(f"'{folder}' holds no measured estimator of this study; run it first")
    names = [estimator.name for estimator in study.estimators]
    with style():
        for task, points in _by_task(results):
            with files.atomic(folder / _picture(task)) as temporary:
                strips(points, names).savefig(temporary, format="png", dpi=DPI)
    files.write_text(folder / PAGE, "\n\n".join(page(study, results, command)) + "\n")
    return folder / PAGE


def page(study: GradientStudy, results: Results, command: str) -> Iterator[str]:
    """The paragraphs of the page."""
    yield f"# {study.title}"
    yield " ".join(study.question.split())
    if any(point.verdicts for point in results.points):
        yield "## Noise ratios"
        yield verdicts(study, results.points)
    yield "## What the figures say"
    yield _MEANING
    for task, points in _by_task(results):
        yield f"## {task}"
        yield f"![Noise and direction of every estimator on {task}]({_picture(task)})"
        for point in points:
            yield _about(point)
            yield estimators(point)
    if results.missing:
        yield "## Not measured"
        yield "\n".join(f"* {name}" for name in results.missing)
    yield "## How this was made"
    yield f"```\n{command}\n```"
    yield f"Versions: {', '.join(results.versions)}."


def verdicts(study: GradientStudy, points: Sequence[Point]) -> str:
    """One line a ratio, task and checkpoint."""
    return table(
        ("claim", "task", "run", "verdict", "measured [95 %]", "claimed"),
        (
            (
                ratio.text,
                point.task,
                _at(point),
                f"**{verdict.answer}**",
                _bounded(verdict.measured),
                f"at least {short(ratio.at_least)}",
            )
            for ratio in study.ratios
            for point in points
            for verdict in point.verdicts
            if verdict.ratio == ratio
        ),
        left=4,
    )


def estimators(point: Point) -> str:
    """One line an estimator at a checkpoint."""
    noise = (f"noise of {PER[unit]:,} {UNIT_NAMES[unit]} [95 %]" for unit in PER)
    steps = (f"{UNIT_NAMES[unit]} of a rollout" for unit in PER)
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
    metrics = (
        f"{name.replace('_', ' ')} {short(value)}"
        for name in ("time_in_radius", "return")
        if (value := point.metrics.get(name)) is not None
    )
    noise = short(point.reference_noise)
    return (
        f"**{_at(point)}** ({', '.join(metrics)}). Noise of the reference's own mean, of "
        f"{point.reference_roots:,} roots: {noise}."
    )


def _at(point: Point) -> str:
    return f"at {point.share:.3g}, after {point.macro_steps:,} macro-steps"


def _bounded(interval: Interval) -> str:
    return "not known" if math.isnan(interval.value) else with_bounds(interval, 2)


def _by_task(results: Results) -> Iterator[tuple[str, list[Point]]]:
    for task in dict.fromkeys(point.task for point in results.points):
        yield task, [point for point in results.points if point.task == task]


def _picture(task: str) -> str:
    return f"gradients-{task}.png"
