"""The schema of a study file: tasks, variants of algorithms, a budget, and the claims that are put to the test."""

from __future__ import annotations

import hashlib
import json
import math
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from rl_tracking.errors import unknown
from rl_tracking.schema import Count, CountOrZero, Positive, Share, about
from rl_tracking.studies.config.gradients import GradientPlan
from rl_tracking.studies.config.names import Name, Text

MOST_SEEDS = 10_000  # each is a training
UNITS = {"macro_steps": "macro-steps", "simulator_steps": "simulator steps", "seconds": "seconds of training"}
TO_THRESHOLD = "_to_threshold"  # and before it a unit
MEASURES = ("final", "area", "drawdown", *(unit + TO_THRESHOLD for unit in UNITS))
OF_UPDATES = "update:"  # and the name of a figure of the updates, such as approx_kl: a measure too

Seeds = Annotated[int, Meta(ge=1, le=MOST_SEEDS)]
Settings = Annotated[dict[str, Any], about("settings as of `rltrack train --set`")]


class Budget(Struct, frozen=True, kw_only=True):
    """How long a cell trains; exactly one of the units is given."""

    macro_steps: Annotated[Count | None, about("decisions of all worlds together")] = None
    simulator_steps: Annotated[Count | None, about("simulated steps, those of all branches counted")] = None
    seconds: Annotated[Positive | None, about("training time, evaluations not counted", unit="s")] = None

    @property
    def given(self) -> list[str]:
        """The units that are given."""
        return [unit for unit in UNITS if getattr(self, unit) is not None]

    @property
    def unit(self) -> str:
        """Which of :data:`UNITS` it is in."""
        return self.given[0]

    @property
    def amount(self) -> float:
        """How many of the unit."""
        return float(getattr(self, self.unit))

    def __str__(self) -> str:
        amount = f"{self.amount:,g}" if self.unit == "seconds" else f"{self.amount:,.0f}"
        return f"{amount} {UNITS[self.unit]}"


class EvaluationPlan(Struct, frozen=True, kw_only=True):
    """When a cell is evaluated: before training, and at even parts of its budget."""

    points: Annotated[Count, about("evaluations along the budget")] = 20
    episodes: Annotated[Count, about("episodes of an evaluation")] = 50


class StudyTask(Struct, frozen=True, kw_only=True):
    """What is to be learned, and which figure of its evaluation is the score. A row of the grid."""

    name: Annotated[Name, about("name of the task in the study, and of a folder")]
    scenario: Annotated[str, about("name of a scenario; without it, `env`")] = ""
    env: Annotated[str, about("id of a Gymnasium environment; without it, `scenario`")] = ""
    parameters: Annotated[dict[str, Any], about("parameters of the scenario or of the environment")] = {}
    metric: Annotated[str, about("figure of an evaluation that is the score; the task's headline if not given")] = ""
    better: Annotated[
        Literal["up", "down"] | None, about("direction of the score that is better; the metric's own if not given")
    ] = None
    threshold: Annotated[float | None, about("score that counts as learned")] = None
    range: Annotated[
        tuple[float, float],
        about("lowest and highest score, for figures over all tasks", kind="two numbers, [low, high]"),
    ] = (0.0, 1.0)
    budget: Annotated[Budget | None, about("budget of this task; the study's if not given")] = None
    settings: Annotated[dict[str, Any], about("settings of every variant here that sets no other")] = {}

    @property
    def sign(self) -> float:
        """1 where a higher score is better, -1 where a lower one is."""
        return -1.0 if self.better == "down" else 1.0

    @property
    def label(self) -> str:
        """The metric in words."""
        return self.metric.replace("_", " ")


class Variant(Struct, frozen=True, kw_only=True):
    """An algorithm and its settings. A column of the grid."""

    name: Annotated[Name, about("name of the variant, and of a folder")]
    algo: Annotated[Text, about("name of an algorithm")]
    settings: Settings = {}
    on: Annotated[
        dict[str, dict[str, Any]], about("settings on tasks whose names match a glob; the last one wins")
    ] = {}

    def settings_on(self, task: StudyTask) -> dict[str, Any]:
        """The settings on one task, those that all variants have there included."""
        settings = task.settings | self.settings
        for pattern, values in self.on.items():
            if fnmatchcase(task.name, pattern):
                settings |= values
        return settings


class Claim(Struct, frozen=True, kw_only=True):
    """That one variant does better than another in a measure."""

    name: Annotated[Name, about("short name")]
    text: Annotated[Text, about("the claim in words")]
    measure: Annotated[Text, about(f"{', '.join(MEASURES)} or {OF_UPDATES}NAME")]
    variant: Annotated[Text, about("the variant that is claimed to be better")]
    than: Annotated[Text, about("the variant that it is compared with")]
    better: Annotated[Literal["lower", "higher"], about("which values of the measure are better")]
    factor: Annotated[Positive | None, about("claimed ratio variant / than; just better if not given")] = None
    tasks: Annotated[
        list[str], Meta(min_length=1), about("globs of the tasks that the claim is about", kind="a list of texts")
    ] = msgspec.field(default_factory=lambda: ["*"])


class Choice(Struct, frozen=True, kw_only=True):
    """Values of a hyper-parameter that a search tries: those of a list, or numbers between two bounds."""

    choices: Annotated[list[Any], about("the values to try", kind="a list")] = []
    low: Annotated[int | float | None, about("least number to try")] = None
    high: Annotated[int | float | None, about("greatest number to try")] = None
    log: Annotated[bool, about("whether numbers are drawn on a logarithmic scale")] = False

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest number; whole numbers only if both are whole."""
        assert self.low is not None
        assert self.high is not None
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return (self.low, self.high) if whole else (float(self.low), float(self.high))

    @property
    def size(self) -> float:
        """How many values there are."""
        if self.choices:
            return len(self.choices)
        low, high = self.ends
        return high - low + 1 if isinstance(low, int) else math.inf

    def __contains__(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.ends[0] <= value <= self.ends[1]


class Tuning(Struct, frozen=True, kw_only=True):
    """A search for hyper-parameters, with the same number of trials for every variant on every task."""

    trials: Annotated[Seeds, about("trials for each variant on each task")] = 10
    seeds: Annotated[Seeds, about("seeds that the value of a trial is the mean of")] = 2
    objective: Annotated[Literal["area", "final"], about("mean score over the budget, or last score")] = "area"
    space: Annotated[dict[str, Choice], about("what is searched for every variant that has the setting")] = {}
    space_of: Annotated[dict[str, dict[str, Choice]], about("what is searched besides, by variant")] = {}
    first_seed: Annotated[
        CountOrZero, about("first seed of a trial, so that the study's own seeds are not used up in the search")
    ] = 1000


class StudyFile(Struct, frozen=True, kw_only=True):
    """All that a study file says."""

    title: Annotated[Text, about("one line")]
    question: Annotated[Text, about("what the study is to answer, a paragraph")]
    seeds: Annotated[Seeds, about("number of seeds")]
    first_seed: Annotated[
        CountOrZero, about("first of the seeds, so that settings are not compared on the seeds they were chosen on")
    ] = 0
    budget: Annotated[Budget, about("budget of every cell whose task has none")] = Budget()
    evaluation: Annotated[EvaluationPlan, about("when cells are evaluated")] = EvaluationPlan()
    tasks: Annotated[list[StudyTask], Meta(min_length=1), about("rows of the grid")]
    variants: Annotated[list[Variant], Meta(min_length=1), about("columns of the grid")]
    claims: Annotated[list[Claim], about("what is tested")] = []
    tune: Annotated[Tuning | None, about("search for hyper-parameters, for `rltrack tune`")] = None
    gradients: Annotated[GradientPlan | None, about("policy gradients that are measured along the runs")] = None


class Study(StudyFile, frozen=True, kw_only=True):
    """A study file that was read.

    Attributes:
        name: the file's, without suffix.
        text: the file as it was written.
    """

    name: str
    text: str

    @property
    def digest(self) -> str:
        """Of the file."""
        return digest(self.text)

    @property
    def all_seeds(self) -> range:
        """The seeds of every pair of a task and a variant."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def checkpoints(self) -> tuple[Share, ...]:
        """Shares of a cell's budget at which gradients are measured."""
        return tuple(self.gradients.checkpoints) if self.gradients else ()

    def budget_of(self, task: StudyTask) -> Budget:
        """The budget of a cell of that task."""
        return task.budget or self.budget

    def pairs(self, only: str | None = None) -> list[tuple[StudyTask, Variant]]:
        """The grid, row by row.

        Args:
            only: a glob on ``task/variant``; None for all of it.

        Raises:
            UsageError: it matches no pair.
        """
        every = {f"{task.name}/{variant.name}": (task, variant) for task in self.tasks for variant in self.variants}
        chosen = [pair for name, pair in every.items() if only is None or fnmatchcase(name, only)]
        if not chosen:
            raise unknown("task/variant", only or "", every)
        return chosen

    def tasks_of(self, claim: Claim) -> list[StudyTask]:
        """The tasks that a claim is about."""
        return [task for task in self.tasks if any(fnmatchcase(task.name, glob) for glob in claim.tasks)]


def digest(*parts: Any) -> str:
    """A short hash of plain values, dataclasses and structs."""
    text = json.dumps(parts, default=msgspec.to_builtins, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
