"""The jobs that measure gradients at a checkpoint of a cell: the reference, and each estimator against it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl_tracking import files
from rl_tracking.agents.saving import weights
from rl_tracking.runs.intervals import Array
from rl_tracking.studies.config.gradients import REFERENCE, Estimator, GradientPlan
from rl_tracking.studies.config.study import digest
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.cells import Cell
from rl_tracking.studies.execute.job import Job
from rl_tracking.studies.execute.snapshot import Snapshot
from rl_tracking.studies.gradients.estimates import Measured, StatePool, build_like, measure, reference, settings_like
from rl_tracking.studies.gradients.figures import Products

_DIGITS = 9  # of a product of gradients, in a file


@dataclasses.dataclass(frozen=True)
class AtCheckpoint(Job):
    """A job that measures gradients at a checkpoint.

    Attributes:
        cell: the training run.
        share: of the run's budget.
        plan: how thoroughly.
    """

    cell: Cell
    share: float
    plan: GradientPlan

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What is measured."""

    def __str__(self) -> str:
        return f"{self.cell}/at-{self.share:g}/{self.name}"

    def place(self, file: str) -> str:
        """The path of one of the checkpoint's files."""
        return f"{result_lines.checkpoint_of(str(self.cell), self.share)}/{file}"

    def start(self, folder: Path) -> tuple[Snapshot, StatePool, torch.Generator]:
        """The networks, the states that all jobs of this checkpoint begin from, and a generator of the job's own."""
        snapshot = Snapshot.load(folder / self.cell.snapshot(self.share))
        policy = Estimator(name="pool", algo="hybrid-grpo", settings={"n_samples": 2, "horizon": 1, "baseline": "none"})
        model = build_like(snapshot, self.cell.settings, policy, self.plan, worlds=1)
        torch.set_num_threads(1)
        torch.manual_seed(self.cell.seed)  # the same states in every process
        pool = StatePool(model, 4 * self.plan.worlds)
        name = f"{self.cell.task.name}/at-{self.share:g}/{self.name}"
        seed = int(digest(name, self.cell.seed), 16) >> 2
        return snapshot, pool, torch.Generator().manual_seed(seed)


@dataclasses.dataclass(frozen=True)
class ReferenceJob(AtCheckpoint):
    """The reference; its gradients are kept for the estimators."""

    @property
    def name(self) -> str:
        """See :class:`AtCheckpoint`."""
        return REFERENCE

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The networks."""
        return (self.cell.snapshot(self.share),)

    @property
    def files(self) -> tuple[str, ...]:
        """The gradients, and their products."""
        return self.place(f"{REFERENCE}.pt"), self.place(f"{REFERENCE}.jsonl")

    @cached_property
    def digest(self) -> str:
        """See :class:`Job`."""
        return digest(self.cell.digest, self.share, _thoroughness(self.plan))

    def run(self, folder: Path, on_progress: Callable[[float], None]) -> None:
        """See :class:`Job`."""
        count = _Counted(on_progress, self.plan.reference_rollouts)
        snapshot, pool, generator = self.start(folder)
        measured = reference(snapshot, self.cell.settings, self.plan, pool, generator, count)
        gradients = measured.gradients.double()
        files.write_tensors(folder / self.files[0], measured.gradients)
        with self.writing(folder) as write:
            write({**_sizes(measured), "gram": triangle(gradients @ gradients.T)})


@dataclasses.dataclass(frozen=True)
class EstimateJob(AtCheckpoint):
    """An estimator, compared with the reference."""

    estimator: Estimator

    @property
    def name(self) -> str:
        """See :class:`AtCheckpoint`."""
        return self.estimator.name

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The networks, and the gradients of the reference."""
        return self.cell.snapshot(self.share), self.place(f"{REFERENCE}.pt")

    @property
    def files(self) -> tuple[str, ...]:
        """The products of its gradients."""
        return (self.place(f"{self.name}.jsonl"),)

    @cached_property
    def digest(self) -> str:
        """See :class:`Job`."""
        settings = settings_like(self.cell.settings, self.estimator, self.plan).to_dict()
        own = settings, self.estimator.from_start, self.plan.rollouts_of(self.estimator)
        return digest(self.cell.digest, self.share, _thoroughness(self.plan), *own)

    def run(self, folder: Path, on_progress: Callable[[float], None]) -> None:
        """See :class:`Job`."""
        rollouts = self.plan.rollouts_of(self.estimator)
        count = _Counted(on_progress, rollouts)
        snapshot, pool, generator = self.start(folder)
        model = build_like(snapshot, self.cell.settings, self.estimator, self.plan)
        measured = measure(model, self.estimator, pool, rollouts, generator, count)
        path = folder / self.needs[1]
        products = Products.of(measured.gradients, weights.read(path.read_bytes(), f"'{path}'"))
        onto = [_rounded(value) for value in products.onto]
        with self.writing(folder) as write:
            write({**_sizes(measured), "gram": triangle(products.gram), "onto": onto, "size": products.size})


def measurements(plan: GradientPlan, cells: Sequence[Cell]) -> tuple[list[Job], list[Job]]:
    """The references at all checkpoints of all cells, and the estimators there, which need them."""
    references: list[Job] = [ReferenceJob(cell, share, plan) for cell in cells for share in plan.checkpoints]
    estimates: list[Job] = [
        EstimateJob(cell, share, plan, estimator)
        for cell in cells
        for share in plan.checkpoints
        for estimator in plan.estimators
    ]
    return references, estimates


def _thoroughness(plan: GradientPlan) -> tuple[int, ...]:
    """What decides the states and the reference."""
    return plan.worlds, plan.steps, plan.reference_rollouts, plan.reference_horizon, plan.reference_samples


def triangle(gram: Any) -> list[list[float]]:
    """The lower triangle of a symmetric matrix, row by row, as numbers of a file."""
    return [[_rounded(value) for value in row[: at + 1]] for at, row in enumerate(np.asarray(gram))]


def square(rows: Sequence[Sequence[float]]) -> Array:
    """The symmetric matrix of a lower triangle, ``[K, K]``."""
    gram = np.zeros((len(rows), len(rows)))
    for at, row in enumerate(rows):
        gram[at, : at + 1] = gram[: at + 1, at] = row
    return gram


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _sizes(measured: Measured) -> dict[str, int]:
    return {"macro_steps": measured.macro_steps, "simulator_steps": measured.simulator_steps}


class _Counted:
    """Reports the share that is done each time it is called."""

    def __init__(self, report: Callable[[float], None], total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def __call__(self) -> None:
        self._done += 1
        self._report(self._done / self._total)
