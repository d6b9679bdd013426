"""The figures of a report: each variant on each task, and each variant over all tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from rl_tracking.studies.config.study import UNITS, Study, StudyTask
from rl_tracking.studies.statistics import measures, metrics
from rl_tracking.studies.statistics.bootstrap import Band, Interval, band, interval
from rl_tracking.studies.statistics.measures import Times, survival_median
from rl_tracking.studies.statistics.metrics import Array, interquartile_mean
from rl_tracking.studies.statistics.records import Cells, Run

LEVELS = np.linspace(0, 1, 101)
"""Normalised scores at which the performance profile is taken."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """A figure of every run ``[S]``, and that of all of them with its interval."""

    values: Array
    interval: Interval


@dataclasses.dataclass(frozen=True)
class Arrivals:
    """When the runs reached the threshold, and the median of that time (infinite: not reached)."""

    times: Times
    median: Interval


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant on one task.

    Attributes:
        task: its name.
        variant: its name.
        runs: how many are finished, 1 or more.
        final: interquartile mean of the last evaluation's score.
        area: interquartile mean of the mean score over the budget.
        drawdown: mean of the largest fall of the score.
        arrivals: by unit of a run's length; empty without a threshold.
    """

    task: str
    variant: str
    runs: int
    final: Spread
    area: Spread
    drawdown: Spread
    arrivals: Mapping[str, Arrivals]


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """One variant over all tasks, its scores scaled by the tasks' ranges.

    Attributes:
        variant: its name.
        runs: the fewest on a task.
        final: figures of the last evaluation's score, by name.
        area: interquartile mean of the mean score over the budget.
        profile: share of the runs with a last score above each of :data:`LEVELS` ``[K]``.
    """

    variant: str
    runs: int
    final: Mapping[str, Interval]
    area: Interval
    profile: Band


@dataclasses.dataclass(frozen=True)
class Summary:
    """All figures of a report.

    Attributes:
        rows: for each task and variant with finished runs, in the study's order.
        aggregates: of variants with finished runs on every task.
        left_out: of the other variants, the tasks on which they have none.
    """

    rows: tuple[Row, ...]
    aggregates: tuple[Aggregate, ...]
    left_out: Mapping[str, tuple[str, ...]]

    def on(self, task: str) -> tuple[Row, ...]:
        """The rows of one task."""
        return tuple(row for row in self.rows if row.task == task)


_OVER_TASKS = {
    "IQM": metrics.interquartile_mean,
    "median": metrics.median,
    "mean": metrics.mean,
    "optimality gap": metrics.optimality_gap,
}


def summarise(study: Study, cells: Cells, rng: np.random.Generator) -> Summary:
    """Figures of all finished runs, with intervals drawn from ``rng``."""
    rows = tuple(
        _row(study, task, variant.name, runs, rng)
        for task in study.tasks
        for variant in study.variants
        if (runs := cells.of(task.name, variant.name))
    )
    names = [task.name for task in study.tasks]
    lacking = {
        variant.name: tuple(name for name in names if not cells.of(name, variant.name)) for variant in study.variants
    }
    aggregates = tuple(
        _aggregate(study, variant, [row for row in rows if row.variant == variant], rng)
        for variant, tasks in lacking.items()
        if not tasks
    )
    return Summary(rows, aggregates, {variant: tasks for variant, tasks in lacking.items() if tasks})


def _row(study: Study, task: StudyTask, variant: str, runs: Sequence[Run], rng: np.random.Generator) -> Row:
    budget = study.budget_of(task)
    final = np.array([measures.final(run, task) for run in runs])
    area = np.array([measures.area(run, task, budget) for run in runs])
    drawdown = np.array([measures.drawdown(run, task) for run in runs])
    arrivals = {}
    for unit in UNITS if task.threshold is not None else ():
        times = measures.times(runs, task, unit)
        arrivals[unit] = Arrivals(times, interval([times.sample], survival_median, rng))
    return Row(
        task.name,
        variant,
        len(runs),
        Spread(final, interval([final], metrics.interquartile_mean, rng)),
        Spread(area, interval([area], metrics.interquartile_mean, rng)),
        Spread(drawdown, interval([drawdown], metrics.mean, rng)),
        arrivals,
    )


def _aggregate(study: Study, variant: str, rows: Sequence[Row], rng: np.random.Generator) -> Aggregate:
    pairs = list(zip(rows, study.tasks, strict=True))
    final = [measures.normalised(row.final.values, task) for row, task in pairs]
    area = [measures.normalised(row.area.values, task) for row, task in pairs]
    return Aggregate(
        variant,
        min(row.runs for row in rows),
        {name: interval(final, figure, rng) for name, figure in _OVER_TASKS.items()},
        interval(area, metrics.interquartile_mean, rng),
        band(([metrics.above(scores, LEVELS) for scores in final],), metrics.mean, rng),
    )


@dataclasses.dataclass(frozen=True)
class Curve:
    """Interquartile mean of the score at P places along the runs, with its band."""

    along: Array
    score: Band


def learning_curve(runs: Sequence[Run], task: StudyTask, unit: str, rng: np.random.Generator) -> Curve:
    """The curve of some runs of one variant on one task.

    Runs that were evaluated at different places are read off the straight lines between their evaluations, and the
    curve ends where the first of them does.
    """
    places = [run.along(unit) for run in runs]
    along = places[0]
    if any(len(other) != len(along) or (other != along).any() for other in places):
        along = np.linspace(max(place[0] for place in places), min(place[-1] for place in places), len(along))
    scores = [np.interp(along, place, run.scores(task.metric)) for place, run in zip(places, runs, strict=True)]
    return Curve(along, band(([np.stack(scores, axis=-1)],), interquartile_mean, rng))
