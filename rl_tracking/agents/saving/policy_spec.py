"""A policy network as plain JSON and back: the classes are looked up among known ones, never imported by name."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any

import msgspec
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
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space

from rl_tracking.agents.collect.checks import check_action_space
from rl_tracking.agents.saving import checkpoint_schema, off_policy_spec
from rl_tracking.agents.saving.checkpoint_schema import DescriptionError, Policy, PolicyBasis
from rl_tracking.agents.saving.extractors import EXTRACTORS
from rl_tracking.errors import UsageError, brief, unknown

_ACTOR_CRITICS = (ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy)
_POLICIES: dict[str, type[BasePolicy]] = {
    **{kind.__name__: kind for kind in _ACTOR_CRITICS},
    **off_policy_spec.POLICIES,
}
_NAMES = {kind: name for name, kind in _POLICIES.items()}
_EXTRACTORS: dict[str, type[torch_layers.BaseFeaturesExtractor]] = {
    kind.__name__: kind
    for kind in (
        torch_layers.FlattenExtractor,
        torch_layers.NatureCNN,
        torch_layers.CombinedExtractor,
        *EXTRACTORS.values(),
    )
}
_ACTIVATION_FUNCTIONS: dict[str, type[torch.nn.Module]] = {
    name: getattr(torch.nn, name)
    for name in (
        "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 "
        "RReLU SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
    ).split()
}
CLASSES: tuple[type[Any], ...] = (*_POLICIES.values(), *_EXTRACTORS.values(), *_ACTIVATION_FUNCTIONS.values())
_BYTES = 4  # of a weight
_PLAIN = "net_arch use_sde log_std_init squash_output full_std use_expln ortho_init".split()


def describe(policy: BasePolicy) -> dict[str, Any]:
    """Everything :func:`build` needs; ``{"unknown": why}`` for a policy that only its own code can build."""
    # Only classes that are known here: a subclass could build other networks under the same name.
    name = _NAMES.get(type(policy))
    if name is None:
        return {"unknown": f"the policy class {type(policy).__name__}"}
    data = policy._get_constructor_parameters()
    extractor, activation = data["features_extractor_class"].__name__, data["activation_fn"].__name__
    if data["features_extractor_class"] is not _EXTRACTORS.get(extractor):
        return {"unknown": f"the features extractor {extractor}"}
    for argument, value in data["features_extractor_kwargs"].items():
        if not _is_plain(value):
            return {"unknown": f"the argument {argument} of the features extractor {extractor}"}
    if data["activation_fn"] is not _ACTIVATION_FUNCTIONS.get(activation):
        return {"unknown": f"the activation function {activation}"}
    return {
        "class": name,
        "observation_space": describe_space(policy.observation_space),
        "action_space": describe_space(policy.action_space),
        "activation_fn": activation,
        "features_extractor": extractor,
        "features_extractor_kwargs": data["features_extractor_kwargs"],
        "share_features_extractor": getattr(policy, "share_features_extractor", False),
        "normalize_images": policy.normalize_images,
        **(off_policy_spec.describe(policy) if _is_off_policy(name) else {key: data[key] for key in _PLAIN}),
    }


def _is_off_policy(name: str) -> bool:
    return name in off_policy_spec.POLICIES


def build(description: dict[str, Any], where: str, weights: int | None = None) -> BasePolicy:
    """An untrained policy of that description.

    Args:
        description: what :func:`describe` said.
        where: the file, for errors.
        weights: size of its weights [bytes]; a network that is larger by far is not built.

    Raises:
        UsageError: it names something that is not known here, or is too large.
    """
    if "unknown" in description:
        raise UsageError(
            f"checkpoint '{where}' uses {str(description['unknown'])[:200]}, which a safe reader cannot build; load it "
            "with its algorithm's own load()"
        )
    try:
        spec = _spec(description)
        arguments = _constructor_arguments(spec)
        spaces_ = arguments["observation_space"], arguments["action_space"]
        # Compared with the file's own tensors before anything is allocated.
        if weights is not None and _count_weights(spec, *spaces_) * _BYTES > weights:
            raise DescriptionError("its layers are larger than its weights")
        # Warnings of spaces about their bounds were given when the policy was trained.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return _POLICIES[spec.policy_class](**arguments)
    except Exception as error:  # whatever constructors raise at what they were not made for
        raise UsageError(f"checkpoint '{where}' describes a policy that cannot be built: {brief(error)}") from error


def _spec(description: dict[str, Any]) -> PolicyBasis:
    """A description, by the schema of its class."""
    name = str(description.get("class"))
    if "class" in description and name not in _POLICIES:
        raise unknown("policy class", name[:100], _POLICIES)
    kind = off_policy_spec.OffPolicyPolicy if _is_off_policy(name) else Policy
    found: PolicyBasis = checkpoint_schema.convert(description, kind)
    return found


def _constructor_arguments(spec: PolicyBasis) -> dict[str, Any]:
    if spec.features_extractor not in _EXTRACTORS:
        raise unknown("features extractor", spec.features_extractor[:100], _EXTRACTORS)
    if spec.activation_fn not in _ACTIVATION_FUNCTIONS:
        raise unknown("activation function", spec.activation_fn[:100], _ACTIVATION_FUNCTIONS)
    action_space = _space(spec.action_space)
    check_action_space(action_space)
    return {
        "observation_space": _space(spec.observation_space),
        "action_space": action_space,
        "lr_schedule": _no_learning,
        "activation_fn": _ACTIVATION_FUNCTIONS[spec.activation_fn],
        "features_extractor_class": _EXTRACTORS[spec.features_extractor],
        "features_extractor_kwargs": msgspec.to_builtins(_extractor_arguments(spec)),
        "share_features_extractor": spec.share_features_extractor,
        "normalize_images": spec.normalize_images,
        **_arguments_of_class(spec),
    }


def _arguments_of_class(spec: PolicyBasis) -> dict[str, Any]:
    """Those that the constructors of other classes do not take, or take in another form."""
    if isinstance(spec, off_policy_spec.OffPolicyPolicy):
        return off_policy_spec.arguments(spec)
    assert isinstance(spec, Policy)
    layers = spec.net_arch
    return {
        "net_arch": layers if isinstance(layers, list) else {"pi": layers.pi, "vf": layers.vf},
        **{name: getattr(spec, name) for name in _PLAIN if name != "net_arch"},
    }


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
    """The space that :func:`describe_space` described.

    Raises:
        ValueError: it describes none, or one that is too large.
    """
    return _space(checkpoint_schema.convert(description, checkpoint_schema.Space))


def _space(spec: checkpoint_schema.Space) -> spaces.Space[Any]:
    # A few characters of JSON can describe a space of any size, which Gymnasium would allocate.
    checkpoint_schema.check_elements(spec)
    if isinstance(spec, checkpoint_schema.BoxSpace):
        shape, dtype = tuple(spec.shape), np.dtype(spec.dtype)
        low, high = (
            np.broadcast_to(np.array(bound, dtype=np.float64).astype(dtype), shape).copy()
            for bound in (spec.low, spec.high)
        )
        return spaces.Box(low, high, shape, dtype.type)
    if isinstance(spec, checkpoint_schema.DiscreteSpace):
        return spaces.Discrete(spec.n, start=spec.start)
    if isinstance(spec, checkpoint_schema.MultiDiscreteSpace):
        return spaces.MultiDiscrete(spec.nvec, start=spec.start)
    if isinstance(spec, checkpoint_schema.MultiBinarySpace):
        return spaces.MultiBinary(spec.n)
    return spaces.Dict({name: _space(part) for name, part in spec.spaces.items()})


def _numbers(bound: np.ndarray[Any, Any]) -> Any:
    """One number if all are the same, else a nested list; infinities as strings, which JSON lacks."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value if math.isfinite(value) else str(value)

    # One number for all elements, or the bounds of an image would be most of the file.
    if bound.size and (bound == bound.flat[0]).all():
        return plain(bound.flat[0].item())
    return plain(bound.tolist())


# -- the size of a network, before it is built ------------------------------------------------------------------------


def _extractor_arguments(policy: PolicyBasis) -> msgspec.Struct:
    """The arguments of its features extractor, checked.

    Raises:
        DescriptionError: they are not what the extractor takes.
    """
    kind = checkpoint_schema.EXTRACTOR_ARGUMENTS[policy.features_extractor]
    found: msgspec.Struct = checkpoint_schema.convert(policy.features_extractor_kwargs, kind)
    return found


def _count_weights(policy: PolicyBasis, space: spaces.Space[Any], action_space: spaces.Space[Any]) -> int:
    """The elements of its weight matrices; biases and what is small beside them are left out."""
    features, within = _features(_extractor_arguments(policy), space)
    if isinstance(policy, off_policy_spec.OffPolicyPolicy):
        return off_policy_spec.count_weights(policy, features, get_flattened_obs_dim(action_space), within)
    assert isinstance(policy, Policy)
    layers = policy.net_arch
    heads = [layers, layers] if isinstance(layers, list) else [layers.pi, layers.vf]
    return within + sum(a * b for head in heads for a, b in pairwise([features, *head]))


def _features(arguments: msgspec.Struct, space: spaces.Space[Any]) -> tuple[int, int]:
    """Numbers that come out of a features extractor, and elements of its weights."""
    # Weight matrices alone; what is left out is small beside them, so the bound is not exact but safe.
    if isinstance(arguments, checkpoint_schema.PictureArguments):
        return arguments.features_dim, _convolutions(space, arguments.features_dim)
    if isinstance(arguments, checkpoint_schema.CombinedArguments) and isinstance(space, spaces.Dict):
        width, features, weights = arguments.cnn_output_dim, 0, 0
        for part in space.spaces.values():
            picture = is_image_space(part, normalized_image=arguments.normalized_image)
            features += width if picture else get_flattened_obs_dim(part)
            weights += _convolutions(part, width) if picture else 0
        return features, weights
    if isinstance(arguments, checkpoint_schema.AttentionArguments):
        width = arguments.width
        return arguments.steps * width, arguments.layers * (4 * width * width + 2 * width * arguments.feed_forward)
    return get_flattened_obs_dim(space), 0


def _convolutions(space: spaces.Space[Any], width: int) -> int:
    """Weights of SB3's ``NatureCNN`` on pictures of a space, with ``width`` numbers coming out."""
    channels, *sides = space.shape or (0, 0, 0)
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [max(0, (side - kernel) // stride + 1) for side in sides]
    return channels * 32 * 8 * 8 + 64 * math.prod(sides) * width
