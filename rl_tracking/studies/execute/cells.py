"""One cell of a study: a variant on a task with a seed, trained and evaluated along the way."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import files, plugins
from rl_tracking.agents.saving.description import versions
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.intervals import not_finite
from rl_tracking.runs.settings import Settings, resolve
from rl_tracking.runs.tasks import make_task
from rl_tracking.runs.train import build
from rl_tracking.studies.config.study import Budget, EvaluationPlan, Study, Task, Variant, digest
from rl_tracking.studies.execute.measuring import Measured, MeasuringCallback, UpdateFigures

SCHEMA = 1  # of a line of results
_FROM_FILES = {"reward": "reward", "reward_activation": "activation"}  # settings that may name a file, by kind


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is run, and all that its results depend on."""

    task: Task
    variant: str
    seed: int
    settings: Settings
    budget: Budget
    evaluation: EvaluationPlan

    def __str__(self) -> str:
        return f"{self.task.name}/{self.variant}/seed-{self.seed}"

    def file(self, folder: Path) -> Path:
        """Where its results are, in the folder of a study."""
        return folder / "cells" / self.task.name / self.variant / f"seed-{self.seed}.jsonl"

    @cached_property
    def digest(self) -> str:
        """Of everything that decides its results; files that rewards and activations come from included."""
        settings = self.settings.to_dict()
        named = {**settings["parameters"], **settings["arguments"]}
        sources = [plugins.origin(kind, str(named[key])) for key, kind in _FROM_FILES.items() if key in named]
        task = (self.task.scenario, self.task.env, self.task.parameters)
        return digest(SCHEMA, task, settings, self.budget, self.evaluation, sources)


def settings_of(study: Study, task: Task, variant: Variant, seed: int) -> Settings:
    """The settings of a cell.

    Raises:
        UsageError: an unknown setting, or one that the algorithm refuses; it says of which variant on which task.
    """
    budget = study.budget_of(task)
    steps = int(budget.amount) if budget.unit == "macro_steps" else None
    try:
        return resolve(
            given={"algo": variant.algo, "scenario": task.scenario, "env": task.env, "seed": seed, "steps": steps},
            values=variant.settings_on(task),
            parameters=task.parameters,
        )
    except UsageError as error:
        raise _placed(study, task, variant, error) from error


def check_built(study: Study, task: Task, variant: Variant, settings: Settings) -> None:
    """Build an algorithm on a few worlds, to see whether it takes its settings and can branch where it is to learn.

    Raises:
        UsageError: it does not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = build(msgspec.structs.replace(settings, num_envs=min(settings.num_envs, 2)))
    except UsageError as error:
        raise _placed(study, task, variant, error) from error
    if model.env is not None:
        model.env.close()


def _placed(study: Study, task: Task, variant: Variant, error: UsageError) -> UsageError:
    """An error that says of which variant on which task it is."""
    return UsageError(f"study '{study.name}', variant '{variant.name}' on task '{task.name}': {error}")


def cells_of(study: Study, only: str | None = None) -> list[Cell]:
    """The cells of a study, all of one seed before the next: a run that is stopped early compares fairly.

    Args:
        study: what to run.
        only: a glob on ``task/variant``.

    Raises:
        UsageError: as :func:`settings_of`, or ``only`` means none of them.
    """
    grid = [(task, variant.name, settings_of(study, task, variant, 0)) for task, variant in study.pairs(only)]
    return [
        Cell(task, variant, seed, msgspec.structs.replace(settings, seed=seed), study.budget_of(task), study.evaluation)
        for seed in range(study.seeds)
        for task, variant, settings in grid
    ]


def run_cell(cell: Cell, path: Path, on_progress: Callable[[float], None] | None = None) -> None:
    """Train a cell and write its results to ``path``, one JSON object a line, one line an evaluation.

    The lines go to a temporary file beside ``path``, which takes its name when the cell is finished.

    Args:
        cell: what to run.
        path: see :meth:`Cell.file`.
        on_progress: called now and then with the share of the budget that is spent.

    Raises:
        UsageError: the algorithm refuses the task.
        RunError: the training failed, or the task's metric is not among the figures of the evaluation.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(cell.settings.threads)
    about = {"task": cell.task.name, "variant": cell.variant, "seed": cell.seed}
    closing = {"versions": versions(), "schema": SCHEMA, "digest": cell.digest}
    with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def write(measured: Measured) -> None:
            line = {**about, **dataclasses.asdict(measured), **closing}
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()

        _learn(cell, write, on_progress)


def _learn(cell: Cell, write: Callable[[Measured], None], on_progress: Callable[[float], None] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SB3 and Gymnasium advise is for whoever writes the study
        model = build(cell.settings)
        try:
            figures = UpdateFigures()
            model.set_logger(figures)
            callback = MeasuringCallback(cell.budget, cell.evaluation.points, _evaluator(cell), write, on_progress)
            callback.learn(model, figures)
        finally:
            if model.env is not None:
                model.env.close()


def _evaluator(cell: Cell) -> Callable[[BaseAlgorithm], dict[str, float | None]]:
    """Measures a model over the episodes that every variant is measured over; figures by name."""
    task, episodes = cell.task, cell.evaluation.episodes

    def measure(model: BaseAlgorithm) -> dict[str, float | None]:
        result = evaluate(model, episodes, task=make_task(task.scenario, task.env, task.parameters))
        found = not_finite([result])
        if found is not None:
            raise RunError(f"task '{task.name}', variant '{cell.variant}': {found}")
        values = {name: figure["value"] for name, figure in result.items() if _is_figure(figure)}
        if task.metric not in values:
            raise RunError(f"task '{task.name}' has no {task.metric}; it has {', '.join(values)}")
        return values

    return measure


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and "ci95" in value
