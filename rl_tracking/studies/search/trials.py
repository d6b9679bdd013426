"""One search for hyper-parameters: a variant on a task, the space it searches, and the value of a trial."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rl_tracking.agents.arguments import settable
from rl_tracking.errors import UsageError
from rl_tracking.studies.config.study import Choice, Study, StudyTask, Tuning, Variant, digest
from rl_tracking.studies.execute.cells import Cell, make_cell
from rl_tracking.studies.execute.result_lines import UnreadableError
from rl_tracking.studies.statistics import Run, measures, read_records

_BESIDE_ARGUMENTS = ("num_envs", "normalize")  # settings that every algorithm has


@dataclasses.dataclass(frozen=True)
class Search:
    """A variant on a task, with the settings that are searched and their values in ``space``."""

    study: Study
    task: StudyTask
    variant: Variant
    tuning: Tuning
    space: dict[str, Choice]

    def __str__(self) -> str:
        return f"{self.task.name}/{self.variant.name}"

    def cells(self, tried: dict[str, Any]) -> list[Cell]:
        """The cells of a trial: one a seed.

        Raises:
            UsageError: the algorithm refuses what is tried.
        """
        settings = {**self.variant.settings_on(self.task), **tried}
        variant = msgspec.structs.replace(self.variant, settings=settings, on={})
        first = self.tuning.first_seed
        return make_cell(self.study, self.task, variant).with_seeds(range(first, first + self.tuning.seeds))

    @property
    def own(self) -> dict[str, Any]:
        """The variant's own values of the searched settings, where they lie in the space."""
        settings = self.cells({})[0].settings
        values = {name: getattr(settings, name) for name in _BESIDE_ARGUMENTS} | settings.arguments
        return {key: values[key] for key, choice in self.space.items() if key in values and values[key] in choice}

    def value(self, folder: Path, tried: dict[str, Any]) -> float:
        """The objective of a trial that has run: the mean over its seeds; not a number if one of them failed."""
        cells = self.cells(tried)
        if not all(cell.finished(folder) for cell in cells):
            return math.nan
        return float(np.mean([_score(cell, folder, self.tuning.objective) for cell in cells]))

    def identity(self, seed: int) -> str:
        """A digest of everything that decides a trial, besides the trials before it."""
        tuning = (self.tuning.objective, self.tuning.seeds, self.tuning.first_seed, self.task.metric, self.task.range)
        return digest(seed, self.space, tuning, [cell.digest for cell in self.cells({})])

    def check(self, trials: int) -> None:
        """Build the algorithm with the ends of the space.

        Raises:
            UsageError: the algorithm refuses one of them, or there are more trials than settings to try.
        """
        size = math.prod(choice.size for choice in self.space.values())
        if trials > size:
            raise UsageError(f"{self}: the space holds only {size} settings to try; ask for {size} trials or fewer")
        for key, choice in self.space.items():
            for value in choice.choices or choice.ends:
                self.cells({key: value})[0].check()


def searches(study: Study, only: str | None = None) -> Iterator[Search]:
    """Every search that a study asks for.

    Args:
        study: with a table ``[tune]``.
        only: a glob on ``task/variant``.

    Raises:
        UsageError: it asks for none, searches settings that none of its algorithms has, or ``only`` matches none.
    """
    tuning = study.tune
    if tuning is None:
        raise UsageError(f"study '{study.name}' asks for no search; add [tune] and [tune.space] to it")
    known = {variant.name: (*settable(variant.algo), *_BESIDE_ARGUMENTS) for variant in study.variants}
    for key in tuning.space:
        if not any(key in names for names in known.values()):
            raise UsageError(f"study '{study.name}', [tune.space]: no variant of it has a setting {key}")
    for task, variant in study.pairs(only):
        shared = {key: choice for key, choice in tuning.space.items() if key in known[variant.name]}
        space = {**shared, **tuning.space_of.get(variant.name, {})}
        if not space:
            raise UsageError(f"study '{study.name}', [tune]: no setting is searched for '{variant.name}'")
        yield Search(study, task, variant, tuning, space)


def _score(cell: Cell, folder: Path, objective: str) -> float:
    """The last score of a cell, or the mean one over its budget, with the task's range as 0 to 1."""
    path = cell.results(folder)
    try:
        run = Run(cell.task.name, cell.variant, cell.seed, read_records(path, cell.task))
    except UnreadableError as error:
        raise UsageError(f"'{path}' is damaged; delete it to run that trial again ({error})") from error
    final = objective == "final"
    score = measures.final(run, cell.task) if final else measures.area(run, cell.task, cell.budget)
    return float(measures.normalised(np.asarray(score), cell.task))
