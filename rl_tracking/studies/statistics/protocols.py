"""What the statistics read of a study: attributes, whoever holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

UNITS = ("macro_steps", "simulator_steps", "seconds")
"""What a run's length is counted in: decisions, steps of the simulator in all branches, seconds of training."""


class BudgetLike(Protocol):
    """How long every run trains."""

    @property
    def unit(self) -> str:
        """One of :data:`UNITS`."""

    @property
    def amount(self) -> float:
        """How many of them."""


class EvaluationLike(Protocol):
    """When and how a run is evaluated."""

    @property
    def points(self) -> int:
        """Evaluations along the budget, the one before training not counted."""

    @property
    def episodes(self) -> int:
        """Episodes of one evaluation."""


class TaskLike(Protocol):
    """What is learned."""

    @property
    def name(self) -> str:
        """Its name, which is a folder's too."""

    @property
    def metric(self) -> str:
        """The figure of an evaluation that is the score; higher is better."""

    @property
    def threshold(self) -> float | None:
        """The score that counts as learned."""

    @property
    def range(self) -> Sequence[float]:
        """The scores ``(low, high)`` that become 0 and 1 where tasks are taken together."""

    @property
    def budget(self) -> BudgetLike | None:
        """Its own budget; the study's if None."""


class VariantLike(Protocol):
    """Who learns."""

    @property
    def name(self) -> str:
        """Its name, which is a folder's too."""

    @property
    def algo(self) -> str:
        """The algorithm."""


class ClaimLike(Protocol):
    """What a study is to show: ``variant`` is better than ``than`` in ``measure``."""

    @property
    def name(self) -> str:
        """A short name."""

    @property
    def text(self) -> str:
        """The claim in words."""

    @property
    def measure(self) -> str:
        """A measure, see :mod:`rl_tracking.studies.statistics.comparisons`."""

    @property
    def variant(self) -> str:
        """The variant that is claimed to be better."""

    @property
    def than(self) -> str:
        """The variant it is compared with."""

    @property
    def better(self) -> str:
        """``lower`` or ``higher``."""

    @property
    def factor(self) -> float | None:
        """The claimed ratio of ``variant`` to ``than``; None if it only has to be better."""

    @property
    def tasks(self) -> Sequence[str] | None:
        """Patterns of names; all tasks if there are none."""


class StudyLike(Protocol):
    """A study as its file says it."""

    @property
    def title(self) -> str:
        """One line."""

    @property
    def question(self) -> str:
        """A paragraph."""

    @property
    def seeds(self) -> int:
        """Runs of each variant on each task, seeds 0, 1, 2, ..."""

    @property
    def budget(self) -> BudgetLike:
        """Of a task that has none of its own."""

    @property
    def evaluation(self) -> EvaluationLike:
        """When and how runs are evaluated."""

    @property
    def tasks(self) -> Sequence[TaskLike]:
        """What is learned."""

    @property
    def variants(self) -> Sequence[VariantLike]:
        """Who learns."""

    @property
    def claims(self) -> Sequence[ClaimLike]:
        """What is claimed."""

    @property
    def digest(self) -> str:
        """A hash of the file."""


def budget_of(study: StudyLike, task: TaskLike) -> BudgetLike:
    """The budget of a task's runs."""
    return task.budget or study.budget
