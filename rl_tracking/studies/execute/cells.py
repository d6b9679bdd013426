"""One cell of a study: a variant on a task with a seed, trained and evaluated along the way."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import plugins
from rl_tracking.envs.totals import Metric
from rl_tracking.errors import RunError, UsageError, unknown
from rl_tracking.runs.build import build
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.intervals import not_finite
from rl_tracking.runs.settings import Settings, resolve
from rl_tracking.studies.config.study import Budget, EvaluationPlan, Study, StudyTask, Variant, digest
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.job import Job
from rl_tracking.studies.execute.measuring import Measured, MeasuringCallback, UpdateFigures
from rl_tracking.studies.execute.result_lines import SCHEMA
from rl_tracking.studies.execute.snapshot import Snapshot

_FROM_FILES = {"reward": "reward", "reward_activation": "activation"}  # settings that may name a file, by kind


@dataclasses.dataclass(frozen=True)
class Cell(Job):
    """A training run of a study.

    Attributes:
        task: where.
        variant: its name.
        seed: of the run.
        settings: of the run.
        budget: how long it trains.
        evaluation: when it is evaluated, besides at the checkpoints.
        checkpoints: rising shares of the budget at which the networks are kept.
    """

    task: StudyTask
    variant: str
    seed: int
    settings: Settings
    budget: Budget
    evaluation: EvaluationPlan
    checkpoints: tuple[float, ...] = ()

    def __str__(self) -> str:
        return result_lines.cell_name(self.task.name, self.variant, self.seed)

    @property
    def files(self) -> tuple[str, ...]:
        """See :class:`Job`."""
        return (*map(self.snapshot, self.checkpoints), result_lines.results_of(str(self)))

    def snapshot(self, share: float) -> str:
        """The file of the networks that the run has at a share of its budget."""
        return f"{result_lines.checkpoint_of(str(self), share)}/networks.pt"

    @cached_property
    def digest(self) -> str:
        """Of everything that decides its results; files that rewards and activations come from included."""
        settings = self.settings.to_dict()
        named = {**settings["parameters"], **settings["arguments"]}
        sources = [plugins.origin(kind, str(named[key])) for key, kind in _FROM_FILES.items() if key in named]
        task = (self.task.scenario, self.task.env, self.task.parameters)
        budget = {"unit": self.budget.unit, "amount": self.budget.amount}
        kept = [self.checkpoints] if self.checkpoints else []
        return digest(SCHEMA, task, settings, budget, self.evaluation, sources, *kept)

    def with_seeds(self, seeds: Iterable[int]) -> list[Cell]:
        """The same cell with other seeds."""
        return [
            dataclasses.replace(self, seed=seed, settings=msgspec.structs.replace(self.settings, seed=seed))
            for seed in seeds
        ]

    def check(self) -> None:
        """Build the algorithm on a few worlds, to see whether it takes its settings and can branch in the task.

        Raises:
            UsageError: it does not; of which variant on which task.
        """
        with located(self.task, self.variant), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = build(msgspec.structs.replace(self.settings, num_envs=min(self.settings.num_envs, 2)))
        if model.env is not None:
            model.env.close()

    def run(self, folder: Path, on_progress: Callable[[float], None]) -> None:
        """Train, and write one line an evaluation.

        Raises:
            UsageError: the algorithm refuses the task.
            RunError: the training failed, or the task's metric is not among the figures of the evaluation.
        """
        torch.set_num_threads(self.settings.threads)
        score = {"metric": self.task.metric, "better": self.task.better}
        about = {"task": self.task.name, "variant": self.variant, "seed": self.seed, **score}
        with self.writing(folder) as write, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what SB3 and Gymnasium advise is for the author of the study

            def keep(measured: Measured) -> None:
                for share in measured.checkpoints:
                    Snapshot.of(model).save(folder / self.snapshot(share))
                write({**about, **dataclasses.asdict(measured)})

            plan = self.budget, self.evaluation.points, self.checkpoints
            callback = MeasuringCallback(*plan, self._evaluate, keep, on_progress)
            model = build(self.settings, remaining=callback.remaining)
            try:
                figures = UpdateFigures()
                model.set_logger(figures)
                callback.learn(model, figures)
            finally:
                if model.env is not None:
                    model.env.close()

    def _evaluate(self, model: BaseAlgorithm) -> dict[str, float | None]:
        """Figures of a model by name, over the episodes that every variant is measured over."""
        task = self.settings.task()
        result = evaluate(model, self.evaluation.episodes, task=task)
        found = not_finite([result])
        if found is not None:
            raise RunError(f"task '{self.task.name}', variant '{self.variant}': {found}")
        values = {metric.name: result[metric.name]["value"] for metric in task.metrics if metric.name in result}
        if self.task.metric not in values:
            raise RunError(f"task '{self.task.name}' has no {self.task.metric}; it has {', '.join(values)}")
        return values


@contextmanager
def located(task: StudyTask, variant: str, part: str = "") -> Iterator[None]:
    """Add to a UsageError which variant on which task it is about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"variant '{variant}' on task '{task.name}'{part}: {error}") from error


def make_cell(study: Study, task: StudyTask, variant: Variant) -> Cell:
    """The cell of a study with seed 0.

    Raises:
        UsageError: an unknown setting, named with its variant and task.
    """
    budget = study.budget_of(task)
    steps = int(budget.amount) if budget.unit == "macro_steps" else None
    with located(task, variant.name):
        settings = resolve(
            given={"algo": variant.algo, "scenario": task.scenario, "env": task.env, "seed": 0, "steps": steps},
            values=variant.settings_on(task),
            parameters=task.parameters,
        )
        task = scored(task, settings.task().metrics)
    return Cell(task, variant.name, 0, settings, budget, study.evaluation, study.checkpoints)


def scored(task: StudyTask, metrics: Sequence[Metric]) -> StudyTask:
    """A row of the grid with its score: the headline of the task where the row names no metric.

    Raises:
        UsageError: the task has no such metric.
    """
    known = {metric.name: metric for metric in metrics}
    headline = next((metric.name for metric in metrics if metric.headline), next(iter(known)))
    name = task.metric or headline
    if name not in known:
        raise unknown("metric", name, known)
    return msgspec.structs.replace(task, metric=name, better=task.better or known[name].better)


def cells_of(study: Study, only: str | None = None) -> list[Cell]:
    """The cells of a study, all of one seed before the next, so that a run that is stopped early compares fairly.

    Args:
        study: what to run.
        only: a glob on ``task/variant``.

    Raises:
        UsageError: as :func:`make_cell`, or ``only`` matches none of them.
    """
    grid = [make_cell(study, task, variant).with_seeds(study.all_seeds) for task, variant in study.pairs(only)]
    return [cell for same_seed in zip(*grid, strict=True) for cell in same_seed]
