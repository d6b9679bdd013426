"""Writes the report of a study: a page of Markdown and its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.config.study import UNITS, Study
from rl_tracking.studies.gradients import section
from rl_tracking.studies.gradients.results import read
from rl_tracking.studies.report import plots
from rl_tracking.studies.report.page import page
from rl_tracking.studies.report.plotting import DPI, require_matplotlib, style
from rl_tracking.studies.statistics import Cells, Summary, judge, learning_curve, read_cells, summarise, with_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.md"


def write_report(directory: Path, study: Study, rng: np.random.Generator, *, command: str) -> Path:
    """Write ``report.md`` and its pictures into a study's folder, from the runs that are finished there.

    Args:
        directory: the study's folder.
        study: what was asked.
        rng: draws the resamples; the same state gives the same figures.
        command: what made the results.

    Returns:
        The path of the page.

    Raises:
        UsageError: no run is finished, or matplotlib is missing; nothing is written then.
    """
    study = with_scores(directory, study)
    cells = read_cells(directory, study)
    if not cells.finished:
        raise UsageError(_nothing(directory, cells))
    require_matplotlib()
    summary, judged = summarise(study, cells, rng), judge(study, cells, rng)
    points = list(read(directory, study, cells.finished, rng))
    pictures = []
    with style():
        for name, figure in chain(_pictures(study, cells, summary, rng), section.pictures(study, points)):
            with files.atomic(directory / name) as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)
            pictures.append(name)
    sections = section.paragraphs(study, points)
    files.write_text(directory / PAGE, page(study, cells, summary, judged, sections, pictures, command))
    return directory / PAGE


def _nothing(directory: Path, cells: Cells) -> str:
    counts = f"{len(cells.failed)} failed, {len(cells.missing)} missing"
    first = f"; the first that failed: {cells.failed[0].error}" if cells.failed else "; run the study first"
    return f"'{directory}' holds no finished run of this study ({counts}){first}"


def _pictures(study: Study, cells: Cells, summary: Summary, rng: np.random.Generator) -> Iterator[tuple[str, Figure]]:
    """File names and figures, one after the other, so that only one is in memory."""
    variants = [variant.name for variant in study.variants]
    tasks = [task for task in study.tasks if summary.on(task.name)]
    for task in tasks:
        curves = {
            row.variant: {unit: learning_curve(cells.of(task.name, row.variant), task, unit, rng) for unit in UNITS}
            for row in summary.on(task.name)
        }
        yield f"curves-{task.name}.png", plots.learning_curves(task, curves, variants)
    yield "scores.png", plots.scores(tasks, summary.rows, variants)
    with_threshold = [task for task in tasks if task.threshold is not None]
    if with_threshold:
        yield "thresholds.png", plots.arrivals(with_threshold, summary.rows, variants)
    if summary.aggregates:
        yield "profiles.png", plots.profiles(summary.aggregates, variants)
