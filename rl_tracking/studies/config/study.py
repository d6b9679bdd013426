"""A study as one value: tasks, variants, budget and the claims that are put to the test."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from fnmatch import fnmatchcase
from typing import Any

from rl_tracking.errors import unknown

UNITS = {"macro_steps": "macro-steps", "simulator_steps": "simulator steps", "seconds": "seconds of training"}
TO_THRESHOLD = "_to_threshold"  # and before it a unit
MEASURES = ("final", "area", "drawdown", *(unit + TO_THRESHOLD for unit in UNITS))
OF_UPDATES = "update:"  # and the name of a figure of the updates, such as approx_kl: a measure too


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a cell trains: ``amount`` of a unit in :data:`UNITS`."""

    unit: str
    amount: float

    def __str__(self) -> str:
        amount = f"{self.amount:,g}" if self.unit == "seconds" else f"{self.amount:,.0f}"
        return f"{amount} {UNITS[self.unit]}"


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """Evaluations at ``points`` even parts of the budget, and one before training, of ``episodes`` each."""

    points: int
    episodes: int


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be learned, and which figure of its evaluation is the score.

    Attributes:
        name: also a folder's.
        scenario: its name; empty where ``env`` is given.
        env: a Gymnasium id; empty where ``scenario`` is given.
        parameters: of the scenario or of the environment.
        metric: a figure of the evaluation; higher is better.
        threshold: the score that counts as learned; None if there is none.
        range: lowest and highest score, by which scores are normalised for aggregates over tasks.
        budget: of this task; None for the study's.
        settings: of every variant on this task, where the variant has no other: what is held equal.
    """

    name: str
    scenario: str
    env: str
    parameters: dict[str, Any]
    metric: str
    threshold: float | None = None
    range: tuple[float, float] = (0.0, 1.0)
    budget: Budget | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Variant:
    """An algorithm and its settings; ``on`` has settings for tasks whose names match a glob, the last one winning."""

    name: str
    algo: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    on: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def settings_on(self, task: Task) -> dict[str, Any]:
        """The settings on one task, those that all variants have there included."""
        settings = task.settings | self.settings
        for pattern, values in self.on.items():
            if fnmatchcase(task.name, pattern):
                settings |= values
        return settings


@dataclasses.dataclass(frozen=True)
class Claim:
    """That ``variant`` does better ``than`` another one in a measure.

    Attributes:
        name: short.
        text: the claim in words.
        measure: what is compared, such as ``final`` or ``macro_steps_to_threshold``.
        variant: of whom it is claimed.
        than: the other one.
        better: ``lower`` or ``higher`` values of the measure.
        factor: how much better, as variant / than; None for just better.
        tasks: globs of the tasks it is about.
    """

    name: str
    text: str
    measure: str
    variant: str
    than: str
    better: str
    factor: float | None = None
    tasks: tuple[str, ...] = ("*",)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where a hyper-parameter is looked for: one of ``choices``, or a number between ``low`` and ``high``."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def size(self) -> float:
        """How many values there are."""
        if self.choices:
            return len(self.choices)
        return self.high - self.low + 1 if isinstance(self.low, int) else math.inf

    def __contains__(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclasses.dataclass(frozen=True)
class Tuning:
    """A search for hyper-parameters, the same number of trials for every variant on every task.

    Attributes:
        trials: for each variant on each task.
        seeds: that a trial is the mean of, numbered from ``first_seed`` so that the study's own are not looked at.
        objective: ``area`` under the learning curve, or ``final`` score.
        space: what is searched for every variant that has the setting.
        space_of: by variant, what is searched besides.
        first_seed: of a trial.
    """

    trials: int
    seeds: int
    objective: str
    space: dict[str, Choice]
    space_of: dict[str, dict[str, Choice]]
    first_seed: int = 1000


@dataclasses.dataclass(frozen=True)
class Study:
    """A study file, read and checked.

    Attributes:
        name: the file's, without suffix.
        title: one line.
        question: a paragraph.
        seeds: how many; they are 0, 1, 2, ...
        budget: of every cell whose task has none.
        evaluation: when and how long.
        tasks: rows of the grid.
        variants: columns of the grid.
        claims: what is tested.
        text: the file as it was written.
        digest: of what decides the results of the cells: tasks, variants, budget and evaluation.
        tuning: the search that the file asks for, if it does.
    """

    name: str
    title: str
    question: str
    seeds: int
    budget: Budget
    evaluation: EvaluationPlan
    tasks: tuple[Task, ...]
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]
    text: str
    digest: str
    tuning: Tuning | None = None

    def budget_of(self, task: Task) -> Budget:
        """The budget of a cell of that task."""
        return task.budget or self.budget

    def pairs(self, only: str | None = None) -> list[tuple[Task, Variant]]:
        """The grid, row by row.

        Args:
            only: a glob on ``task/variant``; None for all of it.

        Raises:
            UsageError: no pair is meant by it.
        """
        every = {f"{task.name}/{variant.name}": (task, variant) for task in self.tasks for variant in self.variants}
        chosen = [pair for name, pair in every.items() if only is None or fnmatchcase(name, only)]
        if not chosen:
            raise unknown("task/variant", only or "", every)
        return chosen

    def tasks_of(self, claim: Claim) -> tuple[Task, ...]:
        """The tasks a claim is about."""
        return tuple(task for task in self.tasks if any(fnmatchcase(task.name, glob) for glob in claim.tasks))


def digest(*parts: Any) -> str:
    """A short hash of plain values and dataclasses."""
    text = json.dumps(parts, default=dataclasses.asdict, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
