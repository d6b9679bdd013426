"""A policy network as plain JSON and back: the classes are looked up among known ones, never imported by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import torch_layers
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)

from rl_tracking.agents.actions import check_action_space
from rl_tracking.agents.extractors import EXTRACTORS
from rl_tracking.errors import UsageError

_POLICIES = {kind.__name__: kind for kind in (ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy)}
_EXTRACTORS: dict[str, type[torch_layers.BaseFeaturesExtractor]] = {
    kind.__name__: kind
    for kind in (
        torch_layers.FlattenExtractor,
        torch_layers.NatureCNN,
        torch_layers.CombinedExtractor,
        *EXTRACTORS.values(),
    )
}
_PLAIN = "net_arch use_sde log_std_init squash_output full_std use_expln ortho_init".split()


def describe(policy: BasePolicy) -> dict[str, Any]:
    """Everything :func:`build` needs; ``{"unknown": why}`` for a policy that only its own code can build."""
    if type(policy) is not _POLICIES.get(type(policy).__name__):
        return {"unknown": f"the policy class {type(policy).__name__}"}
    assert isinstance(policy, ActorCriticPolicy)
    data = policy._get_constructor_parameters()
    extractor, activation = data["features_extractor_class"].__name__, data["activation_fn"].__name__
    if data["features_extractor_class"] is not _EXTRACTORS.get(extractor):
        return {"unknown": f"the features extractor {extractor}"}
    for name, value in data["features_extractor_kwargs"].items():
        if not _is_plain(value):
            return {"unknown": f"the argument {name} of the features extractor {extractor}"}
    if data["activation_fn"] is not getattr(torch.nn, activation, None):
        return {"unknown": f"the activation function {activation}"}
    return {
        "class": type(policy).__name__,
        "observation_space": describe_space(policy.observation_space),
        "action_space": describe_space(policy.action_space),
        "activation_fn": activation,
        "features_extractor": extractor,
        "features_extractor_kwargs": data["features_extractor_kwargs"],
        "share_features_extractor": policy.share_features_extractor,
        "normalize_images": policy.normalize_images,
        **{name: data[name] for name in _PLAIN},
    }


def build(description: dict[str, Any], where: str) -> ActorCriticPolicy:
    """An untrained policy of that description.

    Raises:
        UsageError: it names something that is not known here.
    """
    if "unknown" in description:
        raise UsageError(
            f"checkpoint '{where}' uses {description['unknown']}, which a safe reader cannot build; load it with "
            "its algorithm's own load()"
        )
    try:
        policy_class = _POLICIES[description["class"]]
        activation = getattr(torch.nn, description["activation_fn"])
        if not (isinstance(activation, type) and issubclass(activation, torch.nn.Module)):
            raise KeyError(description["activation_fn"])
        action_space = build_space(description["action_space"])
        check_action_space(action_space)
        return policy_class(
            build_space(description["observation_space"]),  # type: ignore[arg-type]
            action_space,
            _no_learning,
            activation_fn=activation,
            features_extractor_class=_EXTRACTORS[description["features_extractor"]],
            features_extractor_kwargs=description["features_extractor_kwargs"],
            share_features_extractor=description["share_features_extractor"],
            normalize_images=description.get("normalize_images", True),
            **{name: description[name] for name in _PLAIN},
        )
    except (KeyError, AttributeError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UsageError(f"checkpoint '{where}' describes a policy that cannot be built: {error}") from error


def _is_plain(value: Any) -> bool:
    """Whether JSON gives it back as it is."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _no_learning(progress_remaining: float) -> float:
    """A learning rate for a policy that is only read."""
    return 0.0


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Gymnasium space as JSON."""
    if isinstance(space, spaces.Box):
        bounds = {name: _numbers(getattr(space, name)) for name in ("low", "high")}
        return {"type": "Box", **bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {name: describe_space(part) for name, part in space.items()}}
    raise UsageError(f"a checkpoint cannot describe the space {type(space).__name__}")


def build_space(description: dict[str, Any]) -> spaces.Space[Any]:
    """The space that :func:`describe_space` described."""
    kind = description["type"]
    if kind == "Box":
        shape, dtype = tuple(description["shape"]), np.dtype(description["dtype"])
        low, high = (
            np.broadcast_to(np.array(description[name], dtype=np.float64).astype(dtype), shape).copy()
            for name in ("low", "high")
        )
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(description["n"], start=description["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(description["nvec"], start=description["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(description["n"])
    if kind == "Dict":
        return spaces.Dict({name: build_space(part) for name, part in description["spaces"].items()})
    raise ValueError(f"unknown space {kind}")


def _numbers(bound: np.ndarray[Any, Any]) -> Any:
    """One number if all are the same, else a nested list; infinities as strings, which JSON lacks."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value if math.isfinite(value) else str(value)

    if bound.size and (bound == bound.flat[0]).all():
        return plain(bound.flat[0].item())
    return plain(bound.tolist())
