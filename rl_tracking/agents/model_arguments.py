"""Arguments that the constructors of all algorithms share, and the kinds of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from rl_tracking.schema import Count, CountOrZero, NonNegative, about

NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
LinearText = Annotated[str, Meta(pattern=f"^linear:{NUMBER}(:{NUMBER})?$")]
Scheduled = NonNegative | LinearText | Callable[[float], float]
SCHEDULED = "a number of 0 or more, 'linear:START' or 'linear:START:END'"
LearningRate = Annotated[
    Scheduled,
    about("step size of the optimiser; linear:START:END changes it linearly during the training", kind=SCHEDULED),
]


class ModelArguments(TypedDict, total=False):
    """Of every model of Stable-Baselines3: how it is built, shown and seeded. No settings of a run."""

    recipe: Annotated[
        str | None,
        about("recipe for the arguments that are not given, such as paper; by default that of the task", default=None),
    ]
    stats_window_size: Annotated[Count, about("episodes that the logged means cover")]
    tensorboard_log: Annotated[str | Path | None, about("folder of the TensorBoard log")]
    policy_kwargs: Annotated[Any, about("arguments of the policy's constructor")]
    verbose: Annotated[int | bool, about("1 prints the log, 2 more", kind="a whole number")]
    seed: Annotated[CountOrZero | None, about("of networks, sampling and worlds")]
    device: Annotated[Any, about("where the networks live: cpu, cuda or auto")]
    _init_setup_model: Annotated[bool, about("whether to build the networks; False while a checkpoint is loaded")]


class NetworkArguments(TypedDict, total=False):
    """Of every policy network, for the settings of a run."""

    activation_fn: Annotated[
        Literal["Tanh", "ReLU", "ELU", "SiLU", "GELU", "LeakyReLU"], about("activation function of the layers")
    ]
    features_extractor: Annotated[
        str, about("network in front of the layers: mha attends to the history of a pursuit world", kind="a name")
    ]
    features_extractor_kwargs: Annotated[
        dict[str, Any],
        about("arguments of that network, such as {width = 32, heads = 4}", kind="a table such as {width = 32}"),
    ]
