"""Reads the runs of a study from its folder: which are finished, which failed, which are missing."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_tracking import files
from rl_tracking.studies.config.study import UNITS, Study, Task


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluation of one run.

    Attributes:
        task: its name.
        variant: its name.
        seed: of the run.
        macro_steps: decisions so far.
        simulator_steps: steps of the simulator so far, in all branches.
        seconds: of training so far [s].
        metrics: figures of the evaluation.
        updates: means of what the updates logged since the evaluation before; empty before training.
        versions: of what the run was made with.
    """

    task: str
    variant: str
    seed: int
    macro_steps: float
    simulator_steps: float
    seconds: float
    metrics: Mapping[str, float]
    updates: Mapping[str, float]
    versions: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its evaluations in their order, at least one."""

    task: str
    variant: str
    seed: int
    records: tuple[Record, ...]

    def along(self, unit: str) -> NDArray[np.float64]:
        """Where the evaluations were made ``[P]``, in one of :data:`UNITS`."""
        return np.array([getattr(record, unit) for record in self.records], dtype=np.float64)

    def scores(self, metric: str) -> NDArray[np.float64]:
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


class UnreadableError(ValueError):
    """A file of results that says something else than it should."""


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
        (task, variant.name, seed) for task in study.tasks for variant in study.variants for seed in range(study.seeds)
    )
    for task, variant, seed in asked:
        path = directory / "cells" / task.name / variant / f"seed-{seed}.jsonl"
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


def read_records(path: Path, task: Task) -> tuple[Record, ...]:
    """The evaluations of a run, at least one.

    Raises:
        UnreadableError: the file says something else; why, in one line.
    """
    records: list[Record] = []
    for number, line in enumerate(files.read_text(path, errors="replace").splitlines(), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UnreadableError(
                f"line {number} is not an evaluation ({type(error).__name__}: {_line(error)})"
            ) from error
        _check_score(records[-1], task, number)
    if not records:
        raise UnreadableError("it holds no evaluation")
    for unit in UNITS:
        along = [getattr(record, unit) for record in records]
        if along != sorted(along):
            raise UnreadableError(f"{unit} goes back from one evaluation to the next")
    return tuple(records)


def _record(entry: dict[str, Any]) -> Record:
    lengths = {unit: float(entry[unit]) for unit in UNITS}
    if not all(math.isfinite(length) and length >= 0 for length in lengths.values()):
        raise ValueError(f"lengths must be finite and not negative, not {lengths}")
    return Record(
        task=str(entry["task"]),
        variant=str(entry["variant"]),
        seed=int(entry["seed"]),
        **lengths,
        metrics=_numbers(entry["metrics"]),
        updates=_numbers(entry["updates"]),
        versions={str(name): str(version) for name, version in entry["versions"].items()},
    )


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if value is not None}


def _check_score(record: Record, task: Task, number: int) -> None:
    score = record.metrics.get(task.metric)
    if score is None:
        known = ", ".join(sorted(record.metrics)) or "none"
        raise UnreadableError(f"line {number} has no metric '{task.metric}'; it has {known}")
    if not math.isfinite(score):
        raise UnreadableError(f"line {number}: {task.metric} is {score}; it must be finite")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _reason(path: Path) -> str:
    try:
        error = json.loads(files.read_text(path, errors="replace"))["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{path.name} can't be read"
    return " ".join(str(error).split()) or "no reason given"
