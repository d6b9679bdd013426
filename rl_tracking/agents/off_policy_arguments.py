"""Arguments of the off-policy algorithms of Stable-Baselines3 and sb3-contrib, and of their policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from rl_tracking.agents.model_arguments import NUMBER, LearningRate, ModelArguments, NetworkArguments
from rl_tracking.schema import Count, CountOrZero, Positive, Share, about


class ReplayBufferArguments(TypedDict, total=False):
    """Of the replay buffer and of noise on actions, objects that a script makes. No settings of a run."""

    action_noise: Annotated[Any, about("as in Stable-Baselines3")]
    replay_buffer_class: Annotated[Any, about("as in Stable-Baselines3")]
    replay_buffer_kwargs: Annotated[Any, about("as in Stable-Baselines3")]
    optimize_memory_usage: Annotated[bool, about("as in Stable-Baselines3")]


class OffPolicyArguments(ModelArguments, ReplayBufferArguments, total=False):
    """Of algorithms that learn from a replay buffer."""

    learning_rate: LearningRate
    buffer_size: Annotated[Count, about("transitions that the replay buffer keeps, of all worlds together")]
    learning_starts: Annotated[CountOrZero, about("macro-steps with random actions before the first update")]
    batch_size: Annotated[Count, about("transitions of a minibatch")]
    gamma: Annotated[Share, about("discount of a step")]
    train_freq: Annotated[Count, about("macro-steps of each world between updates")]
    gradient_steps: Annotated[
        int,
        Meta(ge=-1),
        about(
            "minibatches of an update; -1 for as many as transitions were collected since the one before",
            kind="a whole number of 0 or more, or -1",
        ),
    ]
    n_steps: Annotated[Count, about("rewards in a target of the critic; 1 is the one-step target")]
    ent_coef: Annotated[
        float | Annotated[str, Meta(pattern=f"^auto(_{NUMBER})?$")],
        about(
            "weight of the entropy; auto adapts it to reach target_entropy, auto_0.1 starts at 0.1",
            kind="a number, 'auto' or 'auto_0.1'",
        ),
    ]
    target_entropy: Annotated[
        float | Literal["auto"],
        about(
            "entropy of the policy that an adaptive ent_coef aims at; auto is minus the dimension of the actions",
            unit="nat",
        ),
    ]
    use_sde: Annotated[bool, about("explore with noise that depends on the state (gSDE)")]
    sde_sample_freq: Annotated[int, about("steps after which gSDE draws new noise; -1 draws it once in a rollout")]
    use_sde_at_warmup: Annotated[bool, about("use gSDE in place of random actions before the first update")]


class TargetNetworkArguments(TypedDict, total=False):
    """Of algorithms with target networks."""

    tau: Annotated[Share, about("share by which target networks move towards the critic in an update")]
    target_update_interval: Annotated[Count, about("minibatches between updates of the target networks")]


class SACArguments(OffPolicyArguments, TargetNetworkArguments, total=False):
    """Of Stable-Baselines3's SAC."""


class TQCArguments(OffPolicyArguments, TargetNetworkArguments, total=False):
    """Of sb3-contrib's TQC."""

    top_quantiles_to_drop_per_net: Annotated[
        CountOrZero, about("highest quantiles of each critic that a target leaves out")
    ]


class CrossQArguments(OffPolicyArguments, total=False):
    """Of sb3-contrib's CrossQ."""

    policy_delay: Annotated[Count, about("minibatches of the critic for one of the policy")]


# -- policies ---------------------------------------------------------------------------------------------------------


class OffPolicyNetworkArguments(NetworkArguments, total=False):
    """Of the networks of an off-policy algorithm, for the settings of a run."""

    net_arch: Annotated[
        list[Count] | dict[Literal["pi", "qf"], list[Count]],
        about(
            "widths of the hidden layers, of all networks or of policy and critics",
            kind="a list of widths such as [64, 64], or {pi = [64], qf = [64]}",
        ),
    ]
    n_critics: Annotated[Count, about("critics, of which a target takes the least or, in TQC, the lower quantiles")]
    log_std_init: Annotated[float, about("initial logarithm of the standard deviation of gSDE's noise")]


class TQCNetworkArguments(OffPolicyNetworkArguments, total=False):
    """Of TQC's networks."""

    n_quantiles: Annotated[Count, about("quantiles of the return that each critic learns")]


class CrossQNetworkArguments(OffPolicyNetworkArguments, total=False):
    """Of CrossQ's networks."""

    batch_norm_momentum: Annotated[
        Positive, Meta(le=1), about("share by which the running moments of batch renormalisation move in an update")
    ]
    renorm_warmup_steps: Annotated[
        CountOrZero, about("updates in which a batch is normalised by its own moments alone")
    ]
