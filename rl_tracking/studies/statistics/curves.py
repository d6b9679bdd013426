"""Learning curves: the score of many runs along their length."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rl_tracking.studies.config.study import StudyTask
from rl_tracking.studies.statistics.bootstrap import Band, band
from rl_tracking.studies.statistics.metrics import Array, interquartile_mean
from rl_tracking.studies.statistics.records import Run


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
