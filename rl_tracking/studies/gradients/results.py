"""Reads what a gradient study measured and works out its figures, with 95 % intervals over rollouts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.result_lines import Estimated, Evaluated, Origin
from rl_tracking.studies.gradients.figures import Products, figures, noise_ratio, signal
from rl_tracking.studies.gradients.jobs import square, stages
from rl_tracking.studies.gradients.spec import GradientStudy, Ratio
from rl_tracking.studies.statistics.bootstrap import Interval

PER = {"macro_steps": 1024, "simulator_steps": 8192}
"""The steps that noise is given for."""


@dataclasses.dataclass(frozen=True)
class Row:
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
    steps: dict[str, int]
    rollouts: int
    noise: dict[str, Interval]
    cosine: Interval
    alignment: Interval


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A ratio at a checkpoint; ``answer`` is ``holds``, ``does not hold`` or ``undecided``."""

    ratio: Ratio
    measured: Interval
    answer: str


@dataclasses.dataclass(frozen=True)
class Point:
    """A checkpoint of a task.

    Attributes:
        task: its name.
        share: of the run.
        macro_steps: at that point.
        metrics: of an evaluation there.
        reference_noise: of the reference's mean: tr Cov / |E g|^2 over its rollouts.
        reference_roots: how many roots it has in all.
        rows: one an estimator that is measured.
        verdicts: one a ratio whose two estimators are measured.
    """

    task: str
    share: float
    macro_steps: int
    metrics: dict[str, float | None]
    reference_noise: float
    reference_roots: int
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """All checkpoints that are measured, names of jobs that are not, and versions of what measured."""

    points: tuple[Point, ...]
    missing: tuple[str, ...]
    versions: tuple[str, ...]


def read(folder: Path, study: GradientStudy, rng: np.random.Generator) -> Results:
    """The figures of all that is there.

    Args:
        folder: of the study's results.
        study: what was asked.
        rng: draws the resamples.

    Raises:
        UsageError: a file is damaged.
    """
    training, references, estimates = stages(study, folder)
    missing = [str(job) for job in (*training, *references, *estimates) if not job.file(folder).exists()]
    versions: set[str] = set()
    points, runs = list[Point](), {run.task.name: run for run in training}
    for job in references:
        mine = [each for each in estimates if (each.task, each.shares) == (job.task, job.shares)]
        found = {str(each.estimator and each.estimator.name): _lines(each.file(folder), Estimated) for each in mine}
        lines = {name: line[0] for name, line in found.items() if line}
        about = [line for line in _lines(runs[job.task.name].file(folder), Evaluated) if line["share"] == job.shares[0]]
        if about and lines:
            points.append(_point(study, job, about[0], _lines(job.file(folder), Estimated)[0], lines, rng))
            versions |= {f"{name} {version}" for line in lines.values() for name, version in line["versions"].items()}
    return Results(tuple(points), tuple(missing), tuple(sorted(versions)))


def _lines(file: Path, kind: type[Origin]) -> list[dict[str, Any]]:
    return [line for _, line in result_lines.read(file, kind, "measure it again")] if file.exists() else []


def _point(
    study: GradientStudy,
    job: Any,
    about: dict[str, Any],
    reference: dict[str, Any],
    lines: dict[str, dict[str, Any]],
    rng: np.random.Generator,
) -> Point:
    gram = square(reference["gram"])
    products = {
        name: Products(square(line["gram"]), np.array(line["onto"]), line["size"]) for name, line in lines.items()
    }
    rows = [_row(name, lines[name], each, rng) for name, each in products.items()]
    verdicts = [_judge(ratio, lines, products, rng) for ratio in study.ratios if {ratio.of, ratio.to} <= set(products)]
    return Point(
        task=job.task.name,
        share=job.shares[0],
        macro_steps=about["macro_steps"],
        metrics=about["metrics"],
        reference_noise=_noise_of_mean(gram),
        reference_roots=4 * study.plan.worlds * len(gram),
        rows=tuple(rows),
        verdicts=tuple(verdicts),
    )


def _noise_of_mean(gram: Any) -> float:
    squared = signal(gram)
    return float((gram.diagonal().mean() - squared) / squared / len(gram)) if squared > 0 else np.inf


def _row(name: str, line: dict[str, Any], products: Products, rng: np.random.Generator) -> Row:
    found = {key: Interval(figure["value"], *figure["ci95"]) for key, figure in figures(products, rng).items()}
    steps = {unit: line[unit] for unit in PER}
    noise = {unit: _scaled(found["noise"], steps[unit] / PER[unit]) for unit in PER}
    return Row(name, steps, len(products.gram), noise, found["cosine"], found["alignment"])


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(factor * interval.value, factor * interval.low, factor * interval.high)


def _judge(ratio: Ratio, lines: dict[str, Any], products: dict[str, Products], rng: np.random.Generator) -> Verdict:
    scale = lines[ratio.of][ratio.per] / lines[ratio.to][ratio.per]
    found = noise_ratio(products[ratio.to], products[ratio.of], rng, scale=scale)
    measured = Interval(found["value"], *found["ci95"])
    return Verdict(ratio, measured, judged(measured, ratio.at_least))


def judged(measured: Interval, at_least: float) -> str:
    """The verdict that an interval gives on a lower bound."""
    if measured.low >= at_least:
        return "holds"
    return "does not hold" if measured.high < at_least else "undecided"
