"""The jobs of a gradient study: a training run, the reference at a checkpoint, an estimator at a checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import files, plugins
from rl_tracking.agents.saving import weights
from rl_tracking.agents.saving.description import versions
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.settings import Settings
from rl_tracking.studies.config.study import digest
from rl_tracking.studies.gradients.estimates import Measured, StatePool, build_like, measure, reference, settings_like
from rl_tracking.studies.gradients.figures import Products
from rl_tracking.studies.gradients.spec import REFERENCE, Estimator, GradientStudy, Place, Plan
from rl_tracking.studies.gradients.training import Snapshot, settings_of, train

SCHEMA = 1  # of a line of results
_EPISODES = 50  # of the evaluation at a checkpoint
_DIGITS = 9  # of a product of gradients, in a file


@dataclasses.dataclass(frozen=True)
class Job:
    """One process of a gradient study, and all that its results depend on.

    Attributes:
        folder: of the study's results.
        task: where.
        settings: of the training run.
        plan: how thoroughly; its ``rollouts`` are those of this estimator.
        shares: of the run that snapshots are taken at; a single one where gradients are measured.
        estimator: whose gradients; None where there is none to measure.
    """

    folder: Path
    task: Place
    settings: Settings
    plan: Plan
    shares: tuple[float, ...]
    estimator: Estimator | None = None

    def __str__(self) -> str:
        return f"{self.task.name}/training"

    @property
    def seed(self) -> int:
        """Of the training run."""
        return self.settings.seed

    def file(self, folder: Path) -> Path:
        """Where its results are, in the folder of a study."""
        return folder / "training" / f"{self.task.name}.jsonl"

    def snapshot(self, share: float) -> Path:
        """Where the networks are that a run had at a share of its steps."""
        return self.folder / "training" / self.task.name / f"at-{share:g}.pt"

    @cached_property
    def digest(self) -> str:
        """Of everything that decides its results; files that rewards and activations come from included."""
        settings = self.settings.to_dict()
        sources = [plugins.origin("reward", str(self.settings.parameters["reward"]))]
        named = self.settings.arguments.get("reward_activation")
        sources += [plugins.origin("activation", str(named))] if named is not None else []
        return digest(SCHEMA, settings, sources, *self._decisive())

    def _decisive(self) -> tuple[Any, ...]:
        return (self.shares,)

    def lines(self, on_progress: Callable[[float], None]) -> Iterator[dict[str, Any]]:
        """Do it, and say what came out."""
        found: list[dict[str, Any]] = []

        def keep(share: float, model: BaseAlgorithm) -> None:
            Snapshot.of(model).save(self.snapshot(share))
            result = evaluate(model, _EPISODES)
            metrics = {name: figure["value"] for name, figure in result.items() if _is_figure(figure)}
            found.append({"share": share, "macro_steps": model.num_timesteps, "metrics": metrics})

        train(self.settings, self.shares, keep, on_progress)
        yield from found


@dataclasses.dataclass(frozen=True)
class ReferenceJob(Job):
    """The reference at a checkpoint; its gradients are kept for the estimators."""

    def __str__(self) -> str:
        return f"{self.task.name}/at-{self.shares[0]:g}/{self._name}"

    @property
    def _name(self) -> str:
        return REFERENCE

    def file(self, folder: Path) -> Path:
        """See :meth:`Job.file`."""
        return self._place(folder) / f"{self._name}.jsonl"

    def _place(self, folder: Path) -> Path:
        return folder / "gradients" / self.task.name / f"at-{self.shares[0]:g}"

    @property
    def gradients(self) -> Path:
        """Where the reference's own gradients are."""
        return self._place(self.folder) / f"{REFERENCE}.pt"

    def _decisive(self) -> tuple[Any, ...]:
        return self.shares, self.plan

    def lines(self, on_progress: Callable[[float], None]) -> Iterator[dict[str, Any]]:
        """See :meth:`Job.lines`."""
        told = _Counted(on_progress, self.plan.reference_rollouts)
        snapshot = Snapshot.load(self.snapshot(self.shares[0]))
        measured = reference(snapshot, self.settings, self.plan, self._pool(snapshot), self._generator(), told)
        files.write_tensors(self.gradients, measured.gradients)
        gradients = measured.gradients.double()
        yield {**_sizes(measured), "gram": triangle(gradients @ gradients.T)}

    def _pool(self, snapshot: Snapshot) -> StatePool:
        """The states that every estimator and the reference begin from: the same in every process."""
        policy = Estimator("pool", "hybrid-grpo", {"n_samples": 2, "horizon": 1, "baseline": "none"})
        model = build_like(snapshot, self.settings, policy, self.plan, worlds=1)
        torch.manual_seed(self.seed)
        return StatePool(model, 4 * self.plan.worlds)

    def _generator(self) -> torch.Generator:
        """Independent of those of other jobs, the same whenever this job runs."""
        return torch.Generator().manual_seed(int(digest(str(self), self.seed), 16) >> 2)


@dataclasses.dataclass(frozen=True)
class EstimateJob(ReferenceJob):
    """An estimator at a checkpoint."""

    @property
    def _name(self) -> str:
        assert self.estimator is not None
        return self.estimator.name

    def _decisive(self) -> tuple[Any, ...]:
        assert self.estimator is not None
        settings = settings_like(self.settings, self.estimator, self.plan)
        return self.shares, self.plan, settings.to_dict(), self.estimator.from_start

    def lines(self, on_progress: Callable[[float], None]) -> Iterator[dict[str, Any]]:
        """See :meth:`Job.lines`."""
        assert self.estimator is not None
        told = _Counted(on_progress, self.plan.rollouts)
        snapshot = Snapshot.load(self.snapshot(self.shares[0]))
        model = build_like(snapshot, self.settings, self.estimator, self.plan)
        measured = measure(model, self.estimator, self._pool(snapshot), self.plan.rollouts, self._generator(), told)
        products = Products.of(measured.gradients, weights.read(self.gradients.read_bytes(), f"'{self.gradients}'"))
        onto = [_rounded(value) for value in products.onto]
        yield {**_sizes(measured), "gram": triangle(products.gram), "onto": onto, "size": products.size}


def run_job(job: Job, path: Path, on_progress: Callable[[float], None]) -> None:
    """Do a job and write its results to ``path``, one JSON object a line; the file is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    closing = {"versions": versions(), "schema": SCHEMA, "digest": job.digest}
    lines = [json.dumps({**line, **closing}, allow_nan=False) for line in job.lines(on_progress)]
    files.write_text(path, "\n".join(lines) + "\n")


def stages(study: GradientStudy, folder: Path) -> tuple[list[Job], list[Job], list[Job]]:
    """All jobs, in three stages of which each needs the ones before: training, reference, estimators."""
    training, references, estimates = list[Job](), list[Job](), list[Job]()
    for task in study.tasks:
        settings = settings_of(study, task)
        training.append(Job(folder, task, settings, study.plan, study.checkpoints))
        for share in study.checkpoints:
            references.append(ReferenceJob(folder, task, settings, study.plan, (share,)))
            for estimator in study.estimators:
                plan = dataclasses.replace(study.plan, rollouts=study.rollouts_of(estimator))
                estimates.append(EstimateJob(folder, task, settings, plan, (share,), estimator))
    return training, references, estimates


def triangle(gram: Any) -> list[list[float]]:
    """The lower triangle of a symmetric matrix, row by row, as numbers of a file."""
    return [[_rounded(value) for value in row[: at + 1]] for at, row in enumerate(np.asarray(gram))]


def square(rows: list[list[float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The symmetric matrix of a lower triangle, ``[K, K]``."""
    gram = np.zeros((len(rows), len(rows)))
    for at, row in enumerate(rows):
        gram[at, : at + 1] = gram[: at + 1, at] = row
    return gram


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _sizes(measured: Measured) -> dict[str, int]:
    return {"macro_steps": measured.macro_steps, "simulator_steps": measured.simulator_steps}


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and "ci95" in value


class _Counted:
    """Tells the share that is done each time it is called."""

    def __init__(self, tell: Callable[[float], None], total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def __call__(self) -> None:
        self._done += 1
        self._tell(self._done / self._total)
