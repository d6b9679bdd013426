"""Reads what was measured at the checkpoints of a study and computes its figures, with 95 % intervals over rollouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from rl_tracking.errors import UsageError
from rl_tracking.studies.config.gradients import REFERENCE, GradientPlan, Ratio
from rl_tracking.studies.config.study import Study
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.result_lines import GradientLine, UnreadableError
from rl_tracking.studies.gradients.figures import Products, figures, noise_ratio, signal
from rl_tracking.studies.gradients.jobs import square
from rl_tracking.studies.statistics import Interval, Run

PER = {"macro_steps": 1024, "simulator_steps": 8192}
"""The steps that noise is given for."""


@dataclasses.dataclass(frozen=True)
class EstimatorFigures:
    """An estimator at a checkpoint.

    Attributes:
        estimator: its name.
        steps: of a rollout, by unit.
        rollouts: K.
        noise: by unit, of as many steps as :data:`PER` says.
        cosine: of the mean gradient with the reference.
        alignment: of one rollout's gradient with the reference.
    """

    estimator: str
    steps: Mapping[str, int]
    rollouts: int
    noise: Mapping[str, Interval]
    cosine: Interval
    alignment: Interval


@dataclasses.dataclass(frozen=True)
class RatioVerdict:
    """A ratio at a checkpoint; ``answer`` is ``holds``, ``does not hold`` or ``undecided``."""

    ratio: Ratio
    measured: Interval
    answer: str


@dataclasses.dataclass(frozen=True)
class Point:
    """A checkpoint of a run.

    Attributes:
        run: the training run.
        share: of the run's budget.
        macro_steps: of the run at that point.
        metrics: of the evaluation there.
        reference_noise: of the reference's mean: tr Cov / |E g|^2 over its rollouts.
        reference_roots: how many roots it has in all.
        rows: one an estimator that is measured.
        verdicts: one a ratio whose two estimators are measured.
        missing: names of what is not measured.
    """

    run: Run
    share: float
    macro_steps: int
    metrics: Mapping[str, float | None]
    reference_noise: float
    reference_roots: int
    rows: tuple[EstimatorFigures, ...]
    verdicts: tuple[RatioVerdict, ...]
    missing: tuple[str, ...]


def read(folder: Path, study: Study, runs: Iterable[Run], rng: np.random.Generator) -> Iterator[Point]:
    """The figures of every checkpoint of some runs; none in a study that measures no gradients.

    Args:
        folder: of the study's results.
        study: what was asked.
        runs: finished ones of the study.
        rng: draws the resamples.

    Raises:
        UsageError: a file is damaged.
    """
    plan = study.gradients
    if plan is None:
        return
    for run in runs:
        for share in plan.checkpoints:
            place = folder / result_lines.checkpoint_of(run.name, share)
            names = [REFERENCE, *(estimator.name for estimator in plan.estimators)]
            lines = {name: line for name in names if (line := _line(place / f"{name}.jsonl")) is not None}
            yield _point(plan, run, share, lines, tuple(name for name in names if name not in lines), rng)


def _line(file: Path) -> GradientLine | None:
    if not file.exists():
        return None
    try:
        return result_lines.read(file, GradientLine)[0]
    except UnreadableError as error:
        raise UsageError(f"'{file}' is damaged; delete it to measure it again ({error})") from error


def _point(
    plan: GradientPlan,
    run: Run,
    share: float,
    lines: dict[str, GradientLine],
    missing: tuple[str, ...],
    rng: np.random.Generator,
) -> Point:
    record = next((record for record in run.records if share in record.checkpoints), run.records[-1])
    grams = {name: square(line.gram) for name, line in lines.items()}
    reference = grams.pop(REFERENCE, np.zeros((0, 0)))
    products = {name: Products(gram, np.array(lines[name].onto), lines[name].size) for name, gram in grams.items()}
    return Point(
        run=run,
        share=share,
        macro_steps=int(record.macro_steps),
        metrics=record.metrics,
        reference_noise=_noise_of_mean(reference),
        reference_roots=4 * plan.worlds * len(reference),
        rows=tuple(_row(name, lines[name], each, rng) for name, each in products.items()),
        verdicts=tuple(
            _judge(ratio, lines, products, rng) for ratio in plan.ratios if {ratio.of, ratio.to} <= set(products)
        ),
        missing=missing,
    )


def _noise_of_mean(gram: np.ndarray) -> float:
    squared = float(signal(gram)) if len(gram) else 0.0
    return float((gram.diagonal().mean() - squared) / squared / len(gram)) if squared > 0 else np.inf


def _row(name: str, line: GradientLine, products: Products, rng: np.random.Generator) -> EstimatorFigures:
    found = figures(products, rng)
    steps = {unit: getattr(line, unit) for unit in PER}
    noise = {unit: found["noise"].scaled(steps[unit] / PER[unit]) for unit in PER}
    return EstimatorFigures(name, steps, len(products.gram), noise, found["cosine"], found["alignment"])


def _judge(
    ratio: Ratio, lines: dict[str, GradientLine], products: dict[str, Products], rng: np.random.Generator
) -> RatioVerdict:
    scale = getattr(lines[ratio.of], ratio.per) / getattr(lines[ratio.to], ratio.per)
    measured = noise_ratio(products[ratio.to], products[ratio.of], rng, scale=scale)
    return RatioVerdict(ratio, measured, judged(measured, ratio.at_least))


def judged(measured: Interval, at_least: float) -> str:
    """The verdict that an interval gives on a lower bound."""
    if measured.low >= at_least:
        return "holds"
    return "does not hold" if measured.high < at_least else "undecided"
