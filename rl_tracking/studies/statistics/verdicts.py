"""Verdicts: whether a claim holds on each task, and on all of its tasks together.

A claim holds where the whole 95 % interval lies on the claimed side of its bound, does not hold where all of it lies on
the other side, and is undecided in between.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from rl_tracking.studies.config.study import Claim, Study
from rl_tracking.studies.statistics import comparisons
from rl_tracking.studies.statistics.bootstrap import Interval, pair_interval
from rl_tracking.studies.statistics.comparisons import Comparison, Incomparable
from rl_tracking.studies.statistics.metrics import Array, Samples, probability_of_improvement
from rl_tracking.studies.statistics.records import Cells

Answer = Literal["holds", "does not hold", "undecided", "depends on the task"]

MIN_SEEDS = 5
"""Runs of each variant that a verdict needs: the bootstrap's interval of fewer is far too narrow."""


@dataclasses.dataclass(frozen=True)
class TaskVerdict:
    """A claim on one task.

    Attributes:
        task: its name.
        answer: the verdict.
        seeds: finished runs of the claim's variant and of the other.
        effect: ratio or difference of the two; None if they can't be compared.
        improvement: the probability that a run of the variant is better than one of the other.
        note: what has to be known about it; empty if nothing.
    """

    task: str
    answer: Answer
    seeds: tuple[int, int]
    effect: Interval | None = None
    improvement: Interval | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ClaimVerdict:
    """A claim over all of its tasks.

    Attributes:
        claim: what was claimed.
        answer: the verdict.
        tasks: the verdict on each task.
        effect: geometric mean of the tasks' ratios, or the difference of scores scaled by the tasks' ranges; None if no
            task has enough runs.
        improvement: the mean over tasks of the probability of improvement.
        against: what ``effect`` is held against: the claimed ratio, or a difference of 0.
        is_ratio: whether ``effect`` is a ratio; otherwise it is a difference.
    """

    claim: Claim
    answer: Answer
    tasks: tuple[TaskVerdict, ...]
    effect: Interval | None
    improvement: Interval | None
    against: float
    is_ratio: bool

    def on(self, answer: Answer) -> tuple[str, ...]:
        """The tasks with one answer."""
        return tuple(task.task for task in self.tasks if task.answer == answer)

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest finished runs on a task, of the claim's variant and of the other."""
        mine, theirs = (min((task.seeds[side] for task in self.tasks), default=0) for side in (0, 1))
        return mine, theirs


def judge(study: Study, cells: Cells, rng: np.random.Generator) -> tuple[ClaimVerdict, ...]:
    """The verdict on every claim of a study."""
    return tuple(judge_claim(claim, study, cells, rng) for claim in study.claims)


def judge_claim(claim: Claim, study: Study, cells: Cells, rng: np.random.Generator) -> ClaimVerdict:
    """The verdict on one claim."""
    compared = [
        comparisons.compare(claim, study, task, cells.of(task.name, claim.variant), cells.of(task.name, claim.than))
        for task in study.tasks_of(claim)
    ]
    tasks = tuple(
        _judge_task(
            claim, found, (len(cells.of(found.task, claim.variant)), len(cells.of(found.task, claim.than))), rng
        )
        for found in compared
    )
    enough = [found for found in compared if isinstance(found, Comparison) and _seeds(found) >= MIN_SEEDS]
    overall, improvement = None, None
    if enough:
        overall = pair_interval(*_columns([found.together for found in enough]), comparisons.effect(claim), rng)
        improvement = _improvement(claim, enough, rng)
    return ClaimVerdict(
        claim,
        over_tasks(tasks, _answer(claim, overall)),
        tasks,
        overall,
        improvement,
        comparisons.against(claim),
        comparisons.is_ratio(claim),
    )


def _judge_task(
    claim: Claim, found: Comparison | Incomparable, seeds: tuple[int, int], rng: np.random.Generator
) -> TaskVerdict:
    if isinstance(found, Incomparable):
        return TaskVerdict(found.task, "undecided", seeds, note=found.reason)
    effect = pair_interval(*_columns([found.pair]), comparisons.effect(claim), rng)
    improvement = _improvement(claim, [found], rng)
    if _seeds(found) < MIN_SEEDS:
        few = f"a verdict needs {MIN_SEEDS} runs of each"
        return TaskVerdict(
            found.task, "undecided", seeds, effect, improvement, "; ".join(filter(None, (found.note, few)))
        )
    return TaskVerdict(found.task, _answer(claim, effect), seeds, effect, improvement, found.note)


def _answer(claim: Claim, effect: Interval | None) -> Answer:
    if effect is None:
        return "undecided"
    bound = comparisons.against(claim)
    margin = 1e-9 * abs(bound)  # equal figures give the bound itself, but for rounding
    below, above = effect.high < bound - margin, effect.low > bound + margin
    if not (below or above):
        return "undecided"
    return "holds" if below == (claim.better == "lower") else "does not hold"


def over_tasks(tasks: tuple[TaskVerdict, ...], together: Answer) -> Answer:
    """The answer of all tasks together, unless a task has the opposite one."""
    answers = {task.answer for task in tasks} | {together}
    return "depends on the task" if {"holds", "does not hold"} <= answers else together


def _seeds(found: Comparison) -> int:
    return min(len(figures) for figures in found.pair)


def _improvement(claim: Claim, found: list[Comparison], rng: np.random.Generator) -> Interval:
    sign = -1.0 if claim.better == "lower" else 1.0
    columns = _columns([(sign * each.ranked[0], sign * each.ranked[1]) for each in found])
    return pair_interval(*columns, probability_of_improvement, rng)


def _columns(pairs: list[tuple[Array, Array]]) -> tuple[Samples, Samples]:
    return [first for first, _ in pairs], [second for _, second in pairs]
