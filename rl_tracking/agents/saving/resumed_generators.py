"""Getters and setters of the random number generators that :mod:`rl_tracking.agents.saving.resuming` saves."""

from __future__ import annotations

import random
from typing import Any, cast

import gymnasium as gym
import msgspec
import numpy as np
import torch
from torch import Tensor

from rl_tracking.agents.saving.scalars import Text


def exploration_noise(model: Any) -> list[Tensor]:
    """The matrices of gSDE that a rollout begins with."""
    # Detached: a graph could not be saved, and the next update draws its own.
    distribution = _distribution(model) if model.use_sde else None
    if distribution is None:
        return []
    return [distribution.exploration_mat.detach(), distribution.exploration_matrices.detach()]


def put_exploration_noise(model: Any, value: list[Tensor]) -> None:
    """Set them."""
    if value:
        one, many = (tensor.to(model.device) for tensor in value)
        distribution = _distribution(model)
        distribution.exploration_mat, distribution.exploration_matrices = one, many


def _distribution(model: Any) -> Any:
    """Of the policy, or of the network of an off-policy policy that acts; None without one."""
    return getattr(getattr(model.policy, "actor", model.policy), "action_dist", None)


class SpaceGenerator(msgspec.Struct, forbid_unknown_fields=True):
    """The state of a PCG64 generator; numbers of 128 bits are text."""

    state: Text
    inc: Text
    has_uint32: int
    uinteger: int


def _generators_of(model: Any) -> list[Any]:
    found = (model.action_space, model.observation_space, model.env.action_space, model.env.observation_space)
    return [part for space in found for part in _parts_of(cast("gym.Space[Any]", space))]


def _parts_of(space: gym.Space[Any]) -> list[gym.Space[Any]]:
    """A space and those that it consists of, each of which has a generator; each once."""
    found, waiting = {id(space): space}, [space]
    while waiting:
        for value in vars(waiting.pop()).values():
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            new = {id(part): part for part in held if isinstance(part, gym.Space) and id(part) not in found}
            found |= new
            waiting += new.values()
    return list(found.values())


def spaces(model: Any) -> list[SpaceGenerator | None]:
    """Generators of the spaces that actions may be drawn from, and their parts; None where nothing was drawn."""
    return [_space_generator(getattr(part, "_np_random", None)) for part in _generators_of(model)]


def _space_generator(generator: Any) -> SpaceGenerator | None:
    return _pcg64(generator.bit_generator) if type(generator) is np.random.Generator else None


def _pcg64(bit_generator: Any) -> SpaceGenerator | None:
    if type(bit_generator) is not np.random.PCG64:
        return None
    state = cast(Any, bit_generator.state)
    inner = state["state"]
    return SpaceGenerator(str(inner["state"]), str(inner["inc"]), state["has_uint32"], state["uinteger"])


def put_spaces(model: Any, value: list[SpaceGenerator | None]) -> None:
    """Set them."""
    for part, saved in zip(_generators_of(model), value, strict=True):
        # A generator that restoring the worlds has put back is kept where it is equal: it also knows its seed.
        if saved is None or _pcg64(getattr(getattr(part, "_np_random", None), "bit_generator", None)) == saved:
            continue
        generator = np.random.Generator(np.random.PCG64(0))
        generator.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": int(saved.state), "inc": int(saved.inc)},
            "has_uint32": saved.has_uint32,
            "uinteger": saved.uinteger,
        }
        part._np_random = generator


class PythonGenerator(msgspec.Struct, forbid_unknown_fields=True):
    """``random``'s own."""

    version: int
    words: Tensor
    gauss: float | None


def python(model: Any) -> PythonGenerator:
    """Python's generator."""
    # As a tensor: 625 words as JSON would be most of the file.
    version, words, gauss = random.getstate()
    return PythonGenerator(version, torch.tensor(words), gauss)


def put_python(model: Any, value: PythonGenerator) -> None:
    """Set it."""
    random.setstate((value.version, tuple(value.words.tolist()), value.gauss))


class NumpyGenerator(msgspec.Struct, forbid_unknown_fields=True):
    """``numpy.random``'s own."""

    keys: np.ndarray
    position: int
    has_gauss: int
    gauss: float


def numpy(model: Any) -> NumpyGenerator:
    """NumPy's global generator."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    return NumpyGenerator(np.array(keys), int(position), int(has_gauss), float(gauss))


def put_numpy(model: Any, value: NumpyGenerator) -> None:
    """Set it."""
    np.random.set_state(("MT19937", value.keys, value.position, value.has_gauss, value.gauss))


def torch_generators(model: Any) -> list[Tensor]:
    """PyTorch's global generator, and those of GPUs where the model is on one."""
    # Asking for GPUs' generators would start CUDA, so only where it runs already.
    on_gpus = torch.cuda.get_rng_state_all() if model.device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpus]


def put_torch_generators(model: Any, value: list[Tensor]) -> None:
    """Set them."""
    torch.set_rng_state(value[0])
    if model.device.type == "cuda":
        torch.cuda.set_rng_state_all(value[1:])
