"""The table ``[gradients]`` of a study file: estimators whose policy gradients are measured along the runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from rl_tracking.schema import Count, Positive, Share, about
from rl_tracking.studies.config.names import Name, Text

REFERENCE = "reference"  # what every estimator is compared with; none may have its name
AtLeastTwo = Annotated[int, Meta(ge=2)]  # a spread needs two


class Estimator(Struct, frozen=True, kw_only=True):
    """An algorithm whose gradient of the policy's loss is measured."""

    name: Annotated[Name, about("short name")]
    algo: Annotated[Text, about("an algorithm of groups: hybrid-grpo or grpo; PPO's is the former with one sample")]
    settings: Annotated[dict[str, Any], about("settings that differ from those of the training run")] = {}
    from_start: Annotated[
        bool, about("rollouts begin with episodes, as those of whole episodes must, and not anywhere within one")
    ] = False
    rollouts: Annotated[AtLeastTwo | None, about("rollouts of this estimator; the table's if not given")] = None


class Ratio(Struct, frozen=True, kw_only=True):
    """The claim that the noise of one estimator is so many times that of another."""

    name: Annotated[Name, about("short name")]
    text: Annotated[Text, about("the claim in words")]
    of: Annotated[Text, about("the noisier estimator")]
    to: Annotated[Text, about("the estimator that it is compared with")]
    at_least: Annotated[Positive, about("claimed noise of the first / noise of the second")]
    per: Annotated[Literal["macro_steps", "simulator_steps"], about("steps that both have equally many of")]


class GradientPlan(Struct, frozen=True, kw_only=True):
    """What is measured at checkpoints of every training run, and how thoroughly."""

    checkpoints: Annotated[
        list[Share],
        Meta(min_length=1),
        about("rising shares of the budget", kind="a list of shares of the run, 0 to 1"),
    ]
    estimators: Annotated[list[Estimator], Meta(min_length=1), about("whose gradients are measured")]
    ratios: Annotated[list[Ratio], about("what is claimed of their noise")] = []
    worlds: Annotated[Count, about("worlds of a rollout")] = 64
    steps: Annotated[
        Count, about("steps executed in each world of a rollout; a whole episode where rollouts begin with one")
    ] = 16
    rollouts: Annotated[AtLeastTwo, about("independent rollouts of each estimator")] = 60
    reference_rollouts: Annotated[AtLeastTwo, about("rollouts of the reference, of 4 x worlds roots each")] = 60
    reference_horizon: Annotated[Count, about("length of the reference's branches", unit="steps")] = 256
    reference_samples: Annotated[AtLeastTwo, about("branches of the reference from each root")] = 8

    def rollouts_of(self, estimator: Estimator) -> int:
        """How many rollouts an estimator makes."""
        return estimator.rollouts or self.rollouts
