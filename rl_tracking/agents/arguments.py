"""Every argument of the algorithms' constructors: its kind, its bounds and what it does, declared once.

The constructors take these by ``Unpack``, so that type checkers know them; :mod:`rl_tracking.agents.constructor` checks
them and puts them into signatures and docstrings; ``rltrack list settings`` and ``docs/settings.md`` list them. What is
not given comes from the recipe of the task (:mod:`rl_tracking.agents.recipes`), then from ``default`` here, then from
Stable-Baselines3. Nothing here imports torch, so a misspelt setting is answered at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from rl_tracking import plugins, schema
from rl_tracking.agents import off_policy_arguments as off_policy
from rl_tracking.agents.model_arguments import (
    NUMBER,
    SCHEDULED,
    LearningRate,
    ModelArguments,
    NetworkArguments,
    Scheduled,
)
from rl_tracking.schema import Count, CountOrZero, Field, NonNegative, Positive, Share, about

Activation = str | Callable[..., Any]
Groups = Annotated[int, Meta(ge=2)]
_ACTIVATION = (
    "f in f(R): a name (`rltrack list activations`), file.py:function, package.module:function or a function of the "
    "rewards"
)


class RolloutBufferArguments(TypedDict, total=False):
    """Of the models of Stable-Baselines3 whose rollout buffer can be chosen. No settings of a run."""

    rollout_buffer_class: Annotated[Any, about("as in Stable-Baselines3")]
    rollout_buffer_kwargs: Annotated[Any, about("as in Stable-Baselines3")]


class OnPolicyArguments(ModelArguments, total=False):
    """Of every algorithm that learns from rollouts of its present policy."""

    learning_rate: LearningRate
    n_steps: Annotated[Count, about("macro-steps of each world in a rollout")]
    gamma: Annotated[Share, about("discount of a step")]
    use_sde: Annotated[bool, about("explore with noise that depends on the state (gSDE)")]
    sde_sample_freq: Annotated[int, about("steps after which gSDE draws new noise; -1 draws it once in a rollout")]


class CriticArguments(TypedDict, total=False):
    """Of algorithms that learn a value function beside the policy."""

    gae_lambda: Annotated[Share, about("decay of later residuals in an advantage; 0 is the one-step advantage")]
    vf_coef: Annotated[NonNegative, about("weight of the value loss")]


class ClippedArguments(OnPolicyArguments, RolloutBufferArguments, total=False):
    """Of algorithms that update by PPO's clipped surrogate."""

    batch_size: Annotated[Count, about("samples of a minibatch")]
    n_epochs: Annotated[Count, about("passes over a rollout in an update")]
    clip_range: Annotated[
        Scheduled, about("how far the probability ratio of an action may move in an update", kind=SCHEDULED)
    ]
    max_grad_norm: Annotated[
        NonNegative, about("largest norm of the gradient; a larger one is clipped to it", finite=False)
    ]
    target_kl: Annotated[
        NonNegative | None, about("ends an update when its KL divergence exceeds 1.5 times this", default=None)
    ]


class EntropyArguments(TypedDict, total=False):
    """Of algorithms that weigh the entropy by a fixed number."""

    ent_coef: Annotated[float, about("weight of the entropy in the loss", default=0.0)]


class TemperatureArguments(TypedDict, total=False):
    """Adaptive temperature (eq. 15)."""

    ent_coef: Annotated[
        float | Annotated[str, Meta(pattern=f"^auto(_{NUMBER})?$")],
        about(
            "weight of the entropy in the loss; auto adapts it to reach target_entropy, auto_0.1 starts at 0.1",
            kind="a number, 'auto' or 'auto_0.1'",
            default=0.0,
        ),
    ]
    target_entropy: Annotated[
        float | Literal["auto"],
        about("entropy of the policy that an adaptive ent_coef aims at", unit="nat", default="auto"),
    ]
    temperature_learning_rate: Annotated[
        Positive, about("step size for the logarithm of an adaptive ent_coef", default=1e-2)
    ]


class RewardWindowArguments(TypedDict, total=False):
    """Rolling reward window (eq. 17)."""

    reward_window: Annotated[
        CountOrZero,
        about(
            "number of latest steps of all worlds and branches by whose moments rewards are normalised, before "
            "reward_scale and reward_activation; 0 leaves them as they are",
            default=0,
        ),
    ]


class GuidedSamplingArguments(TypedDict, total=False):
    """Guided sampling (eq. 18)."""

    n_candidates: Annotated[
        CountOrZero,
        about(
            "M, actions drawn from the policy, of which n_samples are tried, those with a higher learned Q more often; "
            "0 is off",
            default=0,
        ),
    ]
    guidance_beta: Annotated[
        Positive, about("temperature of guided sampling: small values follow Q closely", default=1.0)
    ]


class CriticTrustArguments(TypedDict, total=False):
    """How far advantages depend on the critic."""

    critic_trust: Annotated[
        Literal["full", "explained", "calibrated", "none"],
        about(
            "full uses V as it is; calibrated scales its differences by the slope of returns on them within groups, "
            "explained by the share of the returns that it explains; none has no critic and no value loss",
            default="full",
        ),
    ]
    critic_epochs: Annotated[
        CountOrZero,
        about(
            "passes over a rollout by the value network alone, before those that it shares with the policy; a features "
            "extractor that both share is left as it is",
            default=0,
        ),
    ]


class GradientArguments(TypedDict, total=False):
    """Which gradient moves the policy."""

    gradient: Annotated[
        Literal["score", "pathwise", "mixed"],
        about(
            "score is PPO's, of log-probabilities; pathwise differentiates the return of a branch through the world, "
            "closed with V (SHAC); mixed weighs both by their variances within the groups. The last two need an "
            "environment that can be differentiated",
            default="score",
        ),
    ]


class BranchArguments(TypedDict, total=False):
    """Of algorithms that try several actions from a saved state."""

    reward_scale: Annotated[float, about("multiplies rewards before reward_activation", default=1.0)]
    branch_noise: Annotated[
        Literal["common", "independent"],
        about("whether all branches of a state have the same random numbers", default="common"),
    ]


class PPOArguments(ClippedArguments, CriticArguments, EntropyArguments, total=False):
    """Of Stable-Baselines3's PPO."""

    clip_range_vf: Annotated[
        Scheduled | None, about("how far a value may move in an update; none if left out", kind=SCHEDULED)
    ]
    normalize_advantage: Annotated[bool, about("centre and scale the advantages of each minibatch")]


class TRPOArguments(OnPolicyArguments, RolloutBufferArguments, total=False):
    """Of sb3-contrib's TRPO."""

    batch_size: Annotated[Count, about("samples of a minibatch of the critic")]
    gae_lambda: Annotated[Share, about("decay of later residuals in an advantage; 0 is the one-step advantage")]
    normalize_advantage: Annotated[bool, about("centre and scale the advantages of a rollout")]
    target_kl: Annotated[NonNegative, about("largest divergence of an update")]
    cg_max_steps: Annotated[Count, about("steps of the conjugate gradient solver")]
    cg_damping: Annotated[NonNegative, about("added to the diagonal of the Fisher matrix")]
    line_search_shrinking_factor: Annotated[Share, about("by which the line search shortens a refused step")]
    line_search_max_iter: Annotated[Count, about("largest number of tries of the line search")]
    n_critic_updates: Annotated[Count, about("passes over a rollout by the critic")]
    sub_sampling_factor: Annotated[Count, about("n, to use every n-th sample of a rollout for the policy")]


class REINFORCEArguments(OnPolicyArguments, EntropyArguments, total=False):
    """Of REINFORCE."""

    max_grad_norm: Annotated[
        NonNegative, about("largest norm of the gradient; a larger one is clipped to it", finite=False)
    ]
    normalize_advantage: Annotated[bool, about("centre and scale the returns of a rollout", default=True)]
    use_rms_prop: Annotated[bool, about("use RMSprop in place of Adam", default=False)]
    rms_prop_eps: Annotated[Positive, about("added to RMSprop's divisor")]


class GRPOArguments(ClippedArguments, EntropyArguments, BranchArguments, total=False):
    """Of GRPO."""

    n_samples: Annotated[Groups, about("G, branches from each root; branch 0 is executed", default=8)]
    horizon: Annotated[
        CountOrZero,
        about("steps of a branch; 1 is the paper's DeepSeek GRPO (eqs. 5-9), 0 runs whole episodes", default=16),
    ]
    supervision: Annotated[
        Literal["outcome", "reward-to-go"],
        about(
            "weigh each step of a branch by the branch's whole return, or by the return from that step on",
            default="reward-to-go",
        ),
    ]
    baseline: Annotated[
        Literal["group-mean", "leave-one-out"], about("what is subtracted within a group", default="group-mean")
    ]
    scale_by_std: Annotated[bool, about("divide by the group's standard deviation", default=True)]
    kl_coef: Annotated[
        NonNegative, about("weight of the KL divergence from the reference policy; 0 leaves it out", default=0.0)
    ]
    kl_estimator: Annotated[Literal["k1", "k2", "k3"], about("estimator of that divergence", default="k3")]
    reference_interval: Annotated[
        CountOrZero,
        about(
            "rollouts after which the reference becomes the present policy; 0 keeps the first one",
            default=10,
        ),
    ]
    reuse: Annotated[
        CountOrZero,
        about("earlier rollouts that are trained on again, with importance ratios", default=0),
    ]
    reward_activation: Annotated[Activation, about(_ACTIVATION, kind="a name or a function", default="identity")]
    normalize_advantage: Annotated[
        bool, about("centre and scale the advantages of each minibatch a second time", default=False)
    ]


class SHACArguments(OnPolicyArguments, total=False):
    """Of SHAC."""

    n_steps: Annotated[Count, about("horizon: macro-steps of each world that are differentiated together", default=32)]
    batch_size: Annotated[Count, about("samples of a minibatch of the critic")]
    gae_lambda: Annotated[Share, about("lambda of the critic's TD(lambda) targets", default=0.95)]
    max_grad_norm: Annotated[
        NonNegative, about("largest norm of the gradient; a larger one is clipped to it", default=1.0, finite=False)
    ]
    n_critic_updates: Annotated[Count, about("passes over a rollout by the critic", default=16)]
    tau: Annotated[
        Share,
        about("how far the target critic moves towards the critic after a rollout (Polyak averaging)", default=0.8),
    ]
    reward_scale: Annotated[float, about("multiplies rewards before reward_activation", default=1.0)]
    reward_activation: Annotated[Activation, about(_ACTIVATION, kind="a name or a function", default="identity")]


class HybridGRPOArguments(
    ClippedArguments,
    CriticArguments,
    TemperatureArguments,
    RewardWindowArguments,
    GuidedSamplingArguments,
    CriticTrustArguments,
    GradientArguments,
    BranchArguments,
    total=False,
):
    """Of Hybrid GRPO."""

    n_samples: Annotated[Count, about("N, actions tried from each state; branch 0 is executed", default=8)]
    horizon: Annotated[
        Count,
        about(
            "steps of a branch under the policy (eq. 16); above 1 every step of every branch is a sample, "
            "and gae_lambda is not used",
            default=1,
        ),
    ]
    advantage: Annotated[
        Literal["per-sample", "literal"],
        about("each sample has its own residual, or all share their mean (eq. 13)", default="per-sample"),
    ]
    baseline: Annotated[
        Literal["none", "group-mean", "leave-one-out"],
        about("what is subtracted from per-sample advantages within a group", default="none"),
    ]
    reward_activation: Annotated[Activation, about(_ACTIVATION, kind="a name or a function", default="tanh")]
    clip_range_vf: Annotated[
        Scheduled | None, about("how far a value may move in an update; none if left out", kind=SCHEDULED)
    ]
    normalize_advantage: Annotated[bool, about("centre and scale the advantages of each minibatch")]


class PolicyArguments(NetworkArguments, total=False):
    """Of the policy network, for the settings of a run; a constructor takes them in ``policy_kwargs``."""

    net_arch: Annotated[
        list[Count] | dict[Literal["pi", "vf"], list[Count]],
        about(
            "widths of the hidden layers, of both networks or of each",
            kind="a list of widths such as [64, 64], or {pi = [64], vf = [64]}",
        ),
    ]
    log_std_init: Annotated[float, about("initial logarithm of the standard deviation of actions")]
    ortho_init: Annotated[bool, about("initialise weights orthogonally")]


NO_SETTINGS = (
    *schema.fields(ModelArguments),
    *schema.fields(RolloutBufferArguments),
    *schema.fields(off_policy.ReplayBufferArguments),
)
OF_A_CRITIC = (*schema.fields(CriticArguments), "clip_range_vf")
# By the names of the command line; of each the class that it means.
ALGORITHMS: dict[str, tuple[str, type]] = {
    "hybrid-grpo": ("HybridGRPO", HybridGRPOArguments),
    "grpo": ("GRPO", GRPOArguments),
    "ppo": ("PPO", PPOArguments),
    "shac": ("SHAC", SHACArguments),
    "reinforce": ("REINFORCE", REINFORCEArguments),
    "trpo": ("TRPO", TRPOArguments),
    "sac": ("SAC", off_policy.SACArguments),
    "tqc": ("TQC", off_policy.TQCArguments),
    "crossq": ("CrossQ", off_policy.CrossQArguments),
}
# Where the policy network takes other arguments than those of the others.
_NETWORKS: dict[str, type] = {
    "sac": off_policy.OffPolicyNetworkArguments,
    "tqc": off_policy.TQCNetworkArguments,
    "crossq": off_policy.CrossQNetworkArguments,
}
_BASES = ("OnPolicyAlgorithm", "OffPolicyAlgorithm")  # of Stable-Baselines3, which take nothing that others do not


def settable(algo: str) -> dict[str, Field]:
    """The arguments of an algorithm that a run can set, those of its policy among them.

    An algorithm of a plugin that is derived from one of these takes that one's; what else its constructor takes is
    listed without bounds and documentation.

    Raises:
        UsageError: an unknown algorithm.
    """
    is_own = algo in ALGORITHMS
    found = schema.fields(ALGORITHMS[algo][1]) if is_own else _of_class(plugins.resolve("algo", algo))
    elsewhere = {*NO_SETTINGS, "self", "args", "kwargs", "policy", "env", "positional"}
    return {
        **{name: field for name, field in found.items() if name not in elsewhere},
        **schema.fields(network_of(algo)),
    }


def network_of(algo: str) -> type:
    """The declaration of the arguments of an algorithm's policy network.

    Raises:
        UsageError: an unknown algorithm.
    """
    names = [algo] if algo in ALGORITHMS else algos_of(plugins.resolve("algo", algo))
    return next((_NETWORKS[name] for name in names if name in _NETWORKS), PolicyArguments)


def is_off_policy(algo: str) -> bool:
    """Whether an algorithm learns from a replay buffer.

    Raises:
        UsageError: an unknown algorithm.
    """
    return "buffer_size" in settable(algo)


def algos_of(algorithm: type) -> list[str]:
    """The names of an algorithm of this package and of those that it is derived from, nearest first."""
    names = {class_name: algo for algo, (class_name, _) in ALGORITHMS.items()}
    return [names[cls.__name__] for cls in algorithm.__mro__ if cls.__name__ in names]


def _of_class(algorithm: type) -> dict[str, Field]:
    declared = getattr(algorithm, "declared", None) or next((ALGORITHMS[algo][1] for algo in algos_of(algorithm)), None)
    found = dict(schema.fields(declared)) if declared is not None else {}
    for cls in algorithm.__mro__:
        if cls.__name__ in _BASES or cls.__dict__.get("declared") is declared is not None:
            break
        if "__init__" in vars(cls):
            for name, parameter in inspect.signature(vars(cls)["__init__"]).parameters.items():
                default = schema.REQUIRED if parameter.default is parameter.empty else parameter.default
                found.setdefault(name, Field(name, (Any,), default))
    return found
