"""Reads the runs of a study from its folder: which are finished, which failed, which are missing."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from rl_tracking import files
from rl_tracking.studies.config.study import UNITS, Study, StudyTask
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.result_lines import EvaluationLine, UnreadableError
from rl_tracking.studies.statistics.metrics import Array


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its evaluations in their order, at least one."""

    task: str
    variant: str
    seed: int
    records: tuple[EvaluationLine, ...]

    @property
    def name(self) -> str:
        """The cell's."""
        return result_lines.cell_name(self.task, self.variant, self.seed)

    def along(self, unit: str) -> Array:
        """Where the evaluations were made ``[P]``, in one of :data:`UNITS`."""
        return np.array([getattr(record, unit) for record in self.records], dtype=np.float64)

    def scores(self, metric: str) -> Array:
        """A figure of every evaluation ``[P]``."""
        return np.array([record.metrics[metric] for record in self.records], dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A run without results. ``error`` says why in one line; it is empty if the run was never made."""

    task: str
    variant: str
    seed: int
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Cells:
    """The runs that a study asks for, in the order of its tasks, variants and seeds."""

    finished: tuple[Run, ...]
    failed: tuple[Unfinished, ...]
    missing: tuple[Unfinished, ...]

    def of(self, task: str, variant: str) -> tuple[Run, ...]:
        """The finished runs of a variant on a task."""
        return tuple(cell for cell in self.finished if (cell.task, cell.variant) == (task, variant))


def read_cells(directory: Path, study: Study) -> Cells:
    """Read every run that the study asks for; other files are left alone.

    A file of results that can't be read counts as a failed run, and its error says what is wrong with it.

    Args:
        directory: the study's folder, which holds ``cells/<task>/<variant>/seed-<n>.jsonl``.
        study: what to look for.
    """
    finished: list[Run] = []
    failed: list[Unfinished] = []
    missing: list[Unfinished] = []
    asked = (
        (task, variant.name, seed) for task in study.tasks for variant in study.variants for seed in study.all_seeds
    )
    for task, variant, seed in asked:
        path = directory / result_lines.results_of(result_lines.cell_name(task.name, variant, seed))
        failure = path.with_suffix(".failed.json")
        if path.is_file():
            try:
                finished.append(Run(task.name, variant, seed, read_records(path, task)))
            except UnreadableError as error:
                failed.append(Unfinished(task.name, variant, seed, f"{path.name}: {error}"))
        elif failure.is_file():
            failed.append(Unfinished(task.name, variant, seed, _reason(failure)))
        else:
            missing.append(Unfinished(task.name, variant, seed))
    return Cells(tuple(finished), tuple(failed), tuple(missing))


def with_scores(directory: Path, study: Study) -> Study:
    """The study with the score of each task, which its file may leave to the task: the results say which it is.

    Args:
        directory: the study's folder.
        study: as its file says.
    """
    return msgspec.structs.replace(study, tasks=[_with_score(directory, study, task) for task in study.tasks])


def _with_score(directory: Path, study: Study, task: StudyTask) -> StudyTask:
    for variant in study.variants:
        for seed in study.all_seeds:
            path = directory / result_lines.results_of(result_lines.cell_name(task.name, variant.name, seed))
            with suppress(OSError, UnreadableError):
                line = result_lines.read(path, EvaluationLine)[0]
                metric, better = task.metric or line.metric, task.better or line.better
                return msgspec.structs.replace(task, metric=metric, better=better)
    return task


def read_records(path: Path, task: StudyTask) -> tuple[EvaluationLine, ...]:
    """The evaluations of a run, at least one.

    Raises:
        UnreadableError: the file holds something else; why, in one line.
    """
    records = result_lines.read(path, EvaluationLine)
    for number, record in enumerate(records, start=1):
        if record.metrics.get(task.metric) is None:
            known = ", ".join(sorted(name for name, value in record.metrics.items() if value is not None)) or "none"
            raise UnreadableError(f"line {number} has no metric '{task.metric}'; it has {known}")
    for unit in UNITS:
        along = [getattr(record, unit) for record in records]
        if along != sorted(along):
            raise UnreadableError(f"{unit} goes back from one evaluation to the next")
    return tuple(records)


def _reason(path: Path) -> str:
    try:
        error = json.loads(files.read_text(path, errors="replace"))["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{path.name} can't be read"
    return " ".join(str(error).split()) or "no reason given"
