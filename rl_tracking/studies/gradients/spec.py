"""A gradient study as one value: tasks, the run that is looked at, estimators, and the ratios that are claimed."""

from __future__ import annotations

import dataclasses
from typing import Any

REFERENCE = "reference"  # what every estimator is held against; none of them may have its name


@dataclasses.dataclass(frozen=True)
class Estimator:
    """An algorithm that is asked for the gradient of its policy loss.

    Attributes:
        name: short.
        algo: ``hybrid-grpo`` or ``grpo``; PPO's is the former with one sample a state.
        settings: as of ``rltrack train --set``; what the estimators share is taken from the training run.
        from_start: rollouts begin with episodes, as those of whole episodes must, and not anywhere within one.
        rollouts: of this one; None for the plan's.
    """

    name: str
    algo: str
    settings: dict[str, Any]
    from_start: bool = False
    rollouts: int | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured, and how thoroughly.

    Attributes:
        worlds: E of every rollout.
        steps: executed in each world of a rollout; a whole episode where rollouts begin with one.
        rollouts: independent ones of each estimator.
        reference_rollouts: of the reference, with ``worlds`` x 4 roots each.
        reference_horizon: steps.
        reference_samples: N of the reference.
    """

    worlds: int = 64
    steps: int = 16
    rollouts: int = 60
    reference_rollouts: int = 60
    reference_horizon: int = 256
    reference_samples: int = 8


@dataclasses.dataclass(frozen=True)
class Place:
    """A task: a scenario with parameters, a name that is also a folder's, and settings of the training run there."""

    name: str
    scenario: str
    parameters: dict[str, Any]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Training:
    """The run at whose checkpoints gradients are measured; as ``rltrack train``."""

    algo: str
    steps: int
    seed: int
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The claim that the noise of one estimator is so many times that of another.

    Attributes:
        name: short.
        text: the claim in words.
        of: the noisier one.
        to: the other.
        at_least: noise of ``of`` / noise of ``to``.
        per: steps that both are given equally many of, ``macro_steps`` or ``simulator_steps``.
    """

    name: str
    text: str
    of: str
    to: str
    at_least: float
    per: str


@dataclasses.dataclass(frozen=True)
class GradientStudy:
    """A file of a gradient study, read and checked.

    Attributes:
        name: the file's, without suffix.
        title: one line.
        question: a paragraph.
        plan: how thoroughly.
        checkpoints: shares of the training run, rising, in [0, 1].
        training: the run.
        tasks: where.
        estimators: whose gradients.
        ratios: what is claimed of them.
        text: the file as it was written.
    """

    name: str
    title: str
    question: str
    plan: Plan
    checkpoints: tuple[float, ...]
    training: Training
    tasks: tuple[Place, ...]
    estimators: tuple[Estimator, ...]
    ratios: tuple[Ratio, ...]
    text: str

    def rollouts_of(self, estimator: Estimator) -> int:
        """How many rollouts an estimator makes."""
        return estimator.rollouts or self.plan.rollouts
