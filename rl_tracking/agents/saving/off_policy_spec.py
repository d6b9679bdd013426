"""Policies of SAC, TQC and CrossQ as plain JSON: a policy network and critics, of classes that are known here."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from msgspec import Meta, Struct
from sb3_contrib.crossq import policies as crossq
from sb3_contrib.tqc import policies as tqc
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.sac import policies as sac

from rl_tracking.agents.saving.checkpoint_schema import Layers, PolicyBasis, Size

# Three of these are called CnnPolicy, so checkpoints have names of their own.
POLICIES: dict[str, type[BasePolicy]] = {
    "SACPolicy": sac.SACPolicy,
    "SACCnnPolicy": sac.CnnPolicy,
    "SACMultiInputPolicy": sac.MultiInputPolicy,
    "TQCPolicy": tqc.TQCPolicy,
    "TQCCnnPolicy": tqc.CnnPolicy,
    "TQCMultiInputPolicy": tqc.MultiInputPolicy,
    "CrossQPolicy": crossq.CrossQPolicy,
}
_SHARED = ("net_arch", "use_sde", "log_std_init", "use_expln", "clip_mean", "n_critics")
_QUANTILES = ("n_quantiles",)
_BATCH_NORM = ("batch_norm", "batch_norm_momentum", "batch_norm_eps", "renorm_warmup_steps")

_NotNegative = Annotated[float, Meta(ge=0)]


class ActorAndCritics(Struct, forbid_unknown_fields=True):
    """Layers of the policy and of each critic."""

    pi: Layers = []
    qf: Layers = []


class OffPolicyPolicy(PolicyBasis, kw_only=True):
    """Everything that builds such a policy but its weights; what its class does not take is None."""

    net_arch: Layers | ActorAndCritics
    use_sde: bool
    log_std_init: float
    use_expln: bool
    clip_mean: float
    n_critics: Annotated[int, Meta(ge=1, le=64)]
    n_quantiles: Size | None = None
    batch_norm: bool | None = None
    batch_norm_momentum: Annotated[float, Meta(ge=0, le=1)] | None = None
    batch_norm_eps: _NotNegative | None = None
    renorm_warmup_steps: Annotated[int, Meta(ge=0, le=2**62)] | None = None

    @property
    def layers(self) -> ActorAndCritics:
        """Of the policy and of each critic."""
        return ActorAndCritics(self.net_arch, self.net_arch) if isinstance(self.net_arch, list) else self.net_arch


def describe(policy: BasePolicy) -> dict[str, Any]:
    """What only these policies have, for :class:`OffPolicyPolicy`."""
    data = policy._get_constructor_parameters()
    return {name: data[name] for name in (*_SHARED, *_QUANTILES, *_BATCH_NORM) if name in data}


def arguments(spec: OffPolicyPolicy) -> dict[str, Any]:
    """Of the constructor, without those that all policies take."""
    found = {name: getattr(spec, name) for name in (*_SHARED, *_QUANTILES, *_BATCH_NORM)}
    layers = {"pi": spec.layers.pi, "qf": spec.layers.qf}
    return {name: value for name, value in found.items() if value is not None} | {"net_arch": layers}


def count_weights(spec: OffPolicyPolicy, features: int, actions: int, within: int) -> int:
    """The elements of its weight matrices; biases and what is small beside them are left out.

    Args:
        spec: of the policy.
        features: numbers that come out of its features extractor.
        actions: numbers of an action.
        within: elements of the weights of the features extractor.
    """
    targets = spec.policy_class != "CrossQPolicy"  # it has no second set of critics
    policy = _chain([features, *spec.layers.pi, actions])
    critic = _chain([features + actions, *spec.layers.qf, spec.n_quantiles or 1])
    return within + policy + critic * spec.n_critics * (1 + targets)


def _chain(widths: list[int]) -> int:
    return sum(a * b for a, b in pairwise(widths))
