"""What a claim compares on one task: the figures of the runs of two variants, in its measure.

====================================  =============================================  ==================  ===========
measure                               figure of a run                                figure of a variant  compared by
====================================  =============================================  ==================  ===========
``final``                             score of the last evaluation                   interquartile mean  difference
``area``                              mean score over the budget                     interquartile mean  difference
``drawdown``                          largest fall of the score below its best       mean                difference
``update:NAME``                       mean of a figure that the updates log          mean                difference
``<unit>_to_threshold``               first time at the threshold, in one of the     restricted mean     ratio
                                      units of a run's length
====================================  =============================================  ==================  ===========

A claim that names a factor is about a ratio whatever its measure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from rl_tracking.studies.config.study import OF_UPDATES, TO_THRESHOLD, Claim, Study, StudyTask
from rl_tracking.studies.statistics import measures
from rl_tracking.studies.statistics.bootstrap import difference, ratio
from rl_tracking.studies.statistics.measures import Times, restricted
from rl_tracking.studies.statistics.metrics import Array, Samples, interquartile_mean, mean
from rl_tracking.studies.statistics.records import Run


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The runs of two variants on one task, S of the first and Z of the second.

    Attributes:
        task: its name.
        pair: figures ``[S]`` and ``[Z]``, in their unit.
        together: the same as they are taken together with other tasks' figures.
        ranked: the same as they are compared run by run, where the claim names no factor.
        note: what has to be known about them.
    """

    task: str
    pair: tuple[Array, Array]
    together: tuple[Array, Array]
    ranked: tuple[Array, Array]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Incomparable:
    """Why two variants can't be compared on a task."""

    task: str
    reason: str


def is_ratio(claim: Claim) -> bool:
    """Whether a claim is about a ratio; otherwise it is about a difference."""
    return claim.factor is not None or claim.measure.endswith(TO_THRESHOLD)


def against(claim: Claim) -> float:
    """The ratio or difference beyond which the claim holds."""
    if claim.factor is not None:
        return claim.factor
    return 1.0 if is_ratio(claim) else 0.0


def effect(claim: Claim) -> Callable[[Samples, Samples], Array]:
    """The ratio or difference of two variants in the measure of a claim."""
    figure = interquartile_mean if claim.measure in ("final", "area") else mean
    return ratio(figure) if is_ratio(claim) else difference(figure)


def compare(
    claim: Claim, study: Study, task: StudyTask, runs: Sequence[Run], others: Sequence[Run]
) -> Comparison | Incomparable:
    """The figures that a claim compares on a task.

    Args:
        claim: what to compare.
        study: where the claim stands.
        task: on which task.
        runs: finished runs of the claim's variant.
        others: finished runs of the one it is compared with.
    """
    for variant, finished in ((claim.variant, runs), (claim.than, others)):
        if not finished:
            return Incomparable(task.name, f"no finished run of {variant}")
    if claim.measure.endswith(TO_THRESHOLD):
        return _compare_times(claim, task, runs, others)
    pair = tuple(np.array([_figure(claim, study, task, run) for run in group]) for group in (runs, others))
    pair = tuple(figures[np.isfinite(figures)] for figures in pair)
    for variant, figures in zip((claim.variant, claim.than), pair, strict=True):
        if not len(figures):
            return Incomparable(task.name, f"the runs of {variant} log no {claim.measure.removeprefix(OF_UPDATES)}")
    x, y = pair
    together = (x, y) if is_ratio(claim) else (_scaled(claim, task, x), _scaled(claim, task, y))
    return Comparison(task.name, (x, y), together, (x, y))


def _figure(claim: Claim, study: Study, task: StudyTask, run: Run) -> float:
    if claim.measure.startswith(OF_UPDATES):
        return measures.update_mean(run, claim.measure.removeprefix(OF_UPDATES))
    if claim.measure == "area":
        return measures.area(run, task, study.budget_of(task))
    return measures.drawdown(run, task) if claim.measure == "drawdown" else measures.final(run, task)


def _scaled(claim: Claim, task: StudyTask, figures: Array) -> Array:
    """Figures on a scale whose differences tasks share. What updates log has the same scale everywhere."""
    low, high = task.range
    return figures if claim.measure.startswith(OF_UPDATES) else figures / (high - low)


def _compare_times(
    claim: Claim, task: StudyTask, runs: Sequence[Run], others: Sequence[Run]
) -> Comparison | Incomparable:
    """Times to the threshold, cut off so that no run has to be left out and none has to be guessed.

    A claimed factor stretches the other variant's times before they are cut off: were it exact, both would then be the
    same, however many runs did not get there. Cutting off first would draw every ratio towards 1.
    """
    if task.threshold is None:
        return Incomparable(task.name, "the task has no threshold")
    unit = claim.measure.removesuffix(TO_THRESHOLD)
    mine, theirs = measures.times(runs, task, unit), measures.times(others, task, unit)
    factor = against(claim)
    x, stretched = restricted([mine, Times(theirs.values * factor, theirs.reached)])
    pair = (x, stretched / factor)
    ranked = restricted([mine, theirs])
    return Comparison(task.name, pair, pair, (ranked[0], ranked[1]), _about(mine, theirs))


def _about(*groups: Times) -> str:
    """What has to be known of times: runs without one, and runs that had the score before they learned anything."""
    notes = []
    if not all(times.reached.all() for times in groups):
        mine, theirs = (f"{int(times.reached.sum())} of {len(times.reached)}" for times in groups)
        notes.append(f"threshold reached by {mine} runs, against {theirs}")
    before = [int((times.values[times.reached] <= 0).sum()) for times in groups]
    if any(before):
        notes.append(f"before training already by {before[0]}, against {before[1]}")
    return "; ".join(notes)
